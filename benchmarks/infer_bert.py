"""CPU inference of a binarized BERT: ours, from packed 1-bit weights, against the float model in what users would pick.

    python benchmarks/infer_bert.py [--model base|minilm] [--batch 2] [--tokens 128] [--bits 4] [--threads 1 2]
                                    [--json] [--repeats 7] [--no-baselines]

Ours goes from tokens to logits in Lutra's runtime, equal to the golden model in every bit; the others compute the float
model of the same shape: PyTorch in float32 and bfloat16, ONNX Runtime in float32, with int8 weights (dynamic) and int8
throughout (QDQ), OpenVINO in its own choice of floating point and int8. Weights are random. GOPS count two operations
for every product that the layers ask for (both binary copies), as BMT's paper counts. One thread: CPU time; two: wall
time. Medians of alternating runs. openvino is no dependency of Lutra; what is missing is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from harness import alternate, machine
from simulate_bat import POSITIONS, SHAPES, VOCABULARY, model_of
from torch import Tensor, nn
from whole_baselines import Call, baselines

from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.pipeline import giga_operations
from lutra.frozen.bert import FrozenBert
from lutra.frozen.bert_golden import golden_logits
from lutra.models.bert import Bert
from lutra.recipes.bert_config import BertConfig
from lutra.runtime.bert.engine import BertRuntime
from lutra.runtime.library import INSTRUCTION_SETS

Sentences = tuple[np.ndarray, np.ndarray, np.ndarray]


class Logits(nn.Module):
    """A float BERT from tokens and types to logits."""

    def __init__(self, model: Bert) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, token_types: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens, token_types).logits
        return logits


def our_call(model: FrozenBert, isa: str, threads: int, sentences: Sentences) -> Call:
    """One call of our runtime, and the proof that it computes the golden model."""
    runtime = BertRuntime(model, threads)
    runtime._isa = INSTRUCTION_SETS.index(isa)
    differ = int((runtime.logits(*sentences) != golden_logits(model, *sentences)).sum())
    if differ:
        raise SystemExit(f"{isa}: {differ} logits differ from the golden model's")
    return lambda: runtime.logits(*sentences)


def measure(options: argparse.Namespace, threads: int) -> dict[str, Any]:
    """One row: median milliseconds of every engine."""
    torch.set_num_threads(threads)
    shape = SHAPES[options.model]
    model = model_of(options.model, options.bits, shape["layers"], seed=0)
    tokens = np.random.default_rng(0).integers(VOCABULARY, size=(options.batch, options.tokens))
    sentences = tokens, np.zeros_like(tokens), np.ones_like(tokens)
    best = BertRuntime(model).isa
    vectors = INSTRUCTION_SETS[1 : INSTRUCTION_SETS.index(best)]  # scalar code takes seconds
    names = {"ours": best} | {f"ours_{isa}": isa for isa in vectors}
    calls = {name: our_call(model, isa, threads, sentences) for name, isa in names.items()}
    if not options.no_baselines:
        config = BertConfig.model_validate(
            {**shape, "positions": POSITIONS, "vocabulary": VOCABULARY, "activation": "relu"}
        )
        dense = Logits(Bert(config, seed=0).eval())
        calls |= baselines(dense, (torch.from_numpy(tokens), torch.zeros(tokens.shape, dtype=torch.int64)), threads)
    times = alternate(calls, options.repeats, time.process_time if threads == 1 else time.perf_counter)
    operations = giga_operations(Shape.of(model.config, options.tokens), shape["layers"], options.batch)
    return {
        "model": options.model,
        "bits": options.bits,
        "batch": options.batch,
        "tokens": options.tokens,
        "threads": threads,
        "isa": best,
        "giga_operations": operations,
        **{f"{name}_ms": ms for name, ms in times.items()},
    }


def table(row: dict[str, Any]) -> str:
    """Milliseconds and GOPS of ours, and how many times longer the others take."""
    ours = row["ours_ms"]
    what = f"{row['model']}, W1A{row['bits']}, {row['batch']} x {row['tokens']} tokens, {row['threads']} thread(s)"
    rate = f"{row['giga_operations'] / ours * 1e3:.0f} GOPS, {row['batch'] * row['tokens'] / ours * 1e3:.0f} tokens/s"
    lines = [f"{what}: ours {ours:.2f} ms ({row['isa']}), {rate}"]
    others = {key[:-3]: ms for key, ms in row.items() if key.endswith("_ms") and key != "ours_ms"}
    return "\n".join([*lines, *(f"    {name:<20} {ms:>9.2f} ms {ms / ours:>7.2f}x" for name, ms in others.items())])


def main() -> None:
    """Measure one shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(SHAPES), default="base")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--bits", type=int, choices=(1, 2, 4), default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-baselines", action="store_true")
    options = parser.parse_args()
    rows = []
    with torch.inference_mode():
        for threads in options.threads:
            rows.append(measure(options, threads))
            if not options.json:
                print(table(rows[-1]), flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
