"""The one error tree."""

from __future__ import annotations

import re

import pytest

from ingle import errors
from ingle.errors import (
    WIRE_ERRORS,
    Busy,
    ConnectionFailed,
    IngleError,
    InternalError,
    LocalError,
    ProtocolError,
    RequestError,
    from_wire,
)

TREE_LINE = re.compile(
    r'^ {4}(?P<bars>[│ ]*)(?P<branch>[├└]── )?(?P<name>\w+)\s+("(?P<code>\w+)")?'
)


def classes() -> list[type[IngleError]]:
    return [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, IngleError)
    ]


def drawn() -> dict[str, tuple[str, str]]:
    """Name → (parent, code), as the docstring draws them."""
    found: dict[str, tuple[str, str]] = {}
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = TREE_LINE.match(line)
        if match:
            depth = len(match["bars"]) // 4 + bool(match["branch"])
            del ancestors[depth:]
            found[match["name"]] = (ancestors[-1] if ancestors else "", match["code"] or "")
            ancestors.append(match["name"])
    return found


def test_the_docstring_draws_every_class_in_its_place() -> None:
    actual = {
        error.__name__: ("" if error is IngleError else error.__mro__[1].__name__, error.code)
        for error in classes()
    }
    assert drawn() == actual


def test_codes_are_unique_and_in_the_table() -> None:
    codes = [error.code for error in classes() if error.code]
    assert len(codes) == len(set(codes))
    assert {code: error.__name__ for code, error in WIRE_ERRORS.items()} == {
        error.code: error.__name__ for error in classes() if error.code
    }


def test_only_protocol_and_request_errors_travel() -> None:
    for error in classes():
        travels = issubclass(error, ProtocolError | RequestError)
        assert bool(error.code) == (travels and error not in (ProtocolError, RequestError)), error


def test_whose_mistake_it_is_can_be_told() -> None:
    assert not issubclass(InternalError, ProtocolError)
    for kind in (ProtocolError, ConnectionFailed, LocalError):
        assert not issubclass(kind, RequestError)
        assert not issubclass(RequestError, kind)


@pytest.mark.parametrize("code", WIRE_ERRORS)
def test_from_wire_gives_the_class_of_the_code(code: str) -> None:
    error = from_wire(code, "what is wrong: what to do")
    assert type(error) is WIRE_ERRORS[code]
    assert error.code == code
    assert str(error) == "what is wrong: what to do"
    assert error.retry_after_ms is None


def test_from_wire_keeps_the_hint() -> None:
    error = from_wire("busy", "queue full", 500)
    assert isinstance(error, Busy)
    assert error.retryable
    assert error.retry_after_ms == 500


@pytest.mark.parametrize("code", ["on_fire", "", "IngleError", "BUSY"])
def test_a_code_of_a_newer_daemon_is_a_failed_request(code: str) -> None:
    error = from_wire(code, "x")
    assert type(error) is RequestError
    assert str(error) == "x"


def test_a_message_is_one_line() -> None:
    assert str(IngleError("  two\n lines\tand\r\na tab ")) == "two lines and a tab"
