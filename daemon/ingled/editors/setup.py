"""What setting an editor up, or taking that away again, changes in the user's file.

Everything is planned before anything is written: `installing` and `removing` only read,
`Plan.apply` writes. What the user has set up by hand is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ingle.errors import SettingsError

from . import config_file, json_member, marked_block
from .json_text import NotJson
from .known import Block, Editor, Extension, Member, member_value, with_command

State = Literal["no", "yes", "outdated", "by hand"]


@dataclass(frozen=True)
class Plan:
    """A file, what it is to become (None: deleted), and how things stood before."""

    file: config_file.ConfigFile
    new: str | None
    #: "outdated" is ours, but not what this version of ingle writes.
    state: State
    #: The line of what was set up by hand, counted from 1.
    line: int = 0

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.new != self.file.text

    def difference(self) -> str:
        """As a unified diff."""
        return config_file.difference(self.file, self.new)

    def apply(self) -> Path | None:
        """Do it; where the file's backup is, if there is one. Raises `SettingsError`."""
        return config_file.replace(self.file, self.new)


def installing(editor: Editor) -> Plan:
    """What sets `editor` up. Raises `SettingsError` for a file that can't be understood."""
    file = _read(editor)
    with _refusing(file.path):
        if isinstance(editor.recipe, Member):
            return _installing_member(editor, editor.recipe, file)
        assert isinstance(editor.recipe, Block)
        return _installing_block(editor.recipe, file)


def removing(editor: Editor) -> Plan:
    """What takes away what `installing` set up, and nothing else. Raises `SettingsError`."""
    file = _read(editor)
    recipe = editor.recipe
    if file.text is None:
        return Plan(file, None, "no")
    with _refusing(file.path):
        if isinstance(recipe, Member):
            found = json_member.get(file.text, recipe.path, comments=recipe.comments)
            if found is None:
                return Plan(file, file.text, "no")
            if not _is_ours(found[0], member_value(editor, recipe)):
                return Plan(file, file.text, "by hand", found[1])
            new = json_member.without_member(file.text, recipe.path, comments=recipe.comments)
            return Plan(file, new, "yes")
        assert isinstance(recipe, Block)
        comment = recipe.comment(file.path)
        if marked_block.find(file.text, comment) is not None:
            return Plan(file, marked_block.without(file.text, comment), "yes")
        line = _line_by_hand(recipe, file.text, comment)
        return Plan(file, file.text, "by hand" if line else "no", line)


def configuration(editor: Editor) -> str:
    """What would be in a file that has nothing else. Raises `SettingsError`."""
    path = _path(editor)
    if isinstance(editor.recipe, Member):
        value = member_value(editor, editor.recipe)
        comments = editor.recipe.comments
        return json_member.with_member(None, editor.recipe.path, value, comments=comments)
    assert isinstance(editor.recipe, Block)
    return editor.recipe.body("", path) + "\n"


def extension_folder(recipe: Extension, home: Path) -> Path | None:
    """Where the extension of VS Code and its kin is installed; None if it is not."""
    found = (
        folder
        for base in recipe.folders
        for folder in sorted((home / base / "extensions").glob("ingle.ingle-*"))
    )
    return next(found, None)


def _installing_member(editor: Editor, recipe: Member, file: config_file.ConfigFile) -> Plan:
    value = member_value(editor, recipe)
    found = json_member.get(file.text, recipe.path, comments=recipe.comments)
    if found is not None and not _is_ours(found[0], value):
        return Plan(file, file.text, "by hand", found[1])
    if found is not None and found[0] == value:
        return Plan(file, file.text, "yes")
    new = json_member.with_member(file.text, recipe.path, value, comments=recipe.comments)
    return Plan(file, new, "no" if found is None else "outdated")


def _is_ours(value: object, ours: object) -> bool:
    """The same but for where ingle-lsp is."""
    return bool(with_command(value, "ingle-lsp") == with_command(ours, "ingle-lsp"))


def _installing_block(recipe: Block, file: config_file.ConfigFile) -> Plan:
    comment = recipe.comment(file.path)
    text = file.text or ""
    block = marked_block.find(text, comment)
    if block is None and (line := _line_by_hand(recipe, text, comment)):
        return Plan(file, file.text, "by hand", line)
    rest = marked_block.without(text, comment) or ""
    if recipe.check:
        recipe.check(text)
    new = marked_block.with_block(file.text, recipe.body(rest, file.path), comment)
    try:
        if recipe.check:
            recipe.check(new)
    except ValueError as error:
        raise SettingsError(
            f"{file.path}: ingle's lines don't go with what is there ({error}): add them by hand, "
            f"`ingle editor --print` with its name shows them"
        ) from None
    state: State = "no" if block is None else "yes" if new == file.text else "outdated"
    return Plan(file, new, state)


def _line_by_hand(recipe: Block, text: str, comment: str) -> int:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith(comment) and re.search(recipe.by_hand, line):
            return number
    return 0


def _path(editor: Editor) -> Path:
    if editor.file is None:
        raise RuntimeError(f"ingle writes no file for {editor.name}")
    return editor.file()


def _read(editor: Editor) -> config_file.ConfigFile:
    return config_file.read(_path(editor))


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What can't be understood is refused with file and line, never overwritten."""
    try:
        yield
    except (NotJson, json_member.NotAnObject, marked_block.DamagedBlock) as error:
        raise SettingsError(
            f"{path}:{error.line}: {error}: put that right first; nothing is changed"
        ) from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}: put that right first; nothing is changed") from None
