"""The Emacs package without a server: how it compiles, what linters say, documents in step."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from support.emacs import PLUGIN, TESTS, VERSION, batch, ert_tests, has_eglot, needs_emacs, run_ert

pytestmark = needs_emacs

FILES = sorted(PLUGIN.glob("*.el"))
DOCUMENTS = TESTS / "ingle-document-tests.el"
#: What an old package-lint says of every package for Emacs 28 that has no home page.
_ACCEPTED = re.compile(
    r"This makes the package uninstallable in all released Emacs versions"
    r"|should have a Homepage or URL header"
)


def test_it_byte_compiles_without_warnings(tmp_path: Path) -> None:
    if not has_eglot():
        pytest.skip("no Eglot: tests/editors/install_emacs.sh installs it")
    destination = (
        "(setq byte-compile-dest-file-function (lambda (file) (expand-file-name"
        f' (concat (file-name-nondirectory file) "c") "{tmp_path}")))'
    )
    done = batch("--eval", destination, "-f", "batch-byte-compile", *map(str, FILES))
    assert done.returncode == 0
    assert done.stdout + done.stderr == ""
    assert len(list(tmp_path.glob("*.elc"))) == len(FILES)


def test_checkdoc_has_nothing_to_say() -> None:
    files = " ".join(f'"{file}"' for file in FILES)
    done = batch("--eval", f"(progn (require 'checkdoc) (mapc #'checkdoc-file '({files})))")
    assert done.returncode == 0
    assert done.stdout + done.stderr == ""


def test_package_lint_has_nothing_new_to_say() -> None:
    root = Path("/usr/share/emacs/site-lisp/elpa")
    folders = [
        folder
        for name in ("package-lint", "let-alist", "compat")
        for folder in root.glob(f"{name}-[0-9]*")
    ]
    if not folders or VERSION > 28:
        pytest.skip("no package-lint for it: tests/editors/install_emacs.sh installs it")
    done = batch(
        *(word for folder in folders for word in ("-L", str(folder))),
        *("--eval", f'(setq package-lint-main-file "{PLUGIN / "ingle.el"}")'),
        *("-l", "package-lint.el", "-f", "package-lint-batch-and-exit"),
        *map(str, FILES),
    )
    said = [line for line in (done.stdout + done.stderr).split("\n") if re.match(r"\S+:\d+:", line)]
    assert [line for line in said if not _ACCEPTED.search(line)] == []


def test_every_file_says_what_it_is() -> None:
    for file in FILES:
        text = file.read_text()
        assert text.startswith(f";;; {file.name} --- "), file
        assert "-*- lexical-binding: t; -*-" in text.split("\n")[0], file
        assert text.endswith(f"(provide '{file.stem})\n;;; {file.name} ends here\n"), file
        assert text.count("\n") <= 500, file


def test_the_readme_names_what_there_is() -> None:
    readme = (PLUGIN / "README.md").read_text()
    form = (
        '(progn (require \'ingle) (mapc (lambda (file) (unless (string-match-p "eglot" file)'
        f' (load file nil t))) (directory-files "{PLUGIN}" t "\\\\.el$"))'
        " (princ (json-encode (list"
        "  (cons 'options (vconcat (mapcar #'car (seq-filter (lambda (member)"
        "   (eq (nth 1 member) 'custom-variable)) (get 'ingle 'custom-group)))))"
        "  (cons 'keys (vconcat (mapcar (lambda (entry) (vector (string (car entry))"
        "   (nth 2 entry))) (remq nil ingle--commands))))"
        "  (cons 'prefix ingle-keymap-prefix)))))"
    )
    done = batch("-l", "json", "--eval", form)
    found = json.loads(done.stdout)
    for option in found["options"]:
        assert f"`{option}`" in readme, option
    assert f"after the prefix `{found['prefix']}`" in readme
    rows = [line for line in readme.split("\n") if line.startswith("| `")]
    for key, command in found["keys"]:
        assert any(f"`{key}`" in row and f"`{command}`" in row for row in rows), (key, command)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What ERT says of the tests of documents."""
    return run_ert(DOCUMENTS, env=dict(os.environ))


@pytest.mark.parametrize("name", ert_tests(DOCUMENTS))
def test_documents(outcomes: dict[str, str], name: str) -> None:
    assert not outcomes[name], outcomes[name]
