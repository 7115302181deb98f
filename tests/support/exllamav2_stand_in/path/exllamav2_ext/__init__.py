"""A CPU stand-in for the compiled extension of exllamav2 0.3.2; for tests only.

Same functions, same arguments, plain torch. What is not here raises NotImplementedError by its
name; what would corrupt memory in the real one raises.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .attention import (
    free_q_attn,
    make_q_attn,
    make_q_moe_mlp,
    q_attn_forward_1,
    q_attn_forward_2,
)
from .cache import fp16_to_q_kv, q_to_fp16_kv
from .elements import (
    fast_copy_cpu,
    fast_fadd_cpu,
    fast_fill_cpu_ones_bool,
    rms_norm,
    rope_,
    softcap_,
    stloader_read,
)
from .matrices import (
    free_q_matrix,
    gemm_half_q_half,
    make_group_map,
    make_q_matrix,
    pack_columns,
    pack_rows_4,
    reconstruct,
)
from .mlp import free_q_mlp, make_q_mlp, q_mlp_forward_
from .quantizer import quantize_err, quantize_range, quantize_range_inplace, sim_anneal
from .registry import alive, calls
from .sampling import (
    apply_rep_penalty,
    cache_rotate,
    count_match,
    logit_filter_exclusive,
    partial_strings_match,
    sample_basic,
)

__all__ = [
    "alive",
    "apply_rep_penalty",
    "cache_rotate",
    "calls",
    "count_match",
    "fast_copy_cpu",
    "fast_fadd_cpu",
    "fast_fill_cpu_ones_bool",
    "fp16_to_q_kv",
    "free_q_attn",
    "free_q_matrix",
    "free_q_mlp",
    "gemm_half_q_half",
    "logit_filter_exclusive",
    "make_group_map",
    "make_q_attn",
    "make_q_matrix",
    "make_q_mlp",
    "make_q_moe_mlp",
    "pack_columns",
    "pack_rows_4",
    "partial_strings_match",
    "q_attn_forward_1",
    "q_attn_forward_2",
    "q_mlp_forward_",
    "q_to_fp16_kv",
    "quantize_err",
    "quantize_range",
    "quantize_range_inplace",
    "reconstruct",
    "rms_norm",
    "rope_",
    "sample_basic",
    "sim_anneal",
    "softcap_",
    "stloader_read",
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"exllamav2_ext stand-in: {name}")

    return missing
