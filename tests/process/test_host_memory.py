"""The host's memory while gpt-oss-20b is loaded or quantized: at most 6 GiB.

The tensors have the real shapes and no values: sparse files of zeros. A child process works on the
pretended card of `support.separate_card`, which knows at every moment what lies on the card; what
else is resident is the host's, and its peak is told. What one more layer, expert, or token of
calibration adds is measured, and added for the whole model. What is left out of the real sizes,
and why that changes nothing, stands with each test.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingled.models.model_shape import GPT_OSS_20B, ModelShape
from support import separate_card, sparse_gpt_oss

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GIB = 2**30
#: What CUDA's own libraries keep resident can't be seen here.
CUDA = GIB
LIMIT = 6 * GIB - CUDA
LAYERS, EXPERTS = GPT_OSS_20B.layers, GPT_OSS_20B.experts


def part(layers: int, experts: int, *, vocabulary: int = GPT_OSS_20B.vocabulary) -> ModelShape:
    """gpt-oss-20b with fewer layers and experts; each is as large as it is."""
    return msgspec.structs.replace(
        GPT_OSS_20B,
        layers=layers,
        experts=experts,
        experts_per_token=min(experts, 4),
        vocabulary=vocabulary,
        layer_types=GPT_OSS_20B.layer_types[:layers],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """pytest keeps the folders of the last runs; these are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def measured(script: str, folder: Path, *arguments: object) -> Any:
    """What a script tells; in it, `host_now()` and `host_peak()` since the last call of that."""
    return separate_card.run(
        MEASURES + script,
        *map(str, arguments),
        report=folder / "peaks.json",
        timeout=580,
    )


MEASURES = """
import ctypes, gc
import exllamav2_ext

def host_peak():
    memory.look()
    peak, memory.host_peak = memory.host_peak, 0
    return peak

def host_now():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    memory.host_peak = 0
    return host_peak()
"""

# --- loading --------------------------------------------------------------------------------------

#: The extension's objects hold what they were given and nothing else.
LOAD = """
exllamav2_ext.make_group_map = lambda groups, rows: torch.zeros(2 * rows, dtype=torch.short)
exllamav2_ext.make_q_matrix = exllamav2_ext.make_q_attn = lambda *_: 1
exllamav2_ext.free_q_matrix = exllamav2_ext.free_q_attn = lambda _: None
from ingled.engines.exllamav2 import loading

folder = Path(sys.argv[1])
fit = loading.choose_fit(folder, loading.read_options({}, 4096, 4, ()), paged=True)
peaks, after = [], []

def module_loaded(_share):
    peaks.append(host_peak())
    after.append(host_now())

resident = loading.load(folder, fit, module_loaded)
module_loaded(1.0)
print(json.dumps({"peaks": peaks, "after": after}))
"""


@pytest.mark.parametrize("form", ["MXFP4", "EXL2"])
def test_loading(folder: Path, form: sparse_gpt_oss.Form) -> None:
    # Experts come one after another, each the same way: two in each of two layers show all.
    model = sparse_gpt_oss.write(folder / "m", part(layers=2, experts=2), form)
    told = measured(LOAD, folder, model)
    # Before each module: embedding, (attention, mixture) twice, norm, head; and at the end.
    assert len(told["after"]) >= 8
    before, embedding, _, first, _, second = told["after"][:6]
    vectors = 2 * GPT_OSS_20B.vocabulary * GPT_OSS_20B.hidden
    # The embedding stays on the host by design; of a layer nothing does.
    assert embedding - before == pytest.approx(vectors, abs=2**26)
    layer = max(second - first, 0)
    assert layer < 2**23, "a layer leaves something on the host"
    peak = max(told["peaks"]) + (LAYERS - 2) * (layer + layer // 2 * (EXPERTS - 2))
    print(f"{form}: {peak / GIB:.2f} GiB")
    assert peak <= LIMIT


# --- without calibration --------------------------------------------------------------------------

#: Packing takes the stand-in's kernels long; what they leave is zeros either way.
TRANSCODE = """
exllamav2_ext.pack_columns = exllamav2_ext.pack_rows_4 = lambda *_: None
from exllamav2 import ExLlamaV2Config
from ingled.engines.exllamav2.quantize import transcode

config = ExLlamaV2Config(sys.argv[1])
target = Path(sys.argv[2])
target.mkdir()
host_peak()
transcode.run(config, target, lambda _: None)
print(json.dumps({"peak": host_peak()}))
"""


def test_transcoding_without_loss(folder: Path) -> None:
    peaks = []
    for experts in (1, 3):
        # The layer alone, without what is as large as the vocabulary.
        source = sparse_gpt_oss.write(
            folder / f"{experts}", part(layers=1, experts=experts, vocabulary=1024), "MXFP4"
        )
        told = measured(TRANSCODE, folder, source, folder / f"to-{experts}")
        peaks.append(told["peak"])
    expert = (peaks[1] - peaks[0]) / 2
    # A layer is written at once: the experts' packed matrices are held until then.
    packed = 3 * GPT_OSS_20B.hidden * GPT_OSS_20B.intermediate * 6.13 / 8
    assert expert < 1.5 * packed
    layer = peaks[0] + (EXPERTS - 1) * expert
    # Embedding and output layer, as they are in the source.
    source = sparse_gpt_oss.write(folder / "whole", part(layers=1, experts=1), "MXFP4")
    whole = measured(TRANSCODE, folder, source, folder / "to")["peak"]
    print(f"a layer {layer / GIB:.2f} GiB, embedding and output layer {whole / GIB:.2f} GiB")
    assert max(layer, whole) <= LIMIT


# --- with calibration -----------------------------------------------------------------------------

#: GPTQ's loop over rows is the stand-in's kernel, and takes it minutes a matrix. Here a matrix is
#: rounded at once, into the same tensors. The weights are zeros: for the measuring pass, which
#: divides by what a layer says, they are made random.
MIXTURE = """
from card_tensor import kernel
from exllamav2 import ExLlamaV2, ExLlamaV2Config
from exllamav2.conversion import quantize as library_quantize
from exllamav2.conversion.adaptivegptq import AdaptiveGPTQ
from ingled.engines.exllamav2.quantize import experts

def quantize_range(quantized, scale, whole, zero, highest, inverse, weights, error, begin, end):
    values = weights[begin:end]
    rounded = torch.round(values / scale).add_(zero).clamp_(0.0, highest)
    if not whole.is_meta:
        whole[begin:end] = rounded.short()
    quantized[begin:end] = (rounded.half() - zero) * scale.half()

exllamav2_ext.quantize_err = kernel(lambda weights, output, *_: output.zero_())
exllamav2_ext.quantize_range = kernel(quantize_range)

def rounded_at_once(self, **_):
    # As much memory as `AdaptiveGPTQ.quantize` takes, where it takes it.
    weights = self.weights.to("cuda:0")
    inverse, error = self.hessian_inv.to("cuda:0"), weights.clone()
    self.quant = (weights * 8).round_().div_(8)
    self.invperm = torch.argsort(self.perm)

@torch.inference_mode()
def main(folder, work, count):
    model = ExLlamaV2(ExLlamaV2Config(folder))
    model.load(lazy=True)
    module = model.modules[2]
    module.load()
    names = [(part, n) for n in range(count) for part in experts.PARTS]
    module.post_attention_layernorm.weight.data.fill_(1.0)
    for part, n in names:
        weight = getattr(module, part)[n].linear.weight
        weight.copy_(torch.randn(weight.shape) / 8)
    states = [torch.randn(1, 16, 2880) for _ in range(2)]

    def calibrated():
        quantizers = {f"{part}.{n}": AdaptiveGPTQ(getattr(module, part)[n].linear)
                      for part, n in names}
        targets = []
        for one in states:
            found = module.forward(one.to("cuda:0"), None, None, intermediates=True)
            quantizers["w1.0"].add_batch(found["post_norm"])
            for n in range(count):
                quantizers[f"w2.{n}"].add_batch(found[f"pre_down.{n}"])
            targets.append(found["hidden_states"].to("cpu"))
        return targets, quantizers

    host_peak()
    whole, AdaptiveGPTQ.quantize = AdaptiveGPTQ.quantize, rounded_at_once
    targets, quantizers = calibrated()
    found = experts.measure(module, states, targets, quantizers, None, None)
    del targets, quantizers
    measuring = host_peak()
    AdaptiveGPTQ.quantize = whole
    for part, n in names:
        getattr(module, part)[n].linear.weight.zero_()
    _, quantizers = calibrated()
    (work / "out_tensor").mkdir(parents=True)
    strategy = {part: found[-1][part] for part in experts.PARTS}
    job = {"out_dir": str(work)}
    experts.quantize(job, module, None, None, quantizers, None, strategy)
    print(json.dumps({"measuring": measuring, "quantizing": host_peak()}))

main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
"""


def test_a_mixture_of_experts(folder: Path) -> None:
    told = []
    for experts in (1, 2):
        # The vocabulary has no part in it.
        source = sparse_gpt_oss.write(
            folder / f"{experts}", part(layers=1, experts=experts, vocabulary=1024), "MXFP4"
        )
        told.append(measured(MIXTURE, folder, source, folder / f"work-{experts}", experts))
    for stage in ("measuring", "quantizing"):
        one, two = (each[stage] for each in told)
        # Every expert is freed before the next.
        peak = one + (EXPERTS - 1) * max(two - one, 0)
        print(f"{stage}: {peak / GIB:.2f} GiB, {(two - one) / 2**20:.0f} MiB for one more expert")
        assert peak <= LIMIT
