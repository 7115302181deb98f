"""The check of a GGUF header: real shapes pass, damage gets one plain line, nothing crashes it."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingle.errors import IngleError, ModelInvalid, ModelNotFound
from ingled.models.gguf_file import _TENSOR_BLOCKS, check_gguf, check_gguf_model
from support.gguf_builder import (
    ARRAY,
    F32,
    Q4_0,
    STRING,
    UINT32,
    build_gguf,
    entry,
    strings,
    tensor,
)


def written(folder: Path, data: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(ModelInvalid) as caught:
        check_gguf(path)
    return str(caught.value)


def test_a_whole_file_passes(tmp_path: Path):
    header = check_gguf(written(tmp_path, build_gguf(architecture="gpt-oss")))
    assert (header.version, header.tensors, header.architecture, header.parts) == (
        3,
        1,
        "gpt-oss",
        1,
    )


def test_a_file_of_the_reference_writer_passes(tmp_path: Path):
    path = tmp_path / "written.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_token_list(["a", "b", "ü"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_tensor("output.weight", np.ones((4, 64), dtype=np.float16))
    writer.add_tensor("output_norm.weight", np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert check_gguf(path).tensors == 2
    # The reference pads the last tensor; everything it needs ends before that.
    path.write_bytes(path.read_bytes()[:-65])
    assert "truncated" in complaint(path)


def test_the_table_of_tensor_types_is_the_reference_one():
    reference = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert reference == _TENSOR_BLOCKS


def test_version_2_passes(tmp_path: Path):
    assert check_gguf(written(tmp_path, build_gguf(version=2))).version == 2


def test_sliding_windows_are_told(tmp_path: Path):
    assert check_gguf(written(tmp_path, build_gguf())).sliding_window == 0
    path = tmp_path / "windows.gguf"
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_sliding_window(128)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert check_gguf(path).sliding_window == 128


def test_a_missing_file_says_so(tmp_path: Path):
    with pytest.raises(ModelNotFound, match="no such file"):
        check_gguf(tmp_path / "nowhere.gguf")


def test_a_folder_is_no_file(tmp_path: Path):
    assert "can't be read" in complaint(tmp_path)


def test_an_empty_file(tmp_path: Path):
    assert "it is empty" in complaint(written(tmp_path, b""))


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04 a zip", b"<html>not found</html>", b"GG", b"\0" * 99]
)
def test_something_else(tmp_path: Path, data: bytes):
    assert "does not start with 'GGUF'" in complaint(written(tmp_path, data))


def test_an_unknown_version(tmp_path: Path):
    assert "format version 9" in complaint(written(tmp_path, build_gguf(version=9)))


def test_big_endian(tmp_path: Path):
    data = b"GGUF" + struct.pack(">I", 3) + bytes(64)
    assert "big-endian" in complaint(written(tmp_path, data))


@pytest.mark.parametrize("missing", [1, 64, 127, 128, 150, 180])
def test_a_truncated_file_tells_both_sizes(tmp_path: Path, missing: int):
    whole = build_gguf()
    text = complaint(written(tmp_path, whole[:-missing]))
    assert "is truncated" in text
    assert f"{len(whole) - missing} bytes" in text
    assert "download it again" in text


def test_a_file_cut_inside_its_metadata_is_truncated(tmp_path: Path):
    vocabulary = entry("tokenizer.ggml.tokens", ARRAY, strings([f"t{i}" for i in range(1000)]))
    whole = build_gguf(metadata=[vocabulary])
    assert "is truncated" in complaint(written(tmp_path, whole[:3000]))


def test_block_sizes_count(tmp_path: Path):
    infos = [tensor("a", [64], Q4_0, 0), tensor("b", [32], Q4_0, 64)]
    check_gguf(written(tmp_path, build_gguf(tensors=infos, data=bytes(64 + 18))))
    short = written(tmp_path, build_gguf(tensors=infos, data=bytes(64 + 17)))
    assert "is truncated" in complaint(short)


def test_a_row_that_does_not_fill_its_blocks(tmp_path: Path):
    path = written(tmp_path, build_gguf(tensors=[tensor("a", [33], Q4_0, 0)]))
    assert "33 columns" in complaint(path)


def test_alignment_moves_the_data(tmp_path: Path):
    whole = build_gguf(alignment=4096)
    check_gguf(written(tmp_path, whole))
    assert "is truncated" in complaint(written(tmp_path, whole[:-1]))


@pytest.mark.parametrize("alignment", [0, 3, 48])
def test_an_impossible_alignment(tmp_path: Path, alignment: int):
    wrong = entry("general.alignment", UINT32, struct.pack("<I", alignment))
    assert "an alignment of" in complaint(written(tmp_path, build_gguf(metadata=[wrong])))


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ((1 << 60, 1), "tensors"),
        ((1, 1 << 60), "metadata entries"),
        ((1000, 0), "truncated"),
        ((0, 1000), "truncated"),
    ],
)
def test_absurd_counts_cost_nothing(tmp_path: Path, counts: tuple[int, int], says: str):
    data = b"GGUF" + struct.pack("<IQQ", 3, *counts) + bytes(8)
    assert says in complaint(written(tmp_path, data))


@pytest.mark.parametrize(
    "value",
    [
        struct.pack("<IQ", STRING, 1 << 62),
        struct.pack("<IQ", 0, 1 << 62),
        struct.pack("<IQ", ARRAY, 1 << 62),
        struct.pack("<IQ", 99, 1),
    ],
)
def test_absurd_arrays_cost_nothing(tmp_path: Path, value: bytes):
    complaint(written(tmp_path, build_gguf(metadata=[entry("a", ARRAY, value)])))


def test_arrays_nested_without_end(tmp_path: Path):
    nested = struct.pack("<IQ", ARRAY, 1) * 50
    assert "type 9" in complaint(
        written(tmp_path, build_gguf(metadata=[entry("a", ARRAY, nested)]))
    )


def test_errors_are_one_line(tmp_path: Path):
    path = written(tmp_path, build_gguf(tensors=[tensor("a\nb\tc", [33], Q4_0, 0)]))
    assert "\n" not in complaint(path)


# --- whole models --------------------------------------------------------------------------


def split_model(folder: Path, parts: int = 3) -> list[Path]:
    return [
        written(
            folder,
            build_gguf(architecture="llama" if number == 1 else "", parts=parts),
            f"big-{number:05}-of-{parts:05}.gguf",
        )
        for number in range(1, parts + 1)
    ]


def test_a_split_model_is_all_its_parts(tmp_path: Path):
    files = split_model(tmp_path)
    assert check_gguf_model(files[0]) == files


def test_a_later_part_points_to_the_first(tmp_path: Path):
    files = split_model(tmp_path)
    with pytest.raises(ModelInvalid, match=r"give the first one, big-00001-of-00003\.gguf"):
        check_gguf_model(files[1])


def test_a_missing_part_is_named(tmp_path: Path):
    files = split_model(tmp_path)
    files[2].unlink()
    with pytest.raises(ModelNotFound, match=r"big-00003-of-00003\.gguf"):
        check_gguf_model(files[0])


def test_a_truncated_part_is_named(tmp_path: Path):
    files = split_model(tmp_path)
    files[1].write_bytes(files[1].read_bytes()[:-1])
    with pytest.raises(ModelInvalid, match=r"big-00002-of-00003\.gguf is truncated"):
        check_gguf_model(files[0])


def test_a_foreign_part_is_named(tmp_path: Path):
    files = split_model(tmp_path)
    files[1].write_bytes(build_gguf())
    with pytest.raises(ModelInvalid, match=r"big-00002-of-00003\.gguf is no part of"):
        check_gguf_model(files[0])


def test_a_renamed_split_model(tmp_path: Path):
    path = split_model(tmp_path)[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(ModelInvalid, match="first of 3 parts"):
        check_gguf_model(path)


def test_a_file_without_architecture_is_no_model(tmp_path: Path):
    path = written(tmp_path, build_gguf(architecture=""))
    with pytest.raises(ModelInvalid, match="names no model architecture"):
        check_gguf_model(path)


# --- nothing crashes it --------------------------------------------------------------------

ANY_FOLDER = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def verdict(path: Path) -> str:
    """Anything but a line for a person that names the file is a crash."""
    try:
        check_gguf_model(path)
    except IngleError as error:
        return "refused" if str(path) in str(error) else f"unclear: {error}"
    return "fine"


@ANY_FOLDER
@given(tail=st.binary(max_size=200), magic=st.sampled_from([b"", b"GGUF", b"GGUF\x03\0\0\0"]))
def test_random_bytes_are_refused_politely(tmp_path: Path, tail: bytes, magic: bytes):
    assert verdict(written(tmp_path, magic + tail)) in ("fine", "refused")


@ANY_FOLDER
@given(data=st.data())
def test_a_changed_byte_never_crashes_it(tmp_path: Path, data: st.DataObject):
    vocabulary = entry("tokenizer.ggml.tokens", ARRAY, strings(["a", "bb", "ccc"]))
    whole = bytearray(build_gguf(metadata=[vocabulary], parts=2))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert verdict(written(tmp_path, bytes(whole))) in ("fine", "refused")


@ANY_FOLDER
@given(length=st.integers(0, 10_000))
def test_every_truncation_is_noticed(tmp_path: Path, length: int):
    vocabulary = entry("tokenizer.ggml.tokens", ARRAY, strings(["a", "bb", "ccc"]))
    whole = build_gguf(metadata=[vocabulary], tensors=[tensor("t", [8], F32, 0)], data=bytes(32))
    with pytest.raises(ModelInvalid):
        check_gguf(written(tmp_path, whole[: min(length, len(whole) - 1)]))
