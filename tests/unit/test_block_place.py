"""Where a block of an answer belongs: what it rewrites, what it must not touch, what is unclear."""

from __future__ import annotations

import random
import time
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingle.threads import Excerpt, Position, Range
from ingle_lsp.block_place import Stretch, exact, find
from ingle_lsp.documents import Place

BANK = dedent('''\
    """A bank."""

    import logging

    RATE = 0.5


    class Account:
        """Money of one owner."""

        def __init__(self, owner, balance=0):
            self.owner = owner
            self.balance = balance

        def deposit(self, amount):
            self.balance += amount
            return self.balance

        def report(self):
            print(self.owner, self.balance)


    class Bank:
        def __init__(self, name):
            self.name = name
            self.accounts = []

        def report(self):
            for account in self.accounts:
                account.report()


    def interest(account, years):
        total = account.balance
        for year in range(years):
            total = total + total * RATE
        return total


    def main():
        account = Account("Ann")
        account.deposit(10)
        print(interest(account, 3))


    if __name__ == "__main__":
        main()
''')


def excerpt(text: str, line: int | None = None) -> Excerpt:
    span = None
    if line is not None:
        span = Range(
            start=Position(line=line, character=0), end=Position(line=line, character=len(text))
        )
    return Excerpt(uri="file:///bank.py", range=span, text=text)


def texts(document: str, places: list[Stretch]) -> list[str]:
    lines = document.split("\n")
    found = []
    for place in places:
        rows = lines[place.start.line : place.end.line + 1]
        rows[-1] = rows[-1][: place.end.column]
        rows[0] = rows[0][place.start.column :]
        found.append("\n".join(rows))
    return found


def place(
    document: str, code: str, language: str = "python", asked: str = "", cursor: int | None = None
) -> list[str]:
    places = find(
        document.split("\n"),
        dedent(code),
        language,
        [excerpt(asked)] if asked else [],
        None if cursor is None else Place(cursor, 0),
    )
    return texts(document, places)


def part(document: str, first: str, last: str) -> str:
    """From the line that begins with `first` to the next that begins with `last`."""
    lines = document.split("\n")
    start = next(row for row, line in enumerate(lines) if line.strip().startswith(first))
    end = next(
        row for row, line in enumerate(lines) if row >= start and line.strip().startswith(last)
    )
    return "\n".join(lines[start : end + 1])


INTEREST = part(BANK, "def interest", "return total")
DEPOSIT = part(BANK, "def deposit", "return self")

# --- what is rewritten -------------------------------------------------------------------------


REWRITTEN = {
    "in another way": (
        """\
        def interest(account, years):
            return account.balance * (1 + RATE) ** years
        """,
        INTEREST,
    ),
    "with another signature": (
        """\
        def interest(account: Account, years: int = 1) -> float:
            return 0.0
        """,
        INTEREST,
    ),
    "with something new above it": (
        """\
        import functools


        @functools.cache
        def interest(account, years):
            total = account.balance
            for _ in range(years):
                total *= 1 + RATE
            return total
        """,
        INTEREST,
    ),
    "a method without its class": (
        """\
        def deposit(self, amount):
            if amount <= 0:
                raise ValueError(amount)
            self.balance += amount
            return self.balance
        """,
        DEPOSIT,
    ),
    "renamed": (INTEREST.replace("interest", "compound"), INTEREST),
    "two side by side": (
        """\
        def interest(account, years):
            return account.balance


        def main():
            print(interest(Account("Bob"), 3))
        """,
        part(BANK, "def interest", "print(interest"),
    ),
    "a line": ("RATE = 0.25", "RATE = 0.5"),
    "a loop": (
        """\
        for year in range(years):
            total += total * RATE
        """,
        part(BANK, "for year", "total = total"),
    ),
    "a block whose body has nothing in common": (
        """\
        if __name__ == "__main__":
            raise SystemExit(main())
        """,
        part(BANK, "if __name__", "main()"),
    ),
    "a whole file": (
        BANK.replace("0.5", "0.25").replace("print(", "logging.info("),
        BANK.rstrip("\n"),
    ),
}


@pytest.mark.parametrize(("code", "found"), REWRITTEN.values(), ids=REWRITTEN)
def test_what_is_rewritten_is_found(code: str, found: str) -> None:
    assert place(BANK, code) == [found]


@pytest.mark.parametrize(
    "code",
    [
        "pip install bank\n",
        "def test_interest():\n    assert interest(Account('Ann', 10), 0) == 10\n",
        "class Customer:\n    def __init__(self, name):\n        self.name = name\n",
        "x = 1\n",
        "\n\n",
        "",
        "}\n",
        "SELECT owner FROM accounts WHERE balance > 10;\n",
    ],
)
def test_what_rewrites_nothing_has_no_place(code: str) -> None:
    assert place(BANK, code) == []


def test_nothing_is_deleted_on_the_way() -> None:
    """The first and the last of three are rewritten: there is no one place for both."""
    document = "".join(f"def f{n}(a):\n    return a + {n}\n\n\n" for n in range(3))
    assert place(document, "def f0(a):\n    return a\n\n\ndef f2(a):\n    return a - 2\n") == []
    whole = (
        "def f0(a):\n    return a\n\n\ndef f1(a):\n    return 1\n\n\ndef f2(a):\n    return a - 2\n"
    )
    assert place(document, whole) == [document.rstrip("\n")]


def test_nothing_is_defined_twice() -> None:
    account = part(BANK, "class Account", "print(self.owner")
    assert place(BANK, f"{INTEREST}\n\n\n{account}\n") == []
    assert place(BANK, account) == [account]


# --- what is unclear ---------------------------------------------------------------------------

TWINS = """\
class A:
    def run(self):
        return 1


class B:
    def run(self):
        return 2
"""
RUN = "def run(self):\n    return 3\n"


def test_twins_are_told_apart_by_the_cursor_or_not_at_all() -> None:
    first, second = "    def run(self):\n        return 1", "    def run(self):\n        return 2"
    assert place(TWINS, RUN) == [first, second]
    assert place(TWINS, RUN, cursor=2) == [first]
    assert place(TWINS, RUN, cursor=7) == [second]
    assert place(TWINS, RUN, cursor=4) == [first, second]


def test_one_that_is_much_closer_is_not_unclear() -> None:
    code = """\
        def report(self):
            for account in self.accounts:
                log(account.report())
    """
    bank = BANK[BANK.index("class Bank") :]
    assert place(BANK, code) == [part(bank, "def report", "account.report")]


# --- what the question was about ---------------------------------------------------------------


def test_the_place_of_the_question_comes_first() -> None:
    asked = "        for year in range(years):\n            total = total + total * RATE\n"
    document = BANK.replace("def main():", "def other(years, total):\n" + asked + "\n\ndef main():")
    lines = document.split("\n")
    row = lines.index("def other(years, total):") + 1
    for code in ("total *= (1 + RATE) ** years\n", "for _ in range(years):\n    total *= RATE\n"):
        (stretch,) = find(lines, code, "python", [excerpt(asked, row)])
        assert (stretch.start.line, stretch.end.line) == (row, row + 1)


def test_a_part_of_what_was_asked_about() -> None:
    asked = part(BANK, "class Account", "print(self.owner") + "\n"
    code = "def deposit(self, amount):\n    assert amount > 0\n    self.balance += amount\n"
    assert place(BANK, code, asked=asked) == [DEPOSIT]


def test_what_is_around_of_what_was_asked_about() -> None:
    asked = "            total = total + total * RATE\n"
    code = INTEREST.replace("total + total * RATE", "total * (1 + RATE)")
    assert place(BANK, code, asked=asked) == [INTEREST]


def test_an_answer_that_is_something_else_does_not_replace_what_was_asked_about() -> None:
    code = "def test_interest():\n    assert interest(Account('Ann', 10), 0) == 10\n"
    assert place(BANK, code, asked=INTEREST + "\n") == []
    assert place(BANK, "python -m timeit -s 'import bank'\n", asked=INTEREST + "\n") == []


def test_a_part_of_a_line() -> None:
    document = "value = first + second * third  # slow\n"
    assert place(document, "first + third * second\n", asked="first + second * third") == [
        "first + second * third"
    ]


def test_what_was_asked_about_and_has_changed_meanwhile() -> None:
    code = "def deposit(self, amount):\n    return self.balance\n"
    changed = BANK.replace("self.balance += amount", "self.balance = self.balance + amount")
    found = place(changed, code, asked=DEPOSIT + "\n")
    assert found == [part(changed, "def deposit", "return self")]


def test_exact_places() -> None:
    lines = ["a", "", "b", "a", "b", "  a  ", ""]
    assert exact(lines, excerpt("a\n", 3)) == [Stretch(Place(3, 0), Place(3, 1))]
    assert len(exact(lines, excerpt("a\n", 1))) == 3
    assert exact(lines, excerpt("\n\na\nb\n", 1)) == [Stretch(Place(3, 0), Place(4, 1))]
    assert exact(lines, excerpt(" \n\n")) == []
    assert exact(lines, excerpt("c")) == []
    assert exact(["x"] * 30, excerpt("x")) == []


# --- other languages ---------------------------------------------------------------------------

SCRIPT = """\
export class Cart {
  constructor(items) {
    this.items = items;
  }

  total() {
    let sum = 0;
    for (const item of this.items) {
      sum += item.price;
    }
    return sum;
  }
}

function format(price) {
  return "$" + price;
}
"""


def test_braces() -> None:
    code = "total() {\n  return this.items.reduce((sum, item) => sum + item.price, 0);\n}\n"
    assert place(SCRIPT, code, "javascript") == [part(SCRIPT, "total()", "return sum") + "\n  }"]
    code = "function format(price) {\n  return `$${price.toFixed(2)}`;\n}\n"
    assert place(SCRIPT, code, "javascript") == [part(SCRIPT, "function format", "}")]


def test_data() -> None:
    scripts = '  "scripts": {\n    "build": "tsc",\n    "test": "jest"\n  },'
    document = f'{{\n  "name": "x",\n{scripts}\n  "a": 1\n}}\n'
    code = '"scripts": {\n  "build": "tsc -p .",\n  "test": "vitest"\n},\n'
    assert place(document, code, "json") == [scripts]


def test_prose() -> None:
    document = "# Title\n\nThe class of things that are slow is large.\n\nAnother paragraph.\n"
    code = "The class of things that are slow is very large.\n"
    assert place(document, code, "markdown") == ["The class of things that are slow is large."]


@pytest.mark.parametrize("document", ["", "\n\n", "\t"])
def test_an_empty_document(document: str) -> None:
    assert place(document, "x = 1\n") == []


# --- any text ----------------------------------------------------------------------------------

WORDS = ["total", "value", "count", "index", "price", "items", "owner", "balance", "result", "name"]


@st.composite
def functions(draw: st.DrawFn) -> list[str]:
    """Functions with names of their own."""
    count = draw(st.integers(2, 6))
    found = []
    for number in range(count):
        body = draw(
            st.lists(
                st.lists(st.sampled_from(WORDS), min_size=2, max_size=4), min_size=2, max_size=6
            )
        )
        lines = [f"def function_{number}({', '.join(sorted(set(body[0])))}):"]
        lines += [f"    {words[0]} = {' + '.join(words[1:])}" for words in body]
        found.append("\n".join(lines))
    return found


@settings(max_examples=200)
@given(functions(), st.data())
def test_a_function_that_was_changed_a_little_is_found(
    functions: list[str], data: st.DataObject
) -> None:
    document = "\n\n\n".join(functions) + "\n"
    chosen = data.draw(st.sampled_from(functions))
    lines = chosen.split("\n")
    row = data.draw(st.integers(1, len(lines) - 1))
    lines[row] = "    changed = 0"
    assert place(document, "\n".join(lines) + "\n") == [chosen]


@settings(max_examples=300)
@given(
    st.text(alphabet="ab (){}:\n\tdef", max_size=80),
    st.text(alphabet="ab (){}:\n\tdef", max_size=40),
    st.text(alphabet="ab \n", max_size=8),
    st.none() | st.integers(0, 5),
)
def test_any_text_has_places_within_it(
    document: str, code: str, asked: str, cursor: int | None
) -> None:
    lines = document.split("\n")
    here = None if cursor is None else Place(cursor, 0)
    for stretch in find(lines, code, "python", [excerpt(asked)], here):
        assert Place(0, 0) <= stretch.start < stretch.end
        assert stretch.end.line < len(lines)
        assert stretch.end.column <= len(lines[stretch.end.line])
        assert lines[stretch.start.line].strip()
        assert lines[stretch.end.line].strip()


def test_it_is_quick_enough_in_a_long_document() -> None:
    chance = random.Random(1)
    functions = []
    for number in range(1500):
        body = [f"    {chance.choice(WORDS)} = {chance.choice(WORDS)} + {n}" for n in range(10)]
        functions.append(f"def function_{number}(self):\n" + "\n".join(body))
    document = "\n\n".join(functions)
    begun = time.perf_counter()
    assert place(document, functions[700].replace("= ", "= 1 + ")) == [functions[700]]
    named = time.perf_counter()
    place(document, functions[700].replace("function_", "other_"))
    place(document, "\n".join(functions[700].split("\n")[1:]))
    place(document, "\n\n".join(functions[:200]))
    assert named - begun < 3.0
    assert time.perf_counter() - named < 30.0
