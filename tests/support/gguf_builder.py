"""Small GGUF files for tests, built from the format's specification, without any engine."""

from __future__ import annotations

import struct

STRING, ARRAY, UINT16, UINT32 = 8, 9, 2, 4
F32, Q4_0 = 0, 2


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def strings(values: list[str]) -> bytes:
    return struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))


def tensor(name: str, shape: list[int], kind: int, offset: int) -> bytes:
    return (
        text(name)
        + struct.pack("<I", len(shape))
        + b"".join(struct.pack("<Q", length) for length in shape)
        + struct.pack("<IQ", kind, offset)
    )


def build_gguf(
    *,
    architecture: str = "llama",
    parts: int = 1,
    metadata: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: bytes | None = None,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """A whole file. Without `tensors`: one 4 × 8 F32 tensor and its 128 bytes."""
    entries = list(metadata or [])
    if architecture:
        entries.insert(0, entry("general.architecture", STRING, text(architecture)))
    if parts > 1:
        entries.append(entry("split.count", UINT16, struct.pack("<H", parts)))
    if alignment != 32:
        entries.append(entry("general.alignment", UINT32, struct.pack("<I", alignment)))
    infos = tensors if tensors is not None else [tensor("token_embd.weight", [4, 8], F32, 0)]
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos), len(entries))
    head += b"".join(entries) + b"".join(infos)
    body = data if data is not None else bytes(range(128))
    return head + bytes(-len(head) % alignment) + body
