"""Area, slack and power of the systolic array's parts in standard cells, at the operands of a trained MLP.

Prints a record; finished parts are kept in FOLDER and taken from there the next time:

    lutra run recipes/language/ivit-t-block.toml --to freeze --out RUN
    LUTRA_LIBERTY=cells.lib python benchmarks/measure_systolic_asic.py FOLDER RUN > record.json

One processing element is mapped, a 4 x 4 grid of them to check that they can be counted, what takes the sums out of a
column for every size of the array, and a lane of an edge buffer at two depths; for their timing, a lane as deep as the
product of Table 3 needs, and a requantiser. The operands are those of both products of the first layer's MLP in the
baseline of RUN.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lutra
from lutra import settings
from lutra.accelerators.systolic.standard_cells import (
    map_edge,
    map_requantiser,
    map_selector,
    measure_edge,
    measure_element,
    measure_grid,
    operands,
)
from lutra.data.text import load_shakespeare
from lutra.frozen import golden
from lutra.frozen.dense import DenseMlp, as_dense_mlp, quantise_mlp
from lutra.runs.files import RunFiles, write_json
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import fpga_yosys, native_yosys, opensta
from lutra.train.checkpoint import load_model

CLOCK_HZ = 1e9
TOKENS, CONTEXT = 256, 64
GRID = 4
DEPTHS, FULL_DEPTH = (16, 64), 1024
SIZES = (8, 16, 32, 64)
SIMULATIONS = 64
TILES = 3
"""Of which counting begins with the second."""


def trained_mlp(run: RunFiles) -> tuple[DenseMlp, np.ndarray]:
    """The first MLP of a trained model in int8, and rows that enter it, (TOKENS, D)."""
    model, captured = load_model(run).eval(), []
    mlp = model.transformer.h[0].mlp
    mlp.register_forward_hook(lambda module, inputs, output: captured.append(inputs[0]))
    with torch.no_grad():
        model(load_shakespeare().validation[:TOKENS].reshape(-1, CONTEXT))
    x = captured[0].reshape(TOKENS, -1)
    tensors = (tensor.detach().double().numpy() for tensor in (x, mlp.c_fc.weight, mlp.c_proj.weight))
    x, first, second = tensors
    frozen = as_dense_mlp(quantise_mlp("h.0.mlp", x, first, second))
    return frozen, golden.quantise(x, frozen.graph.input_type)


def main() -> None:
    front, mapper, sta = fpga_yosys(), native_yosys(), opensta()
    if front is None or mapper is None or sta is None or settings.LIBERTY.path is None:
        sys.exit("needs both Yosys, OpenSTA and a library in LUTRA_LIBERTY; `lutra doctor` tells what is missing")
    folder, run = Path(sys.argv[1]), RunFiles(Path(sys.argv[2]) / "baselines" / "mlp")
    recipe = tomllib.loads(run.recipe.read_text(encoding="utf-8"))["name"]
    mlp, rows = trained_mlp(run)
    hidden = golden.trace(mlp.graph, rows)[mlp.requantise_gelu.output]
    products = {"mlp_1": (rows, mlp.first.weights), "mlp_2": (hidden, mlp.second.weights)}
    asic = {
        clock: Asic(front, mapper, sta, settings.LIBERTY.path, CLOCK_HZ, clock == "gated")
        for clock in ("plain", "gated")
    }
    parts: list[dict[str, Any]] = []

    def part(name: str, clock: str, measure: Callable[[Path], dict[str, Any]]) -> None:
        kept = folder / f"{name}_{clock}.json"
        if not kept.exists():
            write_json(kept, measure(kept.with_suffix("")))
        parts.append({"name": name, "clock_gating": clock == "gated", **json.loads(kept.read_text(encoding="utf-8"))})

    for name, (left, right) in products.items():
        given = operands(left, right, GRID, TILES, SIMULATIONS)
        part(f"element_{name}", "plain", lambda at, given=given: measure_element(asic["plain"], at, given))
    given = operands(*products["mlp_1"], GRID, TILES, SIMULATIONS)
    part("grid_mlp_1", "plain", lambda at: measure_grid(asic["plain"], at, given))
    for height in (GRID, *SIZES):
        part(
            f"selector_{height}",
            "plain",
            lambda at, height=height: map_selector(asic["plain"], at, height),
        )
    part("requantiser", "plain", lambda at: map_requantiser(asic["plain"], at, multiplier_bits=16, shift=24))
    part(f"edge_{FULL_DEPTH}", "plain", lambda at: map_edge(asic["plain"], at, FULL_DEPTH))
    for clock in asic:
        for depth in DEPTHS:
            stream = given.left[: 4 * depth, 0]
            for edge, writes in (("written", True), ("read", False)):
                part(
                    f"edge_{depth}_{edge}",
                    clock,
                    lambda at, clock=clock, depth=depth, stream=stream, writes=writes: measure_edge(
                        asic[clock], at, depth, stream, writes
                    ),
                )
    record = {
        "design": "systolic-asic-ivit-t",
        "contents": f"operands of the first MLP of {recipe}, trained, in int8",
        "grid": GRID,
        "depths": DEPTHS,
        "clock_hz": CLOCK_HZ,
        "tool": asic["plain"].tool,
        "targets": parts,
        "lutra": lutra.__version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
