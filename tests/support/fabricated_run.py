"""A run directory with made-up contents: input for the tests of report and record, and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block
from lutra.recipes.language import Recipe
from lutra.recipes.sections import validate
from lutra.runs.claim import save_recipe
from lutra.runs.files import RunFiles, write_json, write_text

FOLDS: tuple[int | str, ...] = (1, 4, "all")
LAYERS = 2


def small_recipe(**changes: Any) -> Recipe:
    """A recipe for a model of two layers; `changes` are top-level keys."""
    model = {"layers": LAYERS, "heads": 2, "width": 16, "context": 64}
    return validate(Recipe, {"name": "fabricated", "model": model, **changes}, "test")


def make_started_run(root: Path) -> tuple[RunFiles, Recipe]:
    """A run directory in which no step has run."""
    files, recipe = RunFiles(root), small_recipe()
    save_recipe(recipe, files.recipe)
    return files, recipe


def make_finished_run(root: Path) -> tuple[RunFiles, Recipe]:
    """A run directory in which every step before the report seems to have run."""
    files, recipe = make_started_run(root)
    for run, floor in ((files, 1.70), (files.baseline("mlp"), 1.62), (files.baseline("none"), 2.03)):
        losses = ((step, floor + 2.4 * math.exp(-step / 300)) for step in range(0, 2001, 250))
        lines = [json.dumps({"iteration": step, "validation_loss": loss}) for step, loss in losses]
        write_text(run.train_log, "\n".join(lines) + "\n")
    rng = np.random.default_rng(0)
    graphs = tuple(
        random_block(rng, width=16, thermometer_bits=8, luts=(64, 16), inputs=(6, 6), name=f"transformer.h.{layer}.mlp")
        for layer in range(LAYERS)
    )
    store.save(FrozenModel(graphs), files.frozen)
    frozen_hash = store.content_hash(files.frozen)
    write_json(files.evaluate, _evaluation() | {"frozen_hash": frozen_hash})
    write_text(files.sample, "ROMEO:\nWhat <light> & shade, no markup here?\n" + "and on it goes " * 30)
    names = [graph.name for graph in graphs]
    write_json(files.simulate, _simulation(names) | {"frozen_hash": frozen_hash})
    write_json(files.synth, _synthesis(names) | {"frozen_hash": frozen_hash})
    write_json(files.cost, _cost(names) | {"frozen_hash": frozen_hash})
    write_json(files.steps, {"train": _step(431.0), "simulate": _step(12.5)})
    return files, recipe


def _evaluation() -> dict[str, Any]:
    return {
        "validation_loss": {"float": 1.698, "fake_quantised": 1.703, "golden": 1.7034},
        "baselines": {"mlp": 1.6212, "none": 2.0301},
        "recovery": 0.799,
        "tokens": 111_540,
    }


def _simulation(names: list[str]) -> dict[str, Any]:
    def block(name: str, fold_factor: int | str) -> dict[str, Any]:
        interval = 1 if fold_factor == "all" else 16 // int(fold_factor)
        return {
            "name": name,
            "rows": 256,
            "mismatches": 0,
            "mismatches_with_stalls": 0,
            "cycles_measured": 256 * interval + 5,
            "cycles_predicted": 256 * interval + 5,
            "interval_cycles": interval,
            "latency_cycles": interval + 5,
            "steps": interval,
        }

    return {
        "simulator": "Verilator 5.48.0",
        "rows": 256 * len(FOLDS) * len(names),
        "mismatches": 0,
        "cycles_match": True,
        "designs": [{"fold_factor": fold, "blocks": [block(name, fold) for name in names]} for fold in FOLDS],
    }


def _synthesis(names: list[str]) -> dict[str, Any]:
    blocks = [
        {"name": name, "lut_raw": 1234, "lut_packed": 1001, "ff": 456, "bram": 0, "dsp": 0, "seconds": 3.0}
        for name in names
    ]
    target = {"target": "xcup", "tool": "Yosys 0.70", "fold_factor": 1, "blocks": blocks}
    return {"targets": [target], "skipped": [{"target": "asic", "reason": "no cell library; use --liberty"}]}


def _cost(names: list[str]) -> dict[str, Any]:
    def block(name: str, fold_factor: int | str) -> dict[str, Any]:
        interval = 1 if fold_factor == "all" else 16 // int(fold_factor)
        return {
            "name": name,
            "fold_factor": fold_factor,
            "cycles_per_token": interval,
            "latency_cycles": interval + 5,
            "cycles_per_sequence": 64 * interval + 5,
            "fpga_energy_paper_power_j": 7.9e-7,
            "fpga_energy_interpolated_j": 6.4e-7 if fold_factor == 1 else None,
            "asic_energy_paper_power_j": 5e-9,
        }

    def layer(fold_factor: int | str) -> dict[str, Any]:
        ratio = 1.87 if fold_factor == 1 else None
        return {"fold_factor": fold_factor, "fpga_ratio_interpolated": ratio, "upper_limit_ratio": 2.21}

    return {
        "model": {"sequence_tokens": 64},
        "blocks": [block(name, fold) for fold in FOLDS for name in names],
        "dense_layer": {
            "systolic_array_size": 32,
            "mlp": {"steady_cycles": 512, "cycles": 700, "fpga_energy_j": 1.5e-6, "asic_energy_j": 1.3e-7},
        },
        "layers": [layer(fold) for fold in FOLDS],
        "energy_basis": {"fpga_paper_power": "a power that was printed", "fpga_interpolated": "a fit"},
    }


def exploration(**changes: Any) -> dict[str, Any]:
    """The record of an exploration without runs; `changes` are keys of it."""
    return {
        "name": "space",
        "finished": True,
        "space": {"stage": []},
        "base_recipe": {},
        "environment": {},
        "stage": 1,
        "variants": [],
        "baselines": [],
        "selections": [],
        "runs": [],
        **changes,
    }


def spread(mean: float, deviation: float | None = None, count: int = 1) -> dict[str, Any]:
    """Of values over seeds."""
    return {"mean": mean, "standard_deviation": deviation, "min": mean - 1, "max": mean + 1, "count": count}


def _step(seconds: float) -> dict[str, Any]:
    environment = {"lutra": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "machine": "A processor, Linux"}
    return {"seconds": seconds, "ended": "2026-01-02T03:04:05Z", "environment": environment}
