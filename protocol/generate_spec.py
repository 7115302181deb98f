"""Writes the tables of `SPEC.md` from the code, so that they can't drift.

Owns what stands between `<!-- generated: NAME -->` and `<!-- end of generated -->`; everything
else in SPEC.md is written by hand.

    python protocol/generate_spec.py            rewrite the tables
    python protocol/generate_spec.py --check    exit 1, and name them, when they differ
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from ingle import codec, errors, messages
from ingle.version import PROTOCOL_VERSION

SPEC = Path(__file__).with_name("SPEC.md")

_BLOCK = re.compile(
    r"(?P<start><!-- generated: (?P<name>[\w-]+) -->\n)"
    r"(?P<body>.*?)"
    r"(?P<end><!-- end of generated -->)",
    re.DOTALL,
)
_TREE_LINE = re.compile(r"[├└]── (?P<name>\w+)\s+\"(?P<code>\w+)\"\s+(?P<meaning>.+)")
_FIELD = re.compile(r"    (?P<name>\w+): ")


def parts() -> list[type[msgspec.Struct]]:
    """The structs that are inside messages, in the order of the module."""
    return [
        struct
        for struct in vars(messages).values()
        if inspect.isclass(struct)
        and issubclass(struct, msgspec.Struct)
        and not issubclass(struct, messages.Message)
        and struct.__module__ == messages.__name__
    ]


def render_limits() -> str:
    """The limits of one message."""
    rows = [
        ("version byte", f"`0x{PROTOCOL_VERSION:02x}`", "`version_mismatch`"),
        ("bytes of the second frame", _bytes(codec.MAX_MESSAGE_BYTES), "`too_large`"),
        ("maps and arrays inside each other", str(codec.MAX_NESTING), "`too_large`"),
        ("entries of one map", str(codec.MAX_MAP), "`too_large`"),
        ("items of one array", str(codec.MAX_ARRAY), "`too_large`"),
        ("msgpack items of one message", str(codec.MAX_ITEMS), "`too_large`"),
        ("bytes of one frame", _bytes(codec.MAX_TRANSPORT_BYTES), "the transport disconnects"),
    ]
    return _table(("what", "value, or most", "otherwise"), rows)


def render_requests() -> str:
    """One table a request."""
    return "\n".join(_struct(f"`{tag}`", struct) for tag, struct in messages.REQUESTS.items())


def render_events() -> str:
    """One table an event."""
    return "\n".join(_struct(f"`{tag}`", struct) for tag, struct in messages.EVENTS.items())


def render_parts() -> str:
    """One table a struct that messages contain."""
    return "\n".join(_struct(struct.__name__, struct) for struct in parts())


def render_errors() -> str:
    """The error codes, with the meanings of the tree in `errors.py`."""
    meanings = {
        found["code"]: found["meaning"] for found in _TREE_LINE.finditer(errors.__doc__ or "")
    }
    return _table(
        ("code", "meaning", "retryable"),
        [
            (f"`{code}`", meanings[code], "yes" if error.retryable else "no")
            for code, error in errors.WIRE_ERRORS.items()
        ],
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "limits": render_limits,
    "requests": render_requests,
    "events": render_events,
    "parts": render_parts,
    "errors": render_errors,
}


def generate(text: str) -> str:
    """`text` with every generated block written anew.

    Raises `ValueError` if a block is missing, twice, or unknown.
    """
    names = [found["name"] for found in _BLOCK.finditer(text)]
    if sorted(names) != sorted(SECTIONS):
        raise ValueError(f"SPEC.md needs the blocks {sorted(SECTIONS)}, it has {sorted(names)}")
    return _BLOCK.sub(
        lambda found: f"{found['start']}\n{SECTIONS[found['name']]()}\n{found['end']}", text
    )


def _struct(title: str, struct: type[msgspec.Struct]) -> str:
    doc = _nil(inspect.cleandoc(struct.__doc__ or ""))
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    comments = _comments(struct)
    rows = [
        (f"`{field.name}`", _type(field.type), _default(field), comments.get(field.name, ""))
        for field in info.fields
    ]
    table = _table(("field", "type", "default", "notes"), rows) if rows else "No fields.\n"
    return f"### {title}\n\n{doc}\n\n{table}"


def _comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field → the `#:` comment above it."""
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(struct).splitlines():
        if line.strip().startswith("#:"):
            comment.append(line.strip().removeprefix("#:").strip())
        else:
            field = _FIELD.match(line)
            if field and comment:
                found[field["name"]] = _nil(" ".join(comment))
            comment = []
    return found


def _type(kind: types.Type) -> str:
    """A msgspec type, in words."""
    match kind:
        case types.UnionType(types=members):
            return " \\| ".join(_type(member) for member in members)
        case types.NoneType():
            return "nil"
        case types.BoolType():
            return "bool"
        case types.LiteralType(values=values):
            return " \\| ".join(f"`{json.dumps(value)}`" for value in values)
        case types.IntType():
            return f"int{_range(kind)}"
        case types.FloatType():
            return f"float{_range(kind)}"
        case types.AnyType():
            return "anything"
        case types.StrType(pattern=str(pattern)):
            return f"str, `{pattern}`"
        case types.StrType(max_length=most):
            return "str" if most is None else f"str, ≤ {most} characters"
        case types.ListType(item_type=item, min_length=least, max_length=most):
            limits = [f"≥ {least}"] if least else []
            limits += [f"≤ {most}"] if most is not None else []
            return f"array of {_type(item)}" + (f", {', '.join(limits)} items" if limits else "")
        case types.DictType(key_type=key, value_type=value):
            return f"map of {_type(key)} to {_type(value)}"
        case types.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
    raise TypeError(f"no words for {kind}: add them to generate_spec.py")


def _range(kind: types.IntType | types.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" {_number(kind.ge)} … {_number(kind.le)}"
    bounds = [
        f"{sign} {_number(bound)}"
        for sign, bound in (("≥", kind.ge), (">", kind.gt), ("≤", kind.le), ("<", kind.lt))
        if bound is not None
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def _number(value: float) -> str:
    power = int(value).bit_length() - 1
    if power >= 31 and value == 2**power:
        return f"2^{power}"
    return str(int(value)) if value == int(value) else str(value)


def _default(field: types.Field) -> str:
    if field.required:
        return "**required**"
    value: Any = field.default
    if value is msgspec.NODEFAULT:
        assert field.default_factory is not msgspec.NODEFAULT
        value = field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "`{}`"
    return "nil" if value is None else f"`{json.dumps(value)}`"


def _nil(text: str) -> str:
    """Python's word for nothing → msgpack's."""
    return re.sub(r"\bNone\b", "nil", text)


def _bytes(count: int) -> str:
    return f"{count} ({count // 2**20} MiB)"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield "| " + " | ".join(head) + " |"
        yield "|" + " --- |" * len(head)
        for row in rows:
            yield "| " + " | ".join(row) + " |"

    return "\n".join(lines()) + "\n"


def main(arguments: list[str]) -> int:
    """See the module. Returns the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: generate_spec.py [--check]\n")
        return 2
    before = SPEC.read_text(encoding="utf-8")
    after = generate(before)
    if before == after:
        return 0
    if arguments:
        stale = [
            old["name"]
            for old, new in zip(_BLOCK.finditer(before), _BLOCK.finditer(after), strict=True)
            if old["body"] != new["body"]
        ]
        sys.stderr.write(
            f"SPEC.md: {', '.join(stale)} differ from the code: "
            "run `python protocol/generate_spec.py` and review the change\n"
        )
        return 1
    SPEC.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
