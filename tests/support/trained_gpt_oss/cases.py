"""What the tiny model has learned by heart: requests, and the answers to them.

The requests are the product's own; prompts are made by its Harmony dialect, so a test that asks
the daemon meets exactly what was trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingle.messages import Chat, ChatMessage, Effort, Infill, Tool
from ingled.dialects.dialect import Budget, Defaults
from ingled.dialects.harmony import HarmonyDialect
from support.o200k import encoding

CONTEXT = 2048


@dataclass(frozen=True)
class Case:
    """A request and its answer."""

    name: str
    request: Chat | Infill
    #: The text of the final message, or of the completion.
    final: str = ""
    analysis: str = ""
    #: Name and JSON arguments of a tool call, in the place of a final message.
    call: tuple[str, str] | None = None

    def prompt(self) -> list[int]:
        """Token ids (o200k) that the dialect asks the model to continue."""
        dialect = HarmonyDialect(encoding())
        budget = Budget(uncached_tokens=CONTEXT, context=CONTEXT)
        render = dialect.chat if isinstance(self.request, Chat) else dialect.infill
        prompt: list[int] = render(1, self.request, budget, Defaults()).job.prompt  # type: ignore[arg-type]
        return prompt

    def answer(self) -> list[int]:
        """Token ids (o200k) of the whole answer, control tokens included."""
        if isinstance(self.request, Infill):
            # The dialect takes a last space off the prompt: tokens begin with their space.
            typed = " " if self.request.prefix.endswith(" ") else ""
            return _ids(f"{typed}{self.final}\n```<|return|>")
        text = ""
        if self.analysis:
            text = f"<|channel|>analysis<|message|>{self.analysis}<|end|><|start|>assistant"
        if self.call:
            name, arguments = self.call
            text += f" to=functions.{name}<|channel|>commentary <|constrain|>json"
            return _ids(f"{text}<|message|>{arguments}<|call|>")
        return _ids(f"{text}<|channel|>final<|message|>{self.final}<|return|>")


def cases() -> list[Case]:
    """All of them."""
    return [*_efforts(), *_questions(), *_far_back(), *_tools(), *_completions()]


def case(name: str) -> Case:
    """One of them."""
    return next(one for one in cases() if one.name == name)


def _ids(text: str) -> list[int]:
    ids: list[int] = encoding().encode(text, allowed_special="all")
    return ids


def _ask(*turns: str, effort: Effort = "medium", system: str = "") -> Chat:
    """User and assistant take turns."""
    roles = ("user", "assistant")
    messages = [
        ChatMessage(role=roles[n % 2], content=turn)  # type: ignore[arg-type]
        for n, turn in enumerate(turns)
    ]
    if system:
        messages.insert(0, ChatMessage(role="system", content=system))
    return Chat(id=1, messages=messages, effort=effort)


# --- the same question, three efforts ----------------------------------------------------------

QUESTION = "Why is my loop slow?\n\nfor x in big:\n    total = total + [x]\n"


def _efforts() -> list[Case]:
    return [
        Case(
            "effort low",
            _ask(QUESTION, effort="low"),
            final="It copies the list in every round. Use append.",
        ),
        Case(
            "effort medium",
            _ask(QUESTION, effort="medium"),
            analysis="List plus list makes a new list each time.",
            final="`total + [x]` copies the whole list, so the loop is quadratic. Use append.",
        ),
        Case(
            "effort high",
            _ask(QUESTION, effort="high"),
            analysis=(
                "The loop adds a list of one element to total. Plus makes a new list and copies "
                "every element. With n elements that is n times n over two copies. Append works "
                "in place."
            ),
            final=(
                "Each round copies everything so far: n elements cost about n²/2 copies. "
                "`total.append(x)` changes the list in place, and `list(big)` needs no loop at all."
            ),
        ),
    ]


# --- what an editor asks -----------------------------------------------------------------------


def _questions() -> list[Case]:
    explained = "It adds every number from one to n."
    return [
        Case(
            "explain",
            _ask(
                "Explain this function.\n\n```python\ndef s(n):\n    return n * (n + 1) // 2\n```"
            ),
            analysis="A sum formula.",
            final=f"{explained} The formula is Gauss's.",
        ),
        Case(
            "fix",
            _ask("Fix this bug.\n\n```python\ndef half(x):\n    return x / 0\n```"),
            analysis="Division by zero; half means two.",
            final="```python\ndef half(x):\n    return x / 2\n```",
        ),
        Case(
            "test",
            _ask("Write a test.\n\n```python\ndef add(a, b):\n    return a + b\n```"),
            analysis="One assertion is enough.",
            final="```python\ndef test_add():\n    assert add(2, 3) == 5\n```",
        ),
        Case(
            "document",
            _ask("Write a docstring.\n\n```python\ndef area(r):\n    return 3.14159 * r * r\n```"),
            analysis="A circle.",
            final='"""The area of a circle with radius r."""',
        ),
        Case(
            "refactor",
            _ask("Make this shorter.\n\nif a == True:\n    return True\nelse:\n    return False\n"),
            analysis="The value is the answer.",
            final="return bool(a)",
        ),
        Case(
            "rust",
            _ask("How do I read a file in Rust?"),
            analysis="The standard library has it.",
            final='`let text = std::fs::read_to_string("file.txt")?;`',
        ),
        Case(
            "greeting in German",
            _ask("Grüße auf Deutsch?", effort="low"),
            final="Grüß Gott, schöne Übung! 🙂",
        ),
        Case(
            "commit message",
            _ask(
                "diff --git a/cache.py b/cache.py\n-size = 10\n+size = 100\n",
                system="Write a commit message.",
            ),
            analysis="The size grows.",
            final="Enlarge the cache from 10 to 100 entries",
        ),
        Case(
            "second turn",
            _ask(
                "Explain this function.\n\n```python\ndef s(n):\n    return n * (n + 1) // 2\n```",
                explained,
                "And in one word?",
            ),
            analysis="One word.",
            final="Summation.",
        ),
        Case(
            "long answer",
            _ask("List the keywords of Python.", effort="low"),
            final=(
                "and, as, assert, async, await, break, class, continue, def, del, elif, else, "
                "except, finally, for, from, global, if, import, in, is, lambda, nonlocal, not, "
                "or, pass, raise, return, try, while, with, yield"
            ),
        ),
        Case(
            "control tokens as text",
            _ask("What is <|end|> in this file?", effort="low"),
            final="Plain text, nothing more.",
        ),
    ]


# --- further back than a window ----------------------------------------------------------------


def _far_back() -> list[Case]:
    between = (
        "The parser reads the header first, then the body, and closes the file at the end. "
        "The writer does the same in the other order and flushes twice. "
        "Neither of the two may be called from a thread. "
        "Now tell me the port."
    )
    return [
        Case(
            f"port {port}",
            _ask(f"The port is {port}. {between}", effort="low"),
            final=f"The port is {port}.",
        )
        for port in (8080, 5432)
    ]


# --- tools -------------------------------------------------------------------------------------

READ_FILE = Tool(
    name="read_file",
    description="Reads a file of the project.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string", "description": "Path of the file."}},
        "required": ["path"],
    },
)


def _tools() -> list[Case]:
    def ask(text: str) -> Chat:
        return Chat(
            id=1,
            messages=[ChatMessage(role="user", content=text)],
            effort="low",
            tools=[READ_FILE],
        )

    return [
        Case(
            "tool call",
            ask("What is in setup.cfg?"),
            analysis="I must read it.",
            call=("read_file", '{"path": "setup.cfg"}'),
        ),
        Case("no tool needed", ask("Say hello."), final="Hello."),
    ]


# --- completions -------------------------------------------------------------------------------


def _at(
    before: str,
    after: str = "",
    *,
    path: str = "main.py",
    language: str = "python",
    many: bool = False,
) -> Infill:
    return Infill(id=1, prefix=before, suffix=after, path=path, language=language, multiline=many)


def _completions() -> list[Case]:
    return [
        Case("add", _at("def add(a, b):\n    return "), final="a + b"),
        Case("subtract", _at("def subtract(a, b):\n    return "), final="a - b"),
        Case("greet", _at('def greet(name):\n    print("Hello, '), final='" + name)'),
        Case("imports", _at("import os\nimport "), final="sys"),
        Case(
            "with a suffix",
            _at("values = [3, 1, 2]\n", "\nprint(smallest)\n"),
            final="smallest = min(values)",
        ),
        Case(
            "read lines",
            _at("def lines(path):\n    with open(path) as file:\n        "),
            final="return file.readlines()",
        ),
        Case(
            "several lines",
            _at("def fibonacci(n):\n    a, b = 0, 1\n", many=True),
            final="    for _ in range(n):\n        a, b = b, a + b",
        ),
        Case(
            "javascript",
            _at("function double(x) {\n  return ", "\n}\n", path="a.js", language="javascript"),
            final="x * 2;",
        ),
        Case(
            "rust completion",
            _at("fn main() {\n    println!(", "\n}\n", path="main.rs", language="rust"),
            final='"Hello, world!");',
        ),
        Case(
            "sql",
            _at("SELECT name FROM users ", path="q.sql", language="sql"),
            final="ORDER BY name;",
        ),
    ]
