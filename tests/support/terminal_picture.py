"""Pictures of a terminal's screen: cells with attributes, drawn into a PNG file.

Owns the drawing, and the reading of `tmux capture-pane -e -p`. Knows nothing of editors: Neovim's
grid comes as rows of `Cell`, a tmux pane as text with SGR sequences (`cells_from_ansi`).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

#: Where a test's pictures go; None where nobody wants them.
FOLDER = os.environ.get("INGLE_SCREENSHOTS")

FOREGROUND = (0xD8, 0xDE, 0xE9)
BACKGROUND = (0x1B, 0x1F, 0x27)
_FONT_SIZE = 16
_MARGIN = 12
#: Names of monospaced fonts, the best first: DejaVu is Debian's `fonts-dejavu-core`.
_FONTS = ("DejaVuSansMono", "LiberationMono-Regular", "NotoSansMono-Regular", "FreeMono")
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Cell:
    """One column of one row. `text` is a character with its marks, "" right of a wide one."""

    text: str = " "
    foreground: Colour | None = None
    background: Colour | None = None
    bold: bool = False
    italic: bool = False
    underline: bool = False
    reverse: bool = False


def save_picture(
    name: str,
    rows: Sequence[Sequence[Cell]],
    *,
    cursor: tuple[int, int] | None = None,
    bar: bool = False,
    foreground: Colour = FOREGROUND,
    background: Colour = BACKGROUND,
) -> Path | None:
    """Draw a screen into NAME.png in the folder of `INGLE_SCREENSHOTS`; None if that is not set.

    `cursor`: row and column from 0; a block, or a `bar` as in insert mode.
    """
    if not FOLDER:
        return None
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.png"
    draw(rows, file, cursor=cursor, bar=bar, foreground=foreground, background=background)
    return file


def draw(
    rows: Sequence[Sequence[Cell]],
    file: Path,
    *,
    cursor: tuple[int, int] | None = None,
    bar: bool = False,
    foreground: Colour = FOREGROUND,
    background: Colour = BACKGROUND,
) -> None:
    """Draw a screen into a PNG file. Raises `LookupError` where there is no monospaced font."""
    from PIL import Image, ImageDraw, ImageFont

    regular = ImageFont.truetype(_font(), _FONT_SIZE)
    bold = ImageFont.truetype(_font("Bold"), _FONT_SIZE)
    width = round(regular.getlength("M"))
    ascent, descent = regular.getmetrics()
    height = ascent + descent + 1
    columns = max(len(row) for row in rows)
    size = (columns * width + 2 * _MARGIN, len(rows) * height + 2 * _MARGIN)
    image = Image.new("RGB", size, background)
    canvas = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            left, top = _MARGIN + column * width, _MARGIN + number * height
            ink, paper = cell.foreground or foreground, cell.background or background
            if cell.reverse:
                ink, paper = paper, ink
            here = cursor == (number, column)
            if here and not bar:
                ink, paper = paper, ink
            cells = 2 if column + 1 < len(row) and row[column + 1].text == "" else 1
            if paper != background and cell.text != "":
                right, bottom = left + cells * width - 1, top + height - 1
                canvas.rectangle((left, top, right, bottom), fill=paper)
            if cell.text.strip():
                # Slanted letters are drawn upright: one font less to look for.
                font = bold if cell.bold else regular
                canvas.text((left, top), cell.text, font=font, fill=ink)
            if cell.underline:
                line = top + ascent + 2
                canvas.line((left, line, left + cells * width - 1, line), fill=ink)
            if here and bar:
                canvas.rectangle((left, top, left + 1, top + height - 1), fill=ink)
    image.save(file, optimize=True)


def cells_from_ansi(text: str, columns: int) -> list[list[Cell]]:
    """What `tmux capture-pane -e -p` printed → rows of `columns` cells.

    SGR sequences count, with 16, 256 and true colours; others are left out. Attributes go on over
    the end of a line, as tmux means them.
    """
    rows = []
    style = Cell()
    for line in text.removesuffix("\n").split("\n"):
        row: list[Cell] = []
        for sequence, other, character in _ANSI.findall(line):
            if sequence:
                style = _styled(style, sequence)
            elif other:
                continue
            elif unicodedata.combining(character) and row:
                row[-1] = replace(row[-1], text=row[-1].text + character)
            else:
                row.append(replace(style, text=character))
                if unicodedata.east_asian_width(character) in "WF":
                    row.append(replace(style, text=""))
        rows.append((row + [Cell()] * columns)[:columns])
    return rows


_ANSI = re.compile(r"\x1b\[([\d;:]*)m|(\x1b\[[\d;:?]*[A-Za-z]|\x1b[()].|[\x0e\x0f])|(.)")

_SIXTEEN: tuple[Colour, ...] = (
    (0x3B, 0x42, 0x52),
    (0xE0, 0x6C, 0x75),
    (0x98, 0xC3, 0x79),
    (0xE5, 0xC0, 0x7B),
    (0x61, 0xAF, 0xEF),
    (0xC6, 0x78, 0xDD),
    (0x56, 0xB6, 0xC2),
    (0xD8, 0xDE, 0xE9),
    (0x7F, 0x88, 0x99),
    (0xFF, 0x8A, 0x92),
    (0xB5, 0xE0, 0x90),
    (0xFF, 0xD8, 0x8A),
    (0x82, 0xC4, 0xFF),
    (0xDF, 0x9A, 0xF0),
    (0x7D, 0xD6, 0xE0),
    (0xFF, 0xFF, 0xFF),
)


def _styled(style: Cell, sequence: str) -> Cell:
    """A style after an SGR sequence (ECMA-48, 8.3.117), given as its parameters."""
    numbers = [int(part or 0) for part in re.split("[;:]", sequence)]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            style = Cell()
        elif code in _SWITCHES:
            style = replace(style, **_SWITCHES[code])
        elif code in (38, 39):
            style = replace(style, foreground=_extended(numbers) if code == 38 else None)
        elif code in (48, 49):
            style = replace(style, background=_extended(numbers) if code == 48 else None)
        elif 30 <= code <= 37:
            style = replace(style, foreground=_SIXTEEN[code - 30])
        elif 40 <= code <= 47:
            style = replace(style, background=_SIXTEEN[code - 40])
        elif 90 <= code <= 97:
            style = replace(style, foreground=_SIXTEEN[code - 82])
        elif 100 <= code <= 107:
            style = replace(style, background=_SIXTEEN[code - 92])
    return style


_SWITCHES: dict[int, dict[str, Any]] = {
    1: {"bold": True},
    3: {"italic": True},
    4: {"underline": True},
    7: {"reverse": True},
    22: {"bold": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"reverse": False},
}


def _extended(numbers: list[int]) -> Colour | None:
    """The colour after 38 or 48; takes its parameters off the list."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 5 and numbers:
        return indexed_colour(numbers.pop(0))
    if kind == 2 and len(numbers) >= 3:
        return numbers.pop(0), numbers.pop(0), numbers.pop(0)
    return None


def indexed_colour(index: int) -> Colour:
    """One of xterm's 256 colours: 16 named ones, a cube of 6×6×6, 24 greys."""
    if index < 16:
        return _SIXTEEN[index]
    if index < 232:
        red, green, blue = (index - 16) // 36, (index - 16) // 6 % 6, (index - 16) % 6
        steps = (0, 95, 135, 175, 215, 255)
        return steps[red], steps[green], steps[blue]
    grey = 8 + (index - 232) * 10
    return grey, grey, grey


def _font(style: str = "") -> str:
    """The file of a monospaced font; the upright one where there is none in this style."""
    names = [f"{name}-{style}" for name in _FONTS] if style else []
    for name in [*names, *_FONTS]:
        for folder in _FONT_FOLDERS:
            found = sorted(Path(folder).expanduser().rglob(f"{name}.ttf"))
            if found:
                return str(found[0])
    raise LookupError("no monospaced font to draw with: install fonts-dejavu-core")
