"""Comments, strings and code, as a cursor stands in them, in many languages."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingle_lsp.syntax import MOST, Kind, kind_at

#: Language, text with `|` for the cursor, what it is in.
CASES: list[tuple[str, str, Kind]] = [
    ("python", "x = 1  # foo|", "comment"),
    ("python", "x = 1|  # foo", "code"),
    ("python", "# foo|\n", "comment"),
    ("python", "# foo\n|", "code"),
    ("python", 'x = "abc|"', "string"),
    ("python", 'x = "abc|', "string"),
    ("python", 'x = "abc"|', "code"),
    ("python", "x = 'it|", "string"),
    ("python", 'def f():\n    """Do |', "string"),
    ("python", 'def f():\n    """Do |\n    """\n', "string"),
    ("python", 'def f():\n    """Do"""\n    |', "code"),
    ("python", 'x = """a\nb\n|\nc"""', "string"),
    ("python", 'x = f"a {b|} c"', "code"),
    ("python", 'x = f"a| {b} c"', "string"),
    ("python", "x = 'a' # don't|", "comment"),
    ("python", "# don't\nx = |", "code"),
    ("python", "x = r'|", "string"),
    ("python", "x = {'a': |", "code"),
    ("python", "print('a', |)", "code"),
    ("python", "x = '#'|", "code"),
    ("python", "x = '# |'", "string"),
    ("javascript", "// foo|", "comment"),
    ("javascript", "x = 1 // foo|\ny", "comment"),
    ("javascript", "/* foo|", "comment"),
    ("javascript", "/* foo\n bar|\n*/", "comment"),
    ("javascript", "/* foo */ |", "code"),
    ("javascript", "x = 'abc|", "string"),
    ("javascript", "x = `abc|", "string"),
    ("javascript", "x = `abc ${d|}`", "code"),
    ("javascript", "x = `abc\n|", "string"),
    ("javascript", 'x = "a" + |', "code"),
    ("javascript", "f('it', |", "code"),
    ("javascript", "// don't\nx = |", "code"),
    ("typescript", "const x: string = 'a|'", "string"),
    ("typescript", "/** doc |", "comment"),
    ("typescript", "let x = 1; |", "code"),
    ("typescriptreact", 'const a = <div className="x|">', "string"),
    ("javascriptreact", "// hi|", "comment"),
    ("c", "int x; // foo|", "comment"),
    ("c", "/* foo|", "comment"),
    ("c", "#define FOO |", "code"),
    ("c", 'char *s = "abc|', "string"),
    ("c", 'char *s = "abc|";', "string"),
    ("c", "#include |", "code"),
    ("c", "int x = |;", "code"),
    ("c", "/* a */ int |", "code"),
    ("c", "char c = 'a'; |", "code"),
    ("cpp", "// x|", "comment"),
    ("cpp", 'auto s = "x|"', "string"),
    ("rust", "// x|", "comment"),
    ("rust", "/* x|", "comment"),
    ("rust", 'let s = "abc|', "string"),
    ("rust", "fn f<'a>(x: &'a str) -> |", "code"),
    ("rust", "let x = |", "code"),
    ("rust", "/// doc |", "comment"),
    ("rust", 'let s = r#"abc|"#;', "string"),
    ("go", "// x|", "comment"),
    ("go", "/* x|", "comment"),
    ("go", "s := `abc\n|", "string"),
    ("go", "s := `abc|`", "string"),
    ("go", 's := "abc|', "string"),
    ("go", "x := |", "code"),
    ("lua", "-- x|", "comment"),
    ("lua", "--[[ x\n|", "comment"),
    ("lua", "--[[ x\n|\n]]", "comment"),
    ("lua", "s = [[abc\n|", "string"),
    ("lua", "s = 'abc|'", "string"),
    ("lua", "s = 'abc|", "string"),
    ("lua", "x = |", "code"),
    ("lua", "a[b[1]] = |", "code"),
    ("shellscript", "# x|", "comment"),
    ("shellscript", 'echo "abc|', "string"),
    ("shellscript", "echo 'abc|", "string"),
    ("shellscript", "echo $(|)", "code"),
    ("shellscript", "x=|", "code"),
    ("shellscript", "echo abc # foo|", "comment"),
    ("shellscript", 'echo "a $(ls |)"', "code"),
    ("html", "<!-- foo|", "comment"),
    ("html", "<!-- foo| -->", "comment"),
    ("html", '<a href="x|">', "string"),
    ("html", "<p>don't |", "code"),
    ("html", "<p>|</p>", "code"),
    ("html", "<script>\n// x|\n</script>", "comment"),
    ("html", "<script>\n// x|", "comment"),
    ("java", "/** x|", "comment"),
    ("java", 'String s = "a|', "string"),
    ("ruby", "# x|", "comment"),
    ("ruby", "x = :foo|", "code"),
    ("ruby", "x = 'a|'", "string"),
    ("css", "/* x|", "comment"),
    ("sql", "-- x|", "comment"),
    ("sql", "select 'a|'", "string"),
    ("yaml", "# x|", "comment"),
    ("yaml", "a: |", "code"),
    ("toml", "# x|", "comment"),
    ("toml", 'a = "x|"', "string"),
    ("json", '{"a": "x|"}', "string"),
    ("plaintext", "don't |", "code"),
    ("nonsense", "# x|", "code"),
    ("markdown", "# x|", "code"),
    ("markdown", "text it's |", "code"),
    ("haskell", "-- x|", "comment"),
    ("php", "<?php\n// x|", "comment"),
    ("kotlin", "// x|", "comment"),
    ("swift", "// x|", "comment"),
    ("csharp", "// x|", "comment"),
    ("zig", "// x|", "comment"),
    ("elixir", "# x|", "comment"),
    ("elisp", "; x|", "comment"),
    ("vim", '" x|', "comment"),
]


@pytest.mark.parametrize(("language", "text", "kind"), CASES)
def test_where_the_cursor_is(language: str, text: str, kind: Kind) -> None:
    before, _, after = text.partition("|")
    assert kind_at(before, after, language) == kind


PYTHON = '''def f(x):
    """Say what it does, and don't be short."""
    return "it's " + x  # or so


'''


@pytest.mark.parametrize(
    ("text", "kind"), [("x = |", "code"), ("# x|", "comment"), ('x = "a|"', "string")]
)
@pytest.mark.parametrize("functions", [1, 50, 5_000])
def test_far_down_in_a_long_file(functions: int, text: str, kind: Kind) -> None:
    before, _, after = text.partition("|")
    assert kind_at(PYTHON * functions + before, after, "python") == kind


def test_a_long_file_costs_no_more_than_its_end() -> None:
    def seconds(functions: int) -> float:
        text = PYTHON * functions + "x = "
        times = []
        for _ in range(5):
            start = time.perf_counter()
            kind_at(text, "", "python")
            times.append(time.perf_counter() - start)
        return min(times)

    fitting = MOST // len(PYTHON)
    assert seconds(100 * fitting) < 3 * seconds(fitting) + 0.001


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="ab'\"`#/*-[]<!>{}()\\\n =:$", max_size=60),
    st.text(alphabet="ab'\"`#/*-[]<!>{}()\\\n =:$", max_size=20),
    st.sampled_from(["python", "javascript", "c", "rust", "go", "lua", "shellscript", "html"]),
)
def test_any_text_has_an_answer(before: str, after: str, language: str) -> None:
    assert kind_at(before, after, language) in ("code", "comment", "string")


def test_who_does_not_ask_does_not_pay() -> None:
    code = "import sys, ingle_lsp.server; sys.exit('pygments' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
