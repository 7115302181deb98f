"""gpt-oss's needs put into exllamav2's converter, in the process that converts.

`adapt` replaces names in the library's conversion modules; the rest of its passes run as they are.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from typing import Any

from exllamav2.conversion import compile as library_compile
from exllamav2.conversion import measure as library_measure
from exllamav2.conversion import quantize as library_quantize
from exllamav2.conversion.adaptivegptq import AdaptiveGPTQ

from ingled.engines.exllamav2.attention import GptOssAttention

from . import experts, head

_original_get_f_module = library_compile.get_f_module


def adapt(count: Callable[[], None]) -> None:
    """Replace what gpt-oss needs replaced. `count` is called for every quantized matrix."""
    # On import the library makes Ctrl-C ask questions on a terminal that is not its own.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # It collects garbage after every matrix; what is there now would be searched each time.
    gc.freeze()

    class Counted(AdaptiveGPTQ):
        def quantize(self, *args: Any, **kwargs: Any) -> None:
            super().quantize(*args, **kwargs)
            count()

    library_measure.AdaptiveGPTQ = library_quantize.AdaptiveGPTQ = Counted
    library_measure.measure_moe_mlp = experts.measure
    library_quantize.quant_moe_mlp = experts.quantize
    library_quantize.quant_lm_head = head.quantize
    library_compile.get_f_module = _with_extra_tensors


def _with_extra_tensors(job: dict[str, Any], module: Any) -> dict[str, Any] | None:
    """The library asks for a layer's first norm; the tensors it knows nothing of go with it."""
    found: dict[str, Any] | None = _original_get_f_module(job, module)
    if found is not None:
        for layer in module.model.modules:
            if isinstance(layer, GptOssAttention) and layer.pre_layernorm is module:
                found |= layer.extra_tensors()
        module.unload()
    return found
