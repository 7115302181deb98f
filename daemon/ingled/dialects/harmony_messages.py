"""Conversations as openai-harmony's messages: turns, thoughts, tools, calls and their results.

Whatever a client sends is data: openai-harmony encodes control tokens in contents as plain text,
and the names that go into headers are checked by the protocol.

Format: https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from openai_harmony import (
    Author,
    DeveloperContent,
    Message,
    ReasoningEffort,
    Role,
    SystemContent,
    ToolDescription,
)

from ingle.errors import InvalidRequest
from ingle.messages import ChatMessage, Tool

#: The namespace of functions that the client offers.
NAMESPACE = "functions."

EFFORTS = {
    "low": ReasoningEffort.LOW,
    "medium": ReasoningEffort.MEDIUM,
    "high": ReasoningEffort.HIGH,
}


def conversation(
    messages: Sequence[ChatMessage], tools: Sequence[Tool], effort: str
) -> list[Message]:
    """All messages of a chat. Raises `InvalidRequest`."""
    check(messages, tools)
    rendered = [system(EFFORTS[effort])]
    leading = list(takewhile(lambda turn: turn.role == "system", messages))
    if leading or tools:
        instructions = "\n\n".join(turn.content for turn in leading)
        rendered.append(developer(instructions, tools))
    for turn in messages[len(leading) :]:
        rendered += _turn(turn)
    return rendered


def system(effort: ReasoningEffort) -> Message:
    """The system message; it carries the effort."""
    # No date: it would change the beginning of every prompt once a day.
    content = SystemContent.new().with_reasoning_effort(effort)
    return Message.from_role_and_content(Role.SYSTEM, content)


def developer(instructions: str, tools: Sequence[Tool] = ()) -> Message:
    """A developer message: what the client calls system text, and the tools."""
    content = DeveloperContent.new()
    if instructions:
        content = content.with_instructions(instructions)
    if tools:
        content = content.with_function_tools(
            [
                ToolDescription.new(tool.name, tool.description, tool.parameters or None)
                for tool in tools
            ]
        )
    return Message.from_role_and_content(Role.DEVELOPER, content)


def check(messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> None:
    """Refuse what makes no sense. Raises `InvalidRequest`."""
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise InvalidRequest("two tools have the same name: give each its own")
    for tool in tools:
        if tool.parameters and tool.parameters.get("type") != "object":
            raise InvalidRequest(
                f"the parameters of the tool {tool.name} are no JSON schema of an object: "
                'give {"type": "object", "properties": …}'
            )
    for turn in messages:
        if turn.role == "tool" and not turn.tool:
            raise InvalidRequest("a message of the role tool names no tool: say whose result it is")
        if turn.tool and turn.role not in ("assistant", "tool"):
            raise InvalidRequest(f"a message of the role {turn.role} names a tool: leave it out")
        if turn.analysis and turn.role != "assistant":
            raise InvalidRequest(f"a message of the role {turn.role} has analysis: leave it out")


def _turn(turn: ChatMessage) -> Iterator[Message]:
    if turn.role == "system":
        yield developer(turn.content)
    elif turn.role == "user":
        yield Message.from_role_and_content(Role.USER, turn.content)
    elif turn.role == "tool":
        author = Author.new(Role.TOOL, NAMESPACE + turn.tool)
        result = Message.from_author_and_content(author, turn.content)
        yield result.with_channel("commentary").with_recipient("assistant")
    else:
        # openai-harmony leaves out thoughts of answers that came to their final message.
        if turn.analysis:
            yield _said(turn.analysis, "analysis")
        if turn.tool:
            call = _said(turn.content, "commentary").with_recipient(NAMESPACE + turn.tool)
            yield call.with_content_type("<|constrain|>json")
        else:
            yield _said(turn.content, "final")


def _said(text: str, channel: str) -> Message:
    return Message.from_role_and_content(Role.ASSISTANT, text).with_channel(channel)
