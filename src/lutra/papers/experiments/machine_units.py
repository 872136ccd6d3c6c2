"""What vector units of the transformer machine cost in 45 nm, by switching counted on the values of a trained model.

Prints a record; finished units are kept in FOLDER and taken from there the next time:

    lutra run recipes/language/gpt-mini.toml --to freeze --out RUN
    LUTRA_LIBERTY=cells.lib python -m lutra.papers.experiments.machine_units FOLDER RUN

The values are those of the first layer of the baseline of RUN with the dense MLP, whose products have all lengths that
occur, while it reads text that the model has written. Each unit takes some ten seconds.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from lutra import settings
from lutra.accelerators.transformer import units
from lutra.accelerators.transformer.runs import written_tokens
from lutra.accelerators.transformer.synthesis import activity
from lutra.accelerators.transformer.synthesis.activity import Stimulus
from lutra.frozen import golden, store
from lutra.frozen.graph import Graph
from lutra.frozen.ops import Attention, LayerNorm, MatMul, Operation, Past, Requantise, Residual
from lutra.papers.recorded_machine import UNITS
from lutra.runs.files import RunFiles, write_json
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import fpga_yosys, native_yosys, opensta
from lutra.version import __version__

CLOCK_HZ = 1e9
SEED, SIZE = 1337, 8
SUMS: dict[str, tuple[tuple[str, int], ...]] = {
    "requantised": (("requantise", 1),),
    "residual_sum": (("residual", 1),),
    "norm_element": (("norm_sums", 1), ("norm_lane", 1)),
    "norm_row": tuple((name, units.NORM_INTERVAL_CYCLES) for name in ("norm_variance", "root", "reciprocal_26")),
    "score": (("softmax_max", 1),),
    "softmax_row": (("reciprocal_17", units.RECIPROCAL_CYCLES),),
}
"""What `UnitEnergies` is made of: units, and cycles that each works for it."""


def stimuli(program: Graph) -> dict[str, Stimulus]:
    """Every unit, and what it sees of the first layer's values."""
    rng = np.random.default_rng(SEED)
    context = program.context
    assert context is not None, "a language model has a context"
    traced = golden.trace(program, written_tokens(program, context, SEED)[None])
    values = {name: value.reshape(-1, value.shape[-1]) for name, value in traced.items()}
    product = _first(program, MatMul)
    requantised = next(op for op in program.ops if isinstance(op, Requantise) and op.inputs == (product.output,))
    add, norm, attention = _first(program, Residual), _first(program, LayerNorm), _first(program, Attention)
    x, branch = (values[name] for name in add.inputs)
    stream = values[norm.inputs[0]]
    parts = attention.parts(Past(), *(traced[name] for name in attention.inputs))
    variances = activity.variances(norm, stream)
    return {
        "requantise": activity.requantise(product, requantised, values, SIZE, rng),
        "residual": activity.residual(x, branch, values[add.output], SIZE, rng),
        "norm_sums": activity.norm_sums(stream, rng),
        "norm_lane": activity.norm_lane(norm, stream, values[norm.output], rng),
        "norm_variance": activity.norm_variance(norm, stream, rng),
        "root": activity.root(variances, rng),
        "reciprocal_26": activity.reciprocal(activity.roots(variances), 26, units.NORM_INTERVAL_CYCLES, rng),
        "reciprocal_17": activity.reciprocal(parts.sums.reshape(-1), 17, units.RECIPROCAL_CYCLES, rng),
        "softmax_max": activity.softmax_max(parts.scores[0, 0], SIZE, rng),
    }


def _first(program: Graph, kind: type[Operation]) -> Any:
    return next(op for op in program.ops if isinstance(op, kind))


def energies(measured: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What one use of each unit of `UnitEnergies` costs, in J."""
    return {
        name: sum(measured[unit]["power_measured"]["total_w"] * cycles for unit, cycles in parts) / CLOCK_HZ
        for name, parts in SUMS.items()
    }


def main() -> None:
    front, mapper, sta = fpga_yosys(), native_yosys(), opensta()
    if front is None or mapper is None or sta is None or settings.LIBERTY.path is None:
        sys.exit("needs both Yosys, OpenSTA and a library in LUTRA_LIBERTY; `lutra doctor` tells what is missing")
    folder, run = Path(sys.argv[1]), RunFiles(Path(sys.argv[2]))
    asic = Asic(front, mapper, sta, settings.LIBERTY.path, CLOCK_HZ)
    frozen = run.baseline("mlp").frozen
    measured = {}
    for name, stimulus in stimuli(store.load(frozen).require_whole()).items():
        kept = folder / f"{name}.json"
        if not kept.exists():
            write_json(kept, stimulus.measure(asic, kept.with_suffix("")))
        measured[name] = json.loads(kept.read_text(encoding="utf-8"))
    recipe = tomllib.loads(run.recipe.read_text(encoding="utf-8"))["name"]
    record = {
        "design": UNITS,
        "contents": f"first layer of {recipe} with the dense MLP, trained, at text that it has written",
        "frozen_hash": store.content_hash(frozen),
        "clock_hz": CLOCK_HZ,
        "tool": asic.tool,
        "targets": [{"name": name, "energy_j": energy_j} for name, energy_j in energies(measured).items()],
        "units": measured,
        "lutra": __version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
