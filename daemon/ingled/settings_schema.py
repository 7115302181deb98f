"""The daemon's settings: names, defaults, limits and documentation, each written once.

A setting's documentation, what it allows and the moment it takes effect are in its annotation; the
table of `SETTINGS.md` and the file of `ingle config init` are made from them. Reading the file is
`settings`' affair.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from ingle.messages import Effort

#: When a changed setting takes effect.
NOW = "at once"
LOAD = "next model load"
RESTART = "next daemon start"

#: CURVE keys in Z85 (https://rfc.zeromq.org/spec/32/).
_KEY = r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$"


def _meta(description: str, applies: str = NOW, *, form: str = "", **limits: Any) -> Meta:
    """A setting's documentation. `form` says what is allowed where the type can't."""
    return Meta(description=description, extra={"applies": applies, "form": form}, **limits)


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class DaemonSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process that clients connect to."""

    listen: Annotated[
        str,
        _meta(
            "Address to listen on. Empty: a socket in your runtime folder (on Windows a loopback "
            "port). TCP is always encrypted; an address that other machines can reach needs "
            "`allowed_client_keys`.",
            RESTART,
            form='"", "ipc://PATH" or "tcp://HOST:PORT"',
            pattern=r"^(|ipc://.+|tcp://.+:(\d{1,5}|\*))$",
        ),
    ] = ""
    allowed_client_keys: Annotated[
        list[Annotated[str, Meta(pattern=_KEY)]],
        _meta(
            "Public CURVE keys of the clients that may connect over TCP, besides your own.",
            RESTART,
            form="a list of Z85 keys, 40 characters each",
        ),
    ] = []
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _meta("How much is logged. Prompts and source text never are."),
    ] = "info"
    max_queue: Annotated[
        int, _meta("Requests that may wait in each class; more are refused as busy.", ge=1, le=4096)
    ] = 64
    max_requests_per_client: Annotated[
        int, _meta("Requests that one connection may have open.", ge=1, le=4096)
    ] = 32
    drain_ms: Annotated[
        int,
        _meta(
            "Milliseconds that running requests get to finish when the daemon is told to stop.",
            ge=0,
            le=600_000,
        ),
    ] = 5000


class ModelSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model that requests use when they name none, and how models are loaded."""

    name: Annotated[
        str,
        _meta(
            "Model that answers when a request names none: a name of `ingle models` or an absolute "
            "path. Empty: gpt-oss-20b if it is installed, else the first installed model.",
            form="text",
        ),
    ] = ""
    engine: Annotated[
        Literal["auto", "exllamav2", "llamacpp", "scripted"],
        _meta(
            "What runs the model. `auto` chooses by the model's format; `scripted` is the "
            "deterministic engine for tests.",
            LOAD,
        ),
    ] = "auto"
    load_at_start: Annotated[
        bool,
        _meta("Load the model when the daemon starts, instead of at the first request.", RESTART),
    ] = True
    keep_alive: Annotated[
        Literal["forever"] | Annotated[float, Meta(gt=0, le=31_536_000)],
        _meta(
            "How long an unused model stays resident. The next request loads it again.",
            form='"forever" or a number of seconds above 0',
        ),
    ] = "forever"
    context: Annotated[
        int,
        _meta("Tokens per request, prompt and answer together.", LOAD, ge=256, le=1_048_576),
    ] = 4096
    slots: Annotated[int, _meta("Requests that run at the same time.", LOAD, ge=1, le=64)] = 4
    threads: Annotated[
        int, _meta("Threads for decode; 0 lets the engine choose.", LOAD, ge=0, le=1024)
    ] = 0
    gpu_layers: Annotated[
        int,
        _meta("Layers on the GPU; -1 means all that fit, 0 the CPU alone.", LOAD, ge=-1, le=10_000),
    ] = -1
    cache_mb: Annotated[
        int,
        _meta(
            "Megabytes of host memory for prompt caches; models with sliding windows use none.",
            LOAD,
            ge=0,
            le=1_048_576,
        ),
    ] = 512


class ChatSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chat requests that leave a field out."""

    effort: Annotated[Effort, _meta("How much a reasoning model thinks.")] = "medium"
    max_tokens: Annotated[
        int, _meta("Tokens of one answer, thinking included.", ge=1, le=1_048_576)
    ] = 2048
    temperature: Annotated[
        float, _meta("Randomness; 0 always takes the likeliest token.", ge=0, le=2)
    ] = 0.7


class InlineSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Completions at the cursor that leave a field out."""

    max_tokens: Annotated[int, _meta("Tokens of a one-line completion.", ge=1, le=4096)] = 48
    multiline_max_tokens: Annotated[
        int, _meta("Tokens of a completion of several lines.", ge=1, le=16_384)
    ] = 192
    deadline_ms: Annotated[
        int,
        _meta("Milliseconds after which a completion is of no use any more.", ge=1, le=600_000),
    ] = 4000


class ExLlamaV2Settings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """gpt-oss on an NVIDIA or AMD card. These are handed to the engine as they are."""

    cache: Annotated[
        Literal["auto", "fp16", "q8", "q6", "q4"],
        _meta(
            "How keys and values are kept. `auto` takes the best of fp16, q8 and q6 that fits; q4 "
            "costs quality.",
            LOAD,
        ),
    ] = "auto"
    draft_tokens: Annotated[
        int,
        _meta(
            "Tokens guessed ahead in each step from what the text has had before; 0 guesses "
            "none. Helps with long, repetitive answers to one request at a time.",
            LOAD,
            ge=0,
            le=15,
        ),
    ] = 0
    headroom_mb: Annotated[
        int,
        _meta(
            "Megabytes of the card that are left to others. A model that needs them is refused.",
            LOAD,
            ge=0,
            le=1_048_576,
        ),
    ] = 300
    adapters: Annotated[
        list[str],
        _meta(
            "Folders of LoRA adapters (PEFT) to apply, all of them.", LOAD, form="a list of paths"
        ),
    ] = []


class ScriptedSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deterministic test engine. These are handed to it as they are."""

    script: Annotated[
        str,
        _meta("What it answers. Empty: it says again what it was told.", LOAD, form="text"),
    ] = ""
    alternatives: Annotated[
        list[str],
        _meta(
            "What it answers instead where a request is sampled with a seed: the first for seed 1, "
            "and so on, over and over.",
            LOAD,
            form="a list of texts",
        ),
    ] = []
    tokens_per_second: Annotated[float, _meta("Pace of decode.", LOAD, gt=0, le=1_000_000)] = 200.0
    prefill_tokens_per_second: Annotated[
        float, _meta("Pace of prefill.", LOAD, gt=0, le=100_000_000)
    ] = 20000.0
    fault: Annotated[
        str,
        _meta(
            "What goes wrong: `load` (refuses to load), `load-exit` (dies while loading), `exit:N` "
            "(dies at the Nth token), `job:N` (fails the job at its Nth token). Empty: nothing.",
            LOAD,
            form="text",
        ),
    ] = ""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings."""

    daemon: DaemonSettings = DaemonSettings()
    model: ModelSettings = ModelSettings()
    chat: ChatSettings = ChatSettings()
    inline: InlineSettings = InlineSettings()
    exllamav2: ExLlamaV2Settings = ExLlamaV2Settings()
    scripted: ScriptedSettings = ScriptedSettings()


class Setting(Struct, frozen=True, kw_only=True):
    """One setting, as people read about it."""

    section: str
    key: str
    default: Any
    type: Any
    description: str
    #: What its value may be.
    allowed: str
    #: `NOW`, `LOAD` or `RESTART`.
    applies: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"


def sections() -> dict[str, type[Struct]]:
    """Section name → its struct, in the order of the file."""
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def all_settings() -> Iterator[Setting]:
    """Every setting, in the order of the file."""
    for section, struct in sections().items():
        hints = get_type_hints(struct, include_extras=True)
        defaults = msgspec.to_builtins(struct())
        for field in msgspec.structs.fields(struct):
            meta: Meta = hints[field.name].__metadata__[-1]
            extra = meta.extra or {}
            yield Setting(
                section=section,
                key=field.name,
                default=defaults[field.name],
                type=hints[field.name],
                description=meta.description or "",
                allowed=extra["form"] or _allowed(hints[field.name]),
                applies=extra["applies"],
            )


def settings_table() -> str:
    """All settings in Markdown."""
    lines = []
    for section, struct in sections().items():
        lines += [f"## `[{section}]`", "", (struct.__doc__ or "").strip(), ""]
        lines += ["| Setting | Default | Allowed | Takes effect | Meaning |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for setting in all_settings():
            if setting.section == section:
                cells = (
                    f"`{setting.key}`",
                    f"`{toml_value(setting.default)}`",
                    setting.allowed,
                    setting.applies,
                    setting.description,
                )
                lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def default_toml() -> str:
    """A settings file with everything in it, commented out."""
    lines = ["# Settings of ingle. Every line shows a default; uncomment it to change it.", ""]
    for section, struct in sections().items():
        lines += [f"# {(struct.__doc__ or '').strip()}", f"[{section}]"]
        for setting in all_settings():
            if setting.section == section:
                text = f"{setting.description} Allowed: {setting.allowed}."
                if setting.applies != NOW:
                    text += f" Takes effect at the {setting.applies}."
                lines += ["", *(f"## {line}" for line in textwrap.wrap(text, 95))]
                lines.append(f"# {setting.key} = {toml_value(setting.default)}")
        lines += ["", ""]
    return "\n".join(lines).rstrip() + "\n"


def toml_value(value: Any) -> str:
    """A setting's value as TOML writes it."""
    # JSON's strings, lists, numbers and booleans are TOML's, but for a bare DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _allowed(annotation: Any) -> str:
    """What a type allows, in words."""
    info = msgspec.inspect.type_info(annotation)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    match info:
        case msgspec.inspect.LiteralType():
            return ", ".join(json.dumps(value) for value in get_args(annotation.__origin__))
        case msgspec.inspect.BoolType():
            return "true, false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case msgspec.inspect.FloatType(ge=None, gt=low, le=high):
            return f"a number above {low:g} and up to {high:.15g}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:g}"
    raise TypeError(f"say with `form` what {annotation} allows")
