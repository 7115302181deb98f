"""One editor for many tests. One that got stuck is replaced, so that one test fails, not all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class _Editor(Protocol):
    def type(self, keys: str) -> None: ...
    def settle(self) -> None: ...
    def errors(self) -> list[str]: ...
    def close(self) -> None: ...


E = TypeVar("E", bound=_Editor)


class SharedEditor(Generic[E]):
    """Starts an editor when it is needed; `start` gives each a home of its own."""

    def __init__(self, start: Callable[[], E]) -> None:
        self._start = start
        self._editor: E | None = None

    @contextmanager
    def at_rest(self) -> Iterator[E]:
        """The editor; after the block it must take keys, and have shown no error."""
        editor = self._editor = self._editor or self._start()
        try:
            yield editor
            editor.type("<C-\\><C-n>")
            editor.settle()
            assert editor.errors() == []
        except AssertionError:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        if self._editor is not None:
            self._editor.close()
            self._editor = None


@contextmanager
def shared_editor(start: Callable[[], E]) -> Iterator[SharedEditor[E]]:
    """A `SharedEditor` that is closed in the end."""
    shared = SharedEditor(start)
    try:
        yield shared
    finally:
        shared.close()
