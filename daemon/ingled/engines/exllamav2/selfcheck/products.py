"""EXL2 matrices of gpt-oss's widths: dequantized, and multiplied, by the library's kernels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from exllamav2 import ext
from exllamav2.ext import exllamav2_ext as extension

from ingled.finding import Finding, Grade

from .exl2 import Layout, Matrix, loadable, random_matrix
from .measure import PRODUCT_MAX, PRODUCT_RMS, relative
from .setup import Setup

#: What the converter makes of a layer, and the lossless form of MXFP4's experts.
LAYOUTS = (
    Layout(6, 5, 128),
    Layout(5, 4, 32),
    Layout(4, 4, 128),
    Layout(8, 6, 128),
    Layout(4, 3, 64),
    Layout(6, 6, 32),
)
#: Elements differ by less than this when a product of two halves is rounded another way.
_ROUNDING = 2e-3

REMEDY = "report it with the output of `ingle doctor --deep --json`, and use a GGUF model till then"


def check(setup: Setup) -> Iterator[Finding]:
    """One finding a width and layout."""
    generator = setup.generator()
    sizes = setup.sizes
    for rows, columns in ((sizes.hidden, sizes.query_width), (sizes.query_width, sizes.hidden)):
        for layout in LAYOUTS:
            matrix = random_matrix(setup, rows, columns, layout, generator, gain=1.0)
            yield _finding(setup, matrix, layout, generator)


def _finding(setup: Setup, matrix: Matrix, layout: Layout, generator: torch.Generator) -> Finding:
    rows, columns = matrix.weight.shape
    what = f"{rows} × {columns}, {layout}"
    bias = setup.normal(generator, columns).half()
    # Room to dequantize the whole: products of many rows are then cuBLAS's.
    room = torch.empty((rows * columns,), dtype=torch.half, device=setup.device)
    handle = ext.make_q_matrix(
        loadable(matrix.tensors) | {"bias": bias}, room, max_dq_rows=-(-rows // 128) * 128
    )
    try:
        dequantized = torch.full_like(matrix.weight, float("nan"))
        extension.reconstruct(handle, dequantized)
        rms, worst = _products(setup, handle, matrix.weight, bias, generator)
    finally:
        torch.cuda.synchronize()
        extension.free_q_matrix(handle)
    different = int((dequantized != matrix.weight).sum())
    _, furthest = relative(dequantized, matrix.weight)
    figures = {
        "dequantized_different": different,
        "product_error_rms": rms,
        "product_error_max": worst,
    }
    if different and not furthest <= _ROUNDING:
        return Finding(
            check="exl2",
            grade="fail",
            text=f"{what}: {different:,} of {matrix.weight.numel():,} values are dequantized wrong",
            remedy=REMEDY,
            figures=figures,
        )
    if not (rms <= PRODUCT_RMS and worst <= PRODUCT_MAX):
        return Finding(
            check="exl2",
            grade="fail",
            text=f"{what}: products are off by {rms:.2%} (largest {worst:.2%} of a usual value)",
            remedy=REMEDY,
            figures=figures,
        )
    exact = "rounded another way" if different else "exact"
    grade: Grade = "warn" if different else "ok"
    text = f"{what}: dequantized {exact}, products within {rms:.2%}"
    remedy = (
        "nothing to do: it costs no quality; tell us with `ingle doctor --deep --json`"
        if different
        else ""
    )
    return Finding(check="exl2", grade=grade, text=text, remedy=remedy, figures=figures)


def _products(
    setup: Setup,
    handle: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    generator: torch.Generator,
) -> tuple[float, float]:
    """The largest errors, over all numbers of rows, with and without cuBLAS."""
    errors = []
    for count in setup.sizes.rows:
        states = setup.normal(generator, count, weight.shape[0]).half()
        wanted = states.float() @ weight.float() + bias.float()
        for force_kernel in (False, True):
            output = torch.full_like(wanted, float("nan"), dtype=torch.half)
            extension.gemm_half_q_half(states, handle, output, force_kernel)
            errors.append(relative(output, wanted))
    return max(rms for rms, _ in errors), max(worst for _, worst in errors)
