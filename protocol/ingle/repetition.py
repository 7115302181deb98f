"""Where generated text begins to go round in circles. Pure.

Greedy decoding falls into loops and then never ends by itself (Holtzman et al. 2020, "The Curious
Case of Neural Text Degeneration", ICLR). The daemon stops generating there, and the language server
shows nothing of it: both ask here.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Lines that are repeated together.
MAX_GROUP = 6
#: Characters that are repeated together, how often in a row, and how long that is at least.
MAX_PERIOD = 24
TIMES = 5
SHORTEST = 24

#: Lines that programs repeat for good reason.
_TRIVIAL = frozenset(
    {"end", "else", "else:", "try:", "finally:", "pass", "break", "break;", "fi", "done", "esac"}
)


def is_telling(line: str) -> bool:
    """Whether a line says enough for its repetition to be no coincidence."""
    return line.strip() not in _TRIVIAL and sum(map(str.isalnum, line)) >= 3


def repeated_lines(lines: Sequence[str]) -> int | None:
    """The number of the first line that begins to say again what was said right before it.

    One line, or up to `MAX_GROUP` lines together; spaces at their ends don't matter. None if there
    is no such line.
    """
    bare = [line.rstrip() for line in lines]
    for end in range(2, len(bare) + 1):
        for size in range(1, min(MAX_GROUP, end // 2) + 1):
            group = bare[end - size : end]
            if group == bare[end - 2 * size : end - size] and any(map(is_telling, group)):
                return end - size
    return None


def stutter(text: str) -> int | None:
    """Where the last line of `text` begins to repeat some characters, as it does up to its end.

    The first time that they are said is before that place. None if it does not stutter: rulers
    (`-----`) and other things without a letter or a digit are none.
    """
    line = text.rpartition("\n")[2]
    for period in range(1, MAX_PERIOD + 1):
        length = max(SHORTEST, TIMES * period)
        if length > len(line):
            return None
        if line[-length:-period] != line[period - length :]:
            continue
        if any(map(str.isalnum, line[-period:])):
            start = len(line) - length
            while start and line[start - 1] == line[start - 1 + period]:
                start -= 1
            return len(text) - len(line) + start + period
    return None
