"""What is left of a completion after post-processing, as a user would see it: `|` is the cursor."""

from __future__ import annotations

import pytest

from ingle_lsp.postprocess import Cursor, polished, wants_block


def at(text: str) -> Cursor:
    prefix, _, suffix = text.partition("|")
    return Cursor(prefix, suffix)


def line(text: str, completion: str) -> str:
    return polished(completion, at(text), block=False)


def block(text: str, completion: str, *, unfinished: bool = False) -> str:
    return polished(completion, at(text), block=True, unfinished=unfinished)


# --- one line --------------------------------------------------------------------------------


def test_one_line_stops_at_its_end() -> None:
    assert line("def add(a, b):\n    return |", "a + b\n\nprint(add(1, 2))") == "a + b"


@pytest.mark.parametrize("completion", ["", " ", "\t", "\n", "  \n  ", "\r\n", "\x00", "\n\nx = 1"])
def test_nothing_to_say_is_nothing(completion: str) -> None:
    assert line("x = 1|", completion) == ""


def test_trailing_whitespace_goes() -> None:
    assert line("x =| ", " 1   ") == " 1"
    assert block("x = 1|", "\ny = 2  \n\n   \n") == "\ny = 2"


def test_a_space_that_is_there_is_not_doubled() -> None:
    assert line("x = |", " 1") == "1"
    assert line("x =|", " 1") == " 1"


def test_indentation_is_kept() -> None:
    assert line("def f():\n|", "    return 1") == "    return 1"


def test_windows_line_ends_are_line_ends() -> None:
    assert line("a|", "b\r\nc") == "b"
    assert block("if a:|", "\r\n    b\r\n    c") == "\n    b\n    c"


def test_control_characters_end_a_completion() -> None:
    assert line("a|", "b\x1b[31mred") == "b"


# --- what stands after the cursor ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "completion", "left"),
    [
        ("print(|)", "name)", "name"),
        ("print(|);", "name);", "name"),
        ('print("|")', 'hello")', "hello"),
        ("x = a| + b", "lpha + b", "lpha"),
        ("f(a, |, c)", "b, c)", "b"),
        ("items.|append(x)", "append(x)", ""),
        ("va|ue = 1", "lue", "l"),
        ("print(|)", "f(g(x))", "f(g(x))"),
        ('print(|, "b")', '"a"', '"a"'),
        ("return [|]", "x for x in y]", "x for x in y"),
        ("foo(|)", "a)\n    bar()", "a"),
    ],
)
def test_the_rest_of_the_line_is_not_repeated(text: str, completion: str, left: str) -> None:
    assert line(text, completion) == left
    assert block(text, completion) == left


def test_a_letter_that_happens_to_match_is_kept() -> None:
    assert line("send(|and more)", "data") == "data"


def test_the_lines_below_are_not_repeated() -> None:
    text = "def f():\n    x = 1\n    |\n\n\ndef g():\n    return 2\n"
    assert block(text, "return x\n\n\ndef g():\n    return 2") == "return x"


def test_a_line_below_that_only_starts_the_same_is_not_a_repetition() -> None:
    text = "a = 1\n|\nb = 2\n"
    assert block(text, "b = 2 + a\nc = 3") == "b = 2 + a\nc = 3"


def test_saying_the_next_line_is_saying_nothing() -> None:
    assert line("def f():\n    |\n    return x\n", "return x") == ""
    assert line("def f():\n    ret|\n    return x\n", "urn x") == ""


def test_saying_the_previous_lines_is_saying_nothing() -> None:
    assert line("total += price\n|", "total += price") == ""
    assert block("a = load()\nb = save()\n|", "a = load()\nb = save()") == ""


@pytest.mark.parametrize(
    ("text", "completion"),
    [
        ("if (a) {\n  if (b) {\n    x();\n  }\n|", "}"),
        ("f(\n  g(\n    x\n  )\n|", ")"),
        ("  if b\n    x\n  end\n|", "end"),
        ("try:\n    x()\nexcept A:\n    pass\nexcept B:\n    |", "pass"),
    ],
)
def test_lines_that_every_program_repeats_may_be_repeated(text: str, completion: str) -> None:
    assert line(text, completion) == completion


def test_a_model_that_loops_is_cut() -> None:
    assert block("|", "x.append(1)\nx.append(1)\nx.append(1)\n") == "x.append(1)"
    assert block("|", "x = f(x)\ny = g(y)\n" * 3) == "x = f(x)\ny = g(y)"
    assert block("    |", "x.append(1)\n    x.append(1)\n") == "x.append(1)"
    assert line("x = |", "the longest of a" + "j" * 30) == "the longest of aj"
    assert line("x = |", "None, " + "ab.c, " * 8) == "None, ab.c"
    assert line("# |", "-" * 70) == "-" * 70


# --- brackets --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "completion", "left"),
    [
        ("foo(|", "a, b)", "a, b)"),
        ("foo(|", "a, b))", "a, b)"),
        ("foo(|", "a, b]", "a, b"),
        ("foo(bar(|)", "x)", "x)"),
        ("foo(bar(|))", "x))", "x"),
        ("x = |", "1)", "1"),
        ("x = |", "]", ""),
        ("x = [\n    1,\n    |\n]\n", "2,\n]", "2,"),
        ("x = [\n    1,\n    |", "2,\n]", "2,"),
        ('f("(|', 'a)")', 'a)")'),
        ("g(')', |", "1)", "1)"),
        ("fn id<'a>(x: |", "&'a str) -> &'a str {", "&'a str) -> &'a str {"),
        ("don't (|", "stop)", "stop)"),
        ("foo(|\n)", "a)", "a"),
    ],
)
def test_brackets(text: str, completion: str, left: str) -> None:
    assert line(text, completion) == left


def test_a_block_brings_its_own_brackets() -> None:
    text = "function f(a) |\n\nfunction g() {\n}\n"
    assert block(text, "{\n  return a;\n}\n\nfunction h() {") == "{\n  return a;\n}"


def test_a_block_whose_bracket_stands_below_does_not_bring_it() -> None:
    assert block("if (x) {|\n}\n", "\n  y();\n}") == "\n  y();"
    assert block("  if (x) {|\n}\n", "\n    y();\n  }") == "\n    y();\n  }"


def test_a_bracket_that_an_outer_line_lacks_may_come() -> None:
    assert block("x = [\n    1,\n|", "    2,\n]\nprint(x)") == "    2,"
    assert block("call(\n    a,\n    |", "b\n)") == "b"
    assert line("call(\n    a,\n|", ")") == ")"


def test_a_bracket_that_an_outer_line_has_does_not_come_twice() -> None:
    assert line("class A {\n  f() {\n    x();\n  |\n  }\n}\n", "}") == ""


# --- blocks ----------------------------------------------------------------------------------


def test_a_block_ends_where_the_indentation_does() -> None:
    text = "def f(x):|"
    assert block(text, "\n    y = x\n    return y\n\ndef g():\n    pass") == (
        "\n    y = x\n    return y"
    )


def test_a_block_inside_a_function_ends_with_the_function() -> None:
    assert block("def f():\n    |", "a = 1\n    return a\nprint(f())") == "a = 1\n    return a"


def test_a_block_takes_its_else() -> None:
    completion = "if a:\n    b()\nelse:\n    c()\nd()"
    assert block("|", completion) == "if a:\n    b()\nelse:\n    c()"


def test_one_block_is_enough() -> None:
    assert block("|", "for x in y:\n    f(x)\nfor z in y:\n    g(z)") == "for x in y:\n    f(x)"


def test_an_empty_line_ends_lines_of_one_level() -> None:
    assert block("|", "a = 1\nb = 2\n\nc = 3") == "a = 1\nb = 2"


def test_an_empty_line_inside_a_body_does_not() -> None:
    assert block("def f():|", "\n    a = 1\n\n    return a") == "\n    a = 1\n\n    return a"


def test_tabs_are_indentation() -> None:
    assert block("func f() {|", "\n\tx()\n\tif y {\n\t\tz()\n\t}\n}\n\nfunc g() {") == (
        "\n\tx()\n\tif y {\n\t\tz()\n\t}\n}"
    )


def test_an_unfinished_last_line_is_left_out() -> None:
    assert block("def f():|", "\n    a = 1\n    retu", unfinished=True) == "\n    a = 1"


def test_an_unfinished_only_line_is_kept() -> None:
    assert block("x = |", "compute(a, b", unfinished=True) == "compute(a, b"


def test_text_after_the_cursor_makes_it_one_line() -> None:
    assert block("foo(| + 1)", "a\nb\nc") == "a"


# --- when to ask for several lines -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("def f():|", True),
        ("def f():\n    |", True),
        ("function f() {|", True),
        ("function f() {\n  |\n}", True),
        ("then(() => {|", True),
        ("f(|", False),
        ("f(\n    |", True),
        ("x = y[a:|", False),
        ("f({a:|", False),
        ("p->|", False),
        ("x = 1|", False),
        ("x = 1\n|", False),
        ("if x:| pass", False),
        ("|", False),
    ],
)
def test_auto_wants_a_block_where_one_begins(text: str, wanted: bool) -> None:
    assert wants_block(at(text), "auto", invoked=False) is wanted


def test_always_never_and_asked_for() -> None:
    assert wants_block(at("x = 1|"), "always", invoked=False)
    assert wants_block(at("x = 1|"), "auto", invoked=True)
    assert not wants_block(at("def f():|"), "never", invoked=True)
    assert not wants_block(at("f(|)"), "always", invoked=True)
