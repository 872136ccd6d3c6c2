"""CPU inference of whole transformers: ours in integers against the dense model in what users would pick.

    python benchmarks/infer_whole.py [--json] [--repeats 7] [--case NAME ...] [--threads 1 2] [--no-baselines]

Ours is the frozen program with weightless blocks (and, beside it, with the MLP in integers) in Lutra's runtime, or one
block of I-ViT-T's width alone; the others run the same model with its MLP: PyTorch in float32 and bfloat16, ONNX
Runtime in float32, with int8 weights (dynamic) and int8 throughout (QDQ), OpenVINO in its own choice of floating point
and int8 (the QDQ file). Weights are random. One thread: CPU time; two threads: wall time. Medians of alternating runs.
onnxruntime comes with the extra `onnx`; openvino is no dependency of Lutra (pip install openvino); what is missing is
left out.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from harness import alternate, machine
from infer_block import dense_mlp, random_block
from torch import nn
from whole_baselines import Call, DecodeStep, baselines

from lutra.freeze.block import quantise_blocks
from lutra.freeze.transformer import freeze_transformer
from lutra.freeze.whole import rows_of_pixels
from lutra.frozen.graph import Graph
from lutra.models.gpt import GPT
from lutra.models.integer import IntegerTransformer
from lutra.models.vit import VisionTransformer
from lutra.nn.calibrate import calibrate_
from lutra.recipes.language import BlockConfig, Feedforward, ModelConfig
from lutra.recipes.vision import VisionModelConfig
from lutra.runtime.engine import BlockRuntime
from lutra.runtime.library import INSTRUCTION_SETS
from lutra.runtime.whole.engine import WholeRuntime

VOCABULARY, CLASSES = 65, 10
BLOCK_WIDTH = 192
GPT_MINI = {"layers": 4, "heads": 4, "width": 128, "context": 64}
GPT_BABY = {"layers": 6, "heads": 6, "width": 384, "context": 256}


@dataclass(frozen=True)
class Case:
    """A model, and what one call computes."""

    model: Literal["ivit-t", "gpt-mini", "gpt-baby", "block"]
    work: Literal["images", "prefill", "decode", "tokens"]
    batch: int = 1

    @property
    def name(self) -> str:
        return f"{self.model} {self.work} {self.batch}"


CASES = (
    Case("ivit-t", "images", 1),
    Case("ivit-t", "images", 8),
    Case("gpt-mini", "prefill", 1),
    Case("gpt-mini", "prefill", 8),
    Case("gpt-mini", "decode", 1),
    Case("gpt-baby", "prefill", 1),
    Case("gpt-baby", "decode", 1),
    *(Case("block", "tokens", count) for count in (1, 197, 12_608)),
)


def dense_or_weightless(case: Case, ffn: Feedforward) -> nn.Module:
    """The model with random weights."""
    if case.model == "block":
        return dense_mlp(BLOCK_WIDTH, torch.float32).eval()
    if case.model == "ivit-t":
        return VisionTransformer(VisionModelConfig(ffn=ffn), CLASSES, BlockConfig(), seed=0).eval()
    sizes: dict[str, Any] = GPT_MINI if case.model == "gpt-mini" else GPT_BABY
    return GPT(ModelConfig(ffn=ffn, bias=False, **sizes), VOCABULARY, BlockConfig(), seed=0).eval()


def frozen(case: Case, ffn: Feedforward) -> Graph:
    """The model whole in integers, calibrated on random inputs."""
    model = dense_or_weightless(case, ffn)
    generator = torch.Generator().manual_seed(0)
    if isinstance(model, VisionTransformer):
        side = model.config.image
        inputs = torch.randint(256, (2, 3, side, side), generator=generator).to(torch.uint8)
        real = model.normalised(inputs)
    else:
        assert isinstance(model, GPT)
        inputs = real = torch.randint(VOCABULARY, (8, model.context), generator=generator)
    if ffn == "weightless":
        calibrate_(model, real)
        quantise_blocks(model)
    whole = IntegerTransformer(model)
    whole.calibrate_([inputs])
    return freeze_transformer(whole)


def our_call(case: Case, program: Graph, threads: int, isa: str) -> Call:
    """One call of our runtime; of "decode", one token at the middle of the context."""
    runtime, rng = WholeRuntime(program, threads), np.random.default_rng(0)
    runtime._isa = INSTRUCTION_SETS.index(isa)
    if case.work == "images":
        pixels = torch.from_numpy(rng.integers(0, 256, (case.batch, 3, 224, 224), dtype=np.uint8))
        return lambda: runtime.run(rows_of_pixels(pixels))
    context = program.context
    assert context is not None
    tokens = rng.integers(0, VOCABULARY, (case.batch, context, 1))
    if case.work == "prefill":
        return lambda: runtime.run(tokens)
    session = runtime.session()
    session(tokens[:, : context // 2])

    def decode() -> Any:
        session._past = context // 2  # the same token again: every call has as many keys
        return session(tokens[:, :1])

    return decode


def our_calls(case: Case, threads: int) -> tuple[dict[str, Call], str]:
    """Calls of the whole model by name, with each instruction set, and the best of them."""
    program, dense = frozen(case, "weightless"), frozen(case, "mlp")
    best = WholeRuntime(program).isa
    calls = {"ours": our_call(case, program, threads, best), "ours_mlp": our_call(case, dense, threads, best)}
    for isa in INSTRUCTION_SETS[: INSTRUCTION_SETS.index(best)]:
        calls[f"ours_{isa}"] = our_call(case, program, threads, isa)
    return calls, best


def our_block(case: Case, threads: int) -> tuple[dict[str, Call], str]:
    """The call of a block alone, and its instruction set."""
    rng = np.random.default_rng(0)
    block = BlockRuntime(random_block(BLOCK_WIDTH, rng), threads)
    x = rng.integers(-128, 128, (case.batch, BLOCK_WIDTH), dtype=np.int8)
    return {"ours": lambda: block(x)}, block.isa


def their_inputs(case: Case, model: nn.Module) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """What the other engines are given, and the module that takes it."""
    generator = torch.Generator().manual_seed(0)
    if case.work == "tokens":
        return model, (torch.randn(case.batch, BLOCK_WIDTH, generator=generator),)
    if case.work == "images":
        return model, (torch.randn(case.batch, 3, 224, 224, generator=generator),)
    assert isinstance(model, GPT)
    config = model.config
    if case.work == "prefill":
        return model, (torch.randint(VOCABULARY, (case.batch, config.context), generator=generator),)
    past = config.context // 2
    shape = (case.batch, config.heads, past, config.width // config.heads)
    kept = [torch.randn(shape, generator=generator) for _ in range(2 * config.layers)]
    return DecodeStep(model), (torch.zeros(case.batch, 1, dtype=torch.int64), torch.tensor([past]), *kept)


def measure(case: Case, threads: int, repeats: int, with_baselines: bool) -> dict[str, Any]:
    """One row: median milliseconds of every engine."""
    torch.set_num_threads(threads)
    calls, best = our_block(case, threads) if case.model == "block" else our_calls(case, threads)
    if with_baselines:
        calls |= baselines(*their_inputs(case, dense_or_weightless(case, "mlp")), threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    times = alternate(calls, repeats, clock)
    return {"case": case.name, "threads": threads, "isa": best} | {f"{name}_ms": ms for name, ms in times.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds of ours, and how many times longer the others take."""
    lines = []
    for row in rows:
        lines.append(f"{row['case']}, {row['threads']} thread(s): ours {row['ours_ms']:.4f} ms ({row['isa']})")
        others = {key[:-3]: ms for key, ms in row.items() if key.endswith("_ms") and key != "ours_ms"}
        lines += [f"    {name:<20} {ms:>10.4f} ms {ms / row['ours_ms']:>7.2f}x" for name, ms in others.items()]
        int8 = [
            ms for name, ms in others.items() if name in ("onnxruntime_dynamic", "onnxruntime_qdq", "openvino_int8")
        ]
        if int8:
            lines.append(f"    best int8 of theirs: {min(int8) / row['ours_ms']:.2f}x")
    return "\n".join(lines)


def main() -> None:
    """Measure the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=[case.name for case in CASES], nargs="+", help="default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-baselines", action="store_true")
    options = parser.parse_args()
    rows = []
    with torch.inference_mode():
        for threads in options.threads:
            for case in CASES:
                if not options.case or case.name in options.case:
                    rows.append(measure(case, threads, options.repeats, not options.no_baselines))
                    if not options.json:
                        print(table(rows[-1:]), flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
