"""Which pages of the paged cache hold the beginnings of documents and chats, and in what order they
may be given up.

The library gives up the pages that were used longest ago, whatever is in them: a few chat turns
would take the document's prefix away, or the reverse. Before a job begins, the pages of the last
prefix of the other kind are marked as just used, so that they are the last to go. Reads and writes
the library's own `CachePage`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ingled.engines.engine import Job, Kept
from ingled.engines.slots import is_document

#: Prefixes that are remembered.
_MOST = 64


@dataclass
class _Prefix:
    #: Pages, and the hash that each had: another one now means another content.
    pages: list[tuple[Any, bytes]]
    tokens: int

    @property
    def left(self) -> list[Any]:
        """The pages from the beginning that still hold it."""
        found = []
        for page, phash in self.pages:
            if page.phash != phash:
                break
            found.append(page)
        return found


class PrefixPages:
    """See the module. The last used prefix is the last entry."""

    def __init__(self) -> None:
        self._prefixes: dict[str, _Prefix] = {}

    def remember(self, job: Job, library_job: Any) -> None:
        """A job's prompt has been computed; its pages are still its own."""
        (sequence,) = library_job.sequences
        # A job of a single token is over by now.
        if not job.affinity or not sequence.allocated_pages:
            return
        full = len(job.prompt) // library_job.generator.page_size
        pages = [(page, page.phash) for page in sequence.allocated_pages[:full]]
        self._prefixes.pop(job.affinity, None)
        self._prefixes[job.affinity] = _Prefix(pages, len(job.prompt))
        while len(self._prefixes) > _MOST:
            del self._prefixes[next(iter(self._prefixes))]

    def protect(self, job: Job, generator: Any) -> None:
        """`job` is about to begin: it must not take the last prefix of the other kind."""
        other = next(
            (
                prefix
                for affinity, prefix in reversed(self._prefixes.items())
                if is_document(affinity) != is_document(job.affinity)
            ),
            None,
        )
        for page in other.left if other else ():
            page.access_serial = max(page.access_serial, generator.access_serial)

    def kept(self, page_size: int) -> list[Kept]:
        """What is held, the last used first."""
        held = {
            affinity: len(prefix.left) * page_size for affinity, prefix in self._prefixes.items()
        }
        return [
            Kept(affinity=affinity, tokens=tokens)
            for affinity, tokens in reversed(held.items())
            if tokens
        ]
