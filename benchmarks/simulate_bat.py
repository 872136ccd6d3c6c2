"""BAT with random weights in Verilator: every value and cycle of sentences, and how long that takes.

    python benchmarks/simulate_bat.py [--model base|minilm] [--bits 4] [--layers 12] [--tokens 128 [128]]
                                      [--folder FOLDER] [--json]

The models have the shapes of the half-width BERT-base and MiniLM; quantisers are calibrated on random sentences. In
FOLDER the compiled accelerator is kept and found again. Exit status 1 if a value or a cycle differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import machine

from lutra.accelerators.bat import bench, compiler, emit, simulate
from lutra.accelerators.bat.compare import golden_trace
from lutra.accelerators.bat.config import PAPER, BatConfig, ModuleConfig, config_for
from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.pipeline import giga_operations, milliseconds, peak_giga_operations_per_second
from lutra.freeze.bert import freeze_bert
from lutra.frozen.bert import FrozenBert
from lutra.frozen.bert_golden import embed
from lutra.frozen.binary16 import Binary16Array
from lutra.hardware.bench import verilator
from lutra.models.bert import Bert
from lutra.recipes.bert_config import BertConfig

SHAPES: dict[str, dict[str, int]] = {
    "base": {"layers": 12, "heads": 6, "head_width": 64, "width": 768, "intermediate": 1536},
    "minilm": {"layers": 6, "heads": 6, "head_width": 32, "width": 384, "intermediate": 768},
}
LEAN = ModuleConfig(p_dpu=16, p_quan=32, p_vu=32, p_ln=8)
MODULES = {"base": PAPER.modules, "minilm": (LEAN, LEAN)}
POSITIONS, VOCABULARY = 128, 1000


def model_of(name: str, bits: int, layers: int, seed: int) -> FrozenBert:
    """A frozen model with random weights, and quantisers that have seen random sentences."""
    shape = {**SHAPES[name], "layers": layers, "positions": POSITIONS, "vocabulary": VOCABULARY}
    method = "bit" if bits == 1 else "bmt"
    quantisation = {"method": method, "activation_bits": bits}
    config = BertConfig.model_validate({**shape, "activation": "relu", "quantisation": quantisation})
    model = Bert(config, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCABULARY, (4, POSITIONS), generator=generator)
    with torch.no_grad():
        model(tokens, torch.zeros_like(tokens), torch.ones_like(tokens))
        for step in model.parameter_groups()["steps"]:
            step.clamp_min_(0.02)
    return freeze_bert(model)


def sentences_of(model: FrozenBert, lengths: list[int], seed: int) -> list[Binary16Array]:
    """Embedded rows (tokens, width) of random sentences."""
    rng = np.random.default_rng(seed)
    every = [rng.integers(0, VOCABULARY, (1, length)) for length in lengths]
    return [embed(model, tokens, np.zeros_like(tokens), np.ones_like(tokens))[0] for tokens in every]


def built(config: BatConfig, folder: Path) -> tuple[bench.BatBench, simulate.Effort | None]:
    """The compiled accelerator: the one in the folder if it is the same design, else a new one and what it took."""
    note, design = folder / "design.txt", emit.bat_design(config).content_hash
    if note.exists() and note.read_text() == design:
        return bench.BatBench(config, folder / "testbench", folder / "rtl"), None
    made, effort = simulate.timed(partial(bench.build, config, folder))
    note.write_text(design)
    return made, effort


def measure(model: FrozenBert, name: str, lengths: list[int], folder: Path, seed: int) -> dict[str, Any]:
    """Run sentences, which take turns if there are two, and compare them with golden."""
    config = config_for(model.config, MODULES[name])
    image = compiler.compile_model(model, config)
    rows = sentences_of(model, lengths, seed)
    accelerator, building = built(config, folder)
    (run,), effort = simulate.timed(partial(bench.simulate, accelerator, image, [rows]))
    traced, golden = simulate.timed(lambda: [golden_trace(model, each) for each in rows])
    result, _ = simulate.compare_group(model, image, rows, traced, run, False, effort)
    layers = model.config.layers
    operations = sum(giga_operations(Shape.of(model.config, tokens), layers, 1) for tokens in lengths)
    cycles = result.cycles_measured
    peak = float(peak_giga_operations_per_second(config.modules, config.clock_hz))
    return {
        "model": name,
        "weights": f"random, seed {seed}",
        "layers": layers,
        "design_hash": emit.bat_design(config).content_hash,
        "config": config.to_mapping(),
        **asdict(result),
        "milliseconds": None if cycles is None else float(milliseconds(cycles, config.clock_hz)),
        "utilisation": None if cycles is None else operations / (cycles / config.clock_hz) / peak,
        "golden": asdict(golden),
        "build": None if building is None else asdict(building),
        "simulator": verilator.version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="base")
    parser.add_argument("--bits", type=int, default=4, choices=(1, 2, 4))
    parser.add_argument("--layers", type=int)
    parser.add_argument("--tokens", type=int, nargs="+", default=[POSITIONS])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = model_of(options.model, options.bits, options.layers or SHAPES[options.model]["layers"], options.seed)
    with tempfile.TemporaryDirectory() as temporary, np.errstate(over="ignore"):
        folder = options.folder or Path(temporary)
        result = measure(model, options.model, options.tokens, folder, options.seed)
    if options.json:
        print(json.dumps({"machine": machine(), "results": [result]}, indent=1))
    else:
        print(
            f"{options.model}, {result['layers']} layers, {options.tokens} tokens: {result['differing']} of "
            f"{result['values']:,} values differ; {result['cycles_measured']:,} cycles, predicted "
            f"{result['cycles_predicted']:,}; {result['milliseconds']:.2f} ms; simulated in "
            f"{result['effort']['seconds']:.0f} s ({result['effort']['cpu_seconds']:.0f} s of CPU)"
        )
    if result["problem"]:
        sys.exit(f"{result['problem']}")


if __name__ == "__main__":
    main()
