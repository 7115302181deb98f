"""What never enters a prompt: files that look like secrets, and files that git ignores.

The name and content rules are pure. Git is asked through `git check-ignore`, in a thread, at most
once a minute for each document. Where git can't say, the document is kept out; where there is no
git, or no repository, only the rules hold.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

#: Names of files that hold secrets, in lower case (`fnmatch` patterns).
SECRET_NAMES = (
    ".env",
    ".env.*",
    ".envrc",
    "*.env",
    # Keys and key stores.
    "*.pem",
    "*.key",
    "*.p8",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.ppk",
    "*.kdb",
    "*.kdbx",
    "*.gpg",
    "*.age",
    "*.ovpn",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    # Log-ins of tools.
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    ".dockerconfigjson",
    ".s3cfg",
    ".boto",
    ".vault-token",
    "kubeconfig",
    "*.kubeconfig",
    "credentials",
    "credentials.yml.enc",
    "*.credentials",
    "secrets",
    "shadow",
    # Infrastructure state and variables carry pass phrases in the clear.
    "*.tfstate",
    "*.tfstate.backup",
    "*.tfvars",
    # What was typed at a prompt.
    ".*_history",
)

#: `credentials.py` is a program; with one of these endings it is data.
_DATA_ENDINGS = ("json", "yml", "yaml", "toml", "ini", "cfg", "conf", "xml", "properties", "csv")
_DATA_NAMES = frozenset(
    f"{name}.{ending}"
    for name in ("credentials", "credential", "secrets", "secret")
    for ending in _DATA_ENDINGS
)

#: Folders whose files are all kept out.
SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".kube", ".docker", ".password-store"})

#: Texts that are secrets wherever they stand: private keys, and tokens with a known shape.
_SECRET_TEXT = re.compile(
    r"-----(?:BEGIN|END) [A-Z0-9 ]*PRIVATE KEY"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[0-9A-Za-z]{36}"
    r"|\bgithub_pat_[0-9A-Za-z_]{60}"
    r"|\bglpat-[0-9A-Za-z_-]{20}"
    r"|\bxox[abeoprs]-[0-9A-Za-z-]{10}"
    r"|\bsk-[0-9A-Za-z_-]{32}"
    r"|\bhf_[0-9A-Za-z]{34}"
    r"|\bnpm_[0-9A-Za-z]{36}"
    r"|\bAIza[0-9A-Za-z_-]{35}"
)

#: One of these is in every text that `_SECRET_TEXT` finds; looking for them is far quicker.
_SECRET_MARKS = (
    "PRIVATE KEY",
    "AKIA",
    "ASIA",
    *(f"gh{kind}_" for kind in "pousr"),
    "github_pat_",
    "glpat-",
    "xox",
    "sk-",
    "hf_",
    "npm_",
    "AIza",
)

#: Schemes whose URI path is a path of this machine.
_LOCAL_SCHEMES = frozenset({"file", "vscode-notebook-cell"})


def path_of(uri: str) -> Path | None:
    """The file behind a URI, if it is one of this machine."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme not in _LOCAL_SCHEMES or not parts.path:
        return None
    path = unquote(parts.path)
    if re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    if "\0" in path:
        return None
    return Path(f"//{parts.netloc}{path}" if parts.netloc else path)


def is_secret_name(path: str) -> bool:
    """Whether a path's file or folder names are those of secrets. Any scheme's path will do."""
    names = [name for name in re.split(r"[/\\]", path.lower()) if name]
    if not names:
        return False
    *folders, name = names
    return (
        not SECRET_FOLDERS.isdisjoint(folders)
        or name in _DATA_NAMES
        or any(fnmatchcase(name, pattern) for pattern in SECRET_NAMES)
    )


def is_secret_uri(uri: str) -> bool:
    """`is_secret_name` for the path of a URI, also of one that is not a file."""
    return is_secret_name(unquote(uri).split("?")[0].split("#")[0])


def is_secret_text(text: str) -> bool:
    """Whether a text has a private key or a token in it."""
    return any(mark in text for mark in _SECRET_MARKS) and bool(_SECRET_TEXT.search(text))


class GitAnswer(Enum):
    """What git says about a file."""

    IGNORED = auto()
    NOT_IGNORED = auto()
    #: It failed, or took too long.
    UNKNOWN = auto()


def ask_git(path: Path, timeout: float) -> GitAnswer:
    """Run `git check-ignore`. Blocks for up to `timeout` seconds.

    A tracked file is not ignored, whatever the patterns say: that is git's own rule.
    """
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    # An editor that git itself has started has GIT_DIR and others set, for another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            # A repository's own configuration must not run a program here.
            ["git", "-c", "core.fsmonitor=false", "check-ignore", "--quiet", "--", str(path)],
            cwd=folder,
            env=environment | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return GitAnswer.NOT_IGNORED
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return GitAnswer.UNKNOWN
    if answer.returncode in (0, 1):
        return GitAnswer.NOT_IGNORED if answer.returncode else GitAnswer.IGNORED
    outside = (b"not a git repository", b"must be run in a work tree")
    if any(reason in answer.stderr for reason in outside):
        return GitAnswer.NOT_IGNORED
    return GitAnswer.UNKNOWN


@dataclass
class _Entry:
    checked_at: float
    answer: asyncio.Task[bool]


class Privacy:
    """Says for each document whether it must be kept out of prompts; remembers for a while."""

    #: Seconds that an answer holds: `.gitignore` may change outside the editor.
    MAX_AGE = 60.0
    #: Seconds that git may take.
    TIMEOUT = 2.0

    def __init__(
        self,
        clock: Callable[[], float],
        ask: Callable[[Path, float], GitAnswer] = ask_git,
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._entries: dict[str, _Entry] = {}
        self._told_unknown = False

    async def is_private(self, uri: str) -> bool:
        """Whether the document's file is a secret or ignored. Raises nothing."""
        if is_secret_uri(uri):
            return True
        path = path_of(uri)
        if path is None:
            return False
        entry = self._entries.get(uri)
        if entry is None or self._clock() - entry.checked_at > self.MAX_AGE:
            task = asyncio.create_task(asyncio.to_thread(self._check, path))
            entry = self._entries[uri] = _Entry(self._clock(), task)
        # One request's cancellation is no reason to lose the answer for the next.
        return await asyncio.shield(entry.answer)

    def forget(self, uri: str | None = None) -> None:
        """Ask again next time: for one document, or for all after a `.gitignore` changed."""
        if uri is None:
            self._entries.clear()
        else:
            self._entries.pop(uri, None)

    def _check(self, path: Path) -> bool:
        real = Path(os.path.realpath(path))
        if is_secret_name(str(real)):
            return True
        for each in {path, real}:
            answer = self._ask(each, self.TIMEOUT)
            if answer is GitAnswer.UNKNOWN and not self._told_unknown:
                self._told_unknown = True
                log.warning("git can't say which files it ignores: those get no completions")
            if answer is not GitAnswer.NOT_IGNORED:
                return True
        return False
