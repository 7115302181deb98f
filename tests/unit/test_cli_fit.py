"""`ingle fit` as people and scripts use it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.paths import data_dir
from ingled.cli import fit as command
from ingled.models.fit import GIB, MIB, Memory
from ingled.models.manifest import Manifest, ManifestFile, write_manifest
from ingled.models.model_shape import GPT_OSS_20B, ModelShape, tensors
from support.cli import Shell
from support.safetensors_headers import exl2_tensors, write_headers

CONFIG = {
    "architectures": ["GptOssForCausalLM"],
    "num_hidden_layers": 24,
    "hidden_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "intermediate_size": 2880,
    "vocab_size": 201_088,
}
TINY = ModelShape(
    name="tiny",
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=32,
    experts=4,
    experts_per_token=2,
    intermediate=96,
    vocabulary=320,
)
TINY_CONFIG = CONFIG | {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "intermediate_size": 96,
    "vocab_size": 320,
}
CARD = Memory(total=16 * GIB, used=GIB, measured=True, name="NVIDIA GeForce RTX 4080")


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Shell:
    """On a machine without a card."""
    monkeypatch.setenv("INGLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INGLE_DEBUG", raising=False)
    monkeypatch.setattr(command, "read_cards", list)
    return Shell(monkeypatch, capsys)


def folder(path: Path, config: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


# --- what it tells ---------------------------------------------------------------------------


def test_without_a_card_it_says_so_and_tells_of_common_sizes(shell: Shell) -> None:
    outcome = shell("fit")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "no NVIDIA card was found: what of gpt-oss-20b fits on common sizes"
    assert [line.split()[0] for line in lines[3:9]] == ["8", "12", "16", "24", "48", "80"]
    assert "--vram" in lines[-1]


def test_a_card_is_found_by_itself(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Memory(total=4 * GIB, used=GIB, measured=True, name="small")
    monkeypatch.setattr(command, "read_cards", lambda: [small, CARD])
    out = shell("fit").out
    assert out.startswith("gpt-oss-20b on NVIDIA GeForce RTX 4080, 16.0 GB, 1.0 GB of it in use\n")
    assert "fits: 5.0 bpw" in out


def test_a_card_that_is_in_use_is_explained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Memory(total=16 * GIB, used=12 * GIB, measured=True, name="card")
    monkeypatch.setattr(command, "read_cards", lambda: [busy])
    outcome = shell("fit")
    assert outcome.code == 1
    assert "12.0 GB of it in use" in outcome.out
    assert "nvidia-smi" in outcome.out
    assert "ingle unload" in outcome.out


def test_a_size_is_kept_apart_from_the_card(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "read_cards", lambda: [CARD])
    out = shell("fit", "--vram", "24GB").out
    assert "a card of 24.0 GB, 600 MB of it assumed for the desktop" in out


def test_every_part_is_told_and_adds_up(shell: Shell) -> None:
    outcome = shell("fit", "--vram", "16GB", "--json")
    told = json.loads(outcome.out)
    answer = told["answer"]
    assert answer["needed"] == sum(answer["parts"].values())
    assert answer["left"] == answer["available"] - answer["needed"]
    assert answer["available"] == 16 * GIB - told["memory"]["used"] - told["memory"]["headroom"]
    assert told["parameters"] == 20_914_757_184
    out = shell("fit", "--vram", "16GB").out
    for part in ("weights", "KV cache", "activations", "CUDA context", "allocator", "needed"):
        assert f"\n{part} " in out


def test_json_is_one_object_on_one_line(shell: Shell) -> None:
    for arguments in (["--vram", "16GB"], [], ["--vram", "6GB"]):
        out = shell("fit", "--json", *arguments).out
        assert out.count("\n") == 1
        assert isinstance(json.loads(out), dict)


def test_json_without_a_card_has_all_sizes(shell: Shell) -> None:
    told = json.loads(shell("fit", "gpt-oss-120b", "--json").out)
    assert told["memory"] is None
    fitting = [card["vram"] // GIB for card in told["cards"] if card["answer"]["fits"]]
    assert fitting == [48, 80]
    assert all(bool(card["answer"]["advice"]) != card["answer"]["fits"] for card in told["cards"])


def test_what_does_not_fit_is_exit_code_1_with_the_numbers_and_a_way_out(shell: Shell) -> None:
    outcome = shell("fit", "--vram", "12GB", "--bpw", "4", "--context", "65536", "--cache", "q8")
    assert (outcome.code, outcome.err) == (1, "")
    assert (
        "does not fit: gpt-oss-20b at 4.0 bpw with 65,536 tokens of q8 cache needs 12.2 GB, "
        "the card has 11.1 GB free for it: choose 2"
    ) in outcome.out
    assert "tokens of cache or fewer, or weights at 3.5 bpw" in outcome.out


def test_the_large_model_on_a_small_card(shell: Shell) -> None:
    outcome = shell("fit", "gpt-oss-120b", "--vram", "16GB")
    assert outcome.code == 1
    assert "use gpt-oss-20b, or the llamacpp engine" in outcome.out


def test_what_is_given_is_kept(shell: Shell) -> None:
    arguments = ["--vram", "24GB", "--bpw", "4.25", "--context", "10000", "--cache", "q6"]
    answer = json.loads(shell("fit", "--json", *arguments).out)["answer"]
    assert (answer["bits"], answer["context"], answer["cache"]) == (4.25, 10_240, "q6")


def test_without_flash_attn_it_takes_more(shell: Shell) -> None:
    arguments = ["--json", "--vram", "16GB", "--bpw", "4", "--context", "16384", "--cache", "q8"]
    with_it = json.loads(shell("fit", *arguments).out)["answer"]
    without = json.loads(shell("fit", *arguments, "--no-flash-attn").out)["answer"]
    assert without["needed"] > with_it["needed"]
    assert (with_it["flash_attn"], without["flash_attn"]) == (True, False)


def test_a_terminal_gets_tables_that_fit_its_width(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_terminal", lambda _: True)
    size = os.terminal_size((30, 24))
    monkeypatch.setattr(command.shutil, "get_terminal_size", lambda: size)
    lines = shell("fit", "--vram", "16GB").out.splitlines()
    breakdown = lines[lines.index("") + 3 :]
    assert max(len(line) for line in breakdown if "tokens of cache" not in line) == 30


# --- which model -----------------------------------------------------------------------------


def test_the_safetensors_form_has_the_same_shape(shell: Shell) -> None:
    assert shell("fit", "gpt-oss-20b-safetensors").out == shell("fit", "gpt-oss-20b").out


def test_a_folder_with_config_alone(shell: Shell, tmp_path: Path) -> None:
    told = json.loads(shell("fit", str(folder(tmp_path / "mine", CONFIG)), "--json").out)
    assert (told["model"], told["parameters"]) == ("mine", 20_914_757_184)


def test_a_folder_by_its_bare_name(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "mine", CONFIG)
    monkeypatch.chdir(tmp_path)
    assert shell("fit", "mine").code == 0


def test_the_source_of_a_model_is_judged_as_quantized(shell: Shell, tmp_path: Path) -> None:
    place = folder(tmp_path / "source", CONFIG)
    found = {
        tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors(GPT_OSS_20B, mxfp4=True)
    }
    write_headers(place / "model.safetensors", found)
    out = shell("fit", str(place), "--vram", "16GB").out
    assert "as it is takes 37.9 GB" in out
    assert "fits: 5.0 bpw" in out


def test_a_quantized_folder_is_judged_by_its_own_tensors(shell: Shell, tmp_path: Path) -> None:
    place = folder(tmp_path / "tiny-exl2", TINY_CONFIG)
    write_headers(place / "model.safetensors", exl2_tensors(TINY, bits=4, group=32))
    told = json.loads(shell("fit", str(place), "--vram", "8GB", "--json").out)
    assert told["answer"]["fits"]
    assert [row["weights"] for row in told["tokens_that_fit"]] == [told["answer"]["weights"]]
    outcome = shell("fit", str(place), "--bpw", "4")
    assert outcome.code == 2
    assert "is quantized already" in outcome.err


def test_an_installed_model(shell: Shell) -> None:
    place = data_dir() / "models" / "mine"
    place.mkdir(parents=True)
    folder(place, CONFIG)
    entry = ManifestFile(path="config.json", sha256="0" * 64, bytes=1, mtime_ns=0, inode=0)
    manifest = Manifest(
        name="mine",
        format="safetensors",
        licence="",
        source="",
        revision="",
        main="",
        files=[entry],
    )
    write_manifest(place, manifest)
    assert json.loads(shell("fit", "mine", "--json").out)["model"] == "mine"


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size",
    [
        *("16 bananas", "bananas", "", "-16GB", "0", "0GB", "0.5GB", "1e9", "nan", "inf"),
        *("16GBGB", "99999GB", "9" * 400, "16,5GB", "١٦GB", "16 GB GB", "0x10", "2TB"),
    ],
)
def test_a_size_that_is_none_is_refused(shell: Shell, size: str) -> None:
    outcome = shell("fit", f"--vram={size}")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--vram" in outcome.err.splitlines()[-1]
    assert len(outcome.err.splitlines()[-1]) < 160


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bpw", "1"], "from 2.3 to 8.0 bits, not 1"),
        (["--bpw", "16"], "from 2.3 to 8.0 bits"),
        (["--bpw", "nan"], "from 2.3 to 8.0 bits"),
        (["--bpw", "four"], "four"),
        (["--context", "0"], "--context"),
        (["--context", "-1"], "--context"),
        (["--context", "200000"], "131,072 tokens at most"),
        (["--cache", "q2"], "q2"),
    ],
)
def test_a_wrong_option_is_refused(shell: Shell, arguments: list[str], text: str) -> None:
    outcome = shell("fit", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert text in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("gpt-oss-20", "did you mean 'gpt-oss-20b'?"),
        ("qwertz", "no model is named 'qwertz'"),
        ("x" * 10_000, "no model is named"),
        ("smollm2-135m", "smollm2-135m is a GGUF"),
        ("./some.gguf", "is a GGUF"),
        ("/nowhere/at/all", "/nowhere/at/all/config.json is missing"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
    ],
)
def test_a_model_that_is_none_is_one_line(shell: Shell, model: str, text: str) -> None:
    outcome = shell("fit", model)
    assert (outcome.code, outcome.out) == (1, "")
    assert text in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (CONFIG | {"architectures": ["LlamaForCausalLM"]}, "is of LlamaForCausalLM"),
        ({key: value for key, value in CONFIG.items() if key != "vocab_size"}, "lacks vocab_size"),
        (CONFIG | {"num_hidden_layers": "many"}, "num_hidden_layers is 'many'"),
        ([], "is no JSON object"),
    ],
)
def test_a_folder_of_another_kind_is_one_line(
    shell: Shell, tmp_path: Path, config: Any, text: str
) -> None:
    outcome = shell("fit", str(folder(tmp_path / "other", config)))
    assert (outcome.code, outcome.out) == (1, "")
    assert text in outcome.err
    assert "config.json" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_truncated_model_is_one_line(shell: Shell, tmp_path: Path) -> None:
    place = folder(tmp_path / "cut", TINY_CONFIG)
    file = place / "model.safetensors"
    write_headers(file, exl2_tensors(TINY, bits=4, group=32))
    os.truncate(file, file.stat().st_size // 2)
    outcome = shell("fit", str(place))
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "truncated" in outcome.err


# --- sizes -----------------------------------------------------------------------------------


def _parsed(text: str) -> int | None:
    context = click.Context(command.fit)
    return command._size(context, command.fit.params[1], text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GB", 16 * GIB),
        ("16 GiB", 16 * GIB),
        ("16", 16 * GIB),
        ("16g", 16 * GIB),
        ("16376MB", 16_376 * MIB),
        ("7.5gb", 15 * GIB // 2),
        ("1TB", 1024 * GIB),
        (" 8GB ", 8 * GIB),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert _parsed(text) == size


@given(megabytes=st.integers(1024, 1024 * 1024), space=st.sampled_from(["", " "]))
def test_every_size_of_a_card_is_understood(megabytes: int, space: str) -> None:
    assert _parsed(f"{megabytes}{space}MB") == megabytes * MIB
    assert _parsed(f"{megabytes}{space}mib") == megabytes * MIB


@given(text=st.text(max_size=30))
def test_any_other_text_is_a_clean_refusal(text: str) -> None:
    try:
        size = _parsed(text)
    except click.BadParameter:
        return
    assert size is not None
    assert GIB <= size <= 1024 * GIB
