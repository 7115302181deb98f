"""What the header of a message says, however badly it is written.

Models forget tokens, repeat them, and put them in the wrong order. What can be told for certain
is taken; all else makes the message's text a thought, which nobody takes for an answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ingle.messages import Channel

from .harmony_messages import NAMESPACE

CHANNELS: dict[str, Channel] = {"analysis": "analysis", "commentary": "tool", "final": "final"}

_CHANNEL = re.compile(r"<\|channel\|>\s*([^\s<]*)")
_RECIPIENT = re.compile(r"\bto\s*=\s*([^\s<]*)")
#: Recipients that mean the conversation itself.
_NOBODY = ("assistant", "user", "all", "")
_OTHER_ROLES = ("user", "system", "developer", "tool", NAMESPACE, "browser", "python")


@dataclass(frozen=True)
class Header:
    """Where a message's text belongs."""

    channel: Channel
    #: The tool that the message calls; "" for none.
    tool: str = ""


#: For text whose place can't be told.
THOUGHT = Header("analysis")


def read_header(text: str, tools: Collection[str]) -> Header:
    """A header without its last token. A call of a tool that was not offered is a thought."""
    recipients = {name for name in _RECIPIENT.findall(text) if name not in _NOBODY}
    if recipients:
        called = {name.removeprefix(NAMESPACE) for name in recipients}
        if len(called) == 1 and called <= set(tools):
            return Header("tool", called.pop())
        return THOUGHT
    channels = set(_CHANNEL.findall(text))
    # A header that names several channels, none, or an unknown one is not to be trusted.
    if len(channels) != 1:
        return THOUGHT
    return Header(CHANNELS.get(channels.pop(), "analysis"))


def read_unfinished(text: str) -> tuple[Header, str]:
    """A header that never came to its end: what follows the channel's name is the message."""
    found = _CHANNEL.search(text)
    if found is None or _RECIPIENT.search(text):
        return THOUGHT, text
    return Header(CHANNELS.get(found[1], "analysis")), text[found.end() :]


def is_other_role(text: str) -> bool:
    """Whether somebody else than the assistant is made to speak."""
    return text.lstrip().startswith(_OTHER_ROLES)
