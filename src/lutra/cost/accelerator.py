"""The step `cost` of recipes of kind "bert": what sentences cost on BAT, predicted, beside what was simulated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lutra.accelerators.bat import compiler, runs, schedule
from lutra.accelerators.bat.compiler import Image
from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.latency import BUILT, Memory, Shape
from lutra.accelerators.bat.pipeline import (
    equation_5,
    equation_5_of_a_pair,
    giga_operations,
    layer_cycles,
    peak_giga_operations_per_second,
)
from lutra.accelerators.bat.program import Step
from lutra.accelerators.bat.runs import Design
from lutra.accelerators.bat.traffic import Loads, block_bytes
from lutra.frozen import store
from lutra.recipes.bert import BertRecipe
from lutra.runs.files import RunFiles
from lutra.runs.record import failed_steps
from lutra.runs.typed import read_evidence, write_evidence

LEAVES_OUT = (
    "Embedding, pooler and classifier run on the host.",
    "Both ports have a memory of their own: what two modules ask of one memory together is stated, not simulated.",
    "The clock is stated, not met: nothing places the RTL.",
    "No power: nothing here measures it.",
)

logger = logging.getLogger("lutra")


def cost_bert(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Write `cost.json`, see `cost_of_bert`.

    Raises:
        FrozenModelError, RunDirectoryError, InputError: see `cost_of_bert`.
    """
    result = cost_of_bert(files, recipe)
    write_evidence(files, recipe, "cost", result)
    return result


def cost_of_bert(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Cycles, throughput and traffic of every method that BAT takes, at the longest sentence, as `cost.json` holds it.

    Cycles follow from the compiled programs; beside them stand the paper's Eq. 5 as printed and with a stage per layer
    and sentence, and what `simulate.json` has measured on the development set's sentences.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        RunDirectoryError: `simulate.json` is damaged.
        InputError: an accelerator out of range.
    """
    designs, refused = runs.designs_of(files, recipe)
    return {
        "designs": {each.method: _design_cost(files, recipe, each) for each in designs},
        "refused": refused,
        "leaves_out": list(LEAVES_OUT),
    }


def _design_cost(files: RunFiles, recipe: BertRecipe, design: Design) -> dict[str, Any]:
    config, layers = design.config, design.model.config.layers
    image = compiler.compile_model(design.model, config)
    shape = Shape.of(design.model.config, config.positions)
    together = [config.positions] * image.sentences
    frozen_hash = store.content_hash(files.frozen / design.method)
    return {
        "frozen_hash": frozen_hash,
        "clock_hz": config.clock_hz,
        "tokens": config.positions,
        "layers": layers,
        "peak_giga_operations_per_second": float(peak_giga_operations_per_second(config.modules, config.clock_hz)),
        "alone": sentences_cost(image, together[:1]),
        "together": sentences_cost(image, together),
        "equation_5": _equations(config, shape, layers),
        "measured": _measured(files, recipe, design.method, frozen_hash),
        "traffic": _traffic(config, shape, design.model.config.quantisation.elastic),
        "layer": layer_steps(image, together),
    }


def sentences_cost(image: Image, lengths: Sequence[int]) -> dict[str, Any]:
    """Cycles and throughput of sentences of so many tokens that run at the same time."""
    config, layers = image.config, image.model.layers
    cycles = schedule.program_cycles(compiler.compile_sentences(image, lengths), config)
    seconds = cycles / config.clock_hz
    operations = sum(giga_operations(Shape.of(image.model, tokens), layers, sentences=1) for tokens in lengths)
    peak = float(peak_giga_operations_per_second(config.modules, config.clock_hz))
    return {
        "tokens": list(lengths),
        "cycles": cycles,
        "seconds": seconds,
        "giga_operations": operations,
        "giga_operations_per_second": operations / seconds,
        "utilisation": operations / seconds / peak,
    }


def layer_steps(image: Image, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """When the steps of one layer run, those of all sentences and modules; the second layer, where loads repeat."""
    config = image.config
    programs = compiler.compile_sentences(image, lengths)
    prefix = f"layers.{min(1, image.model.layers - 1)}."
    found = []
    for index, (steps, times) in enumerate(zip(programs, schedule.program_times(programs, config), strict=True)):
        for step, each in zip(steps, times, strict=True):
            if step.name.startswith(prefix):
                found.append(
                    {
                        "module": index,
                        "step": step.name.removeprefix(prefix),
                        "sentence": step.sentence,
                        "start": each.start,
                        "end": each.end,
                        "slowest": _slowest(step, config, index),
                    }
                )
    return found


def _slowest(step: Step, config: BatConfig, index: int) -> str:
    """The unit whose interval decides how fast rows follow each other."""
    return max(schedule.step_units(step, config, config.modules[index]), key=lambda unit: unit.interval).name


def _equations(config: BatConfig, shape: Shape, layers: int) -> dict[str, int] | None:
    """The paper's model of two modules and two sentences, with our cycles of a module; None for one module."""
    if len(config.modules) < 2:
        return None
    memory = Memory(config.memory_latency, config.memory_gap)
    layer = layer_cycles(config.attention, config.feed_forward, shape, memory, BUILT)
    return {
        "as_printed_cycles": int(equation_5(layer.attention, layer.feed_forward, layers)),
        "stage_per_sentence_cycles": int(equation_5_of_a_pair(layer.attention, layer.feed_forward, layers)),
    }


def _traffic(config: BatConfig, shape: Shape, elastic: bool) -> dict[str, int]:
    """Bytes that a sentence moves in a layer, in its block of attention and in that of feed-forward."""
    attention = block_bytes(Loads(config.attention, shape, elastic).attention, shape)
    feed_forward = block_bytes(Loads(config.feed_forward, shape, elastic).feed_forward(), shape)
    return {"attention_bytes": int(attention), "feed_forward_bytes": int(feed_forward)}


def _measured(files: RunFiles, recipe: BertRecipe, method: str, frozen_hash: str) -> dict[str, Any] | None:
    """What the simulation of the same frozen model found; None where it did not run, or failed."""
    if not files.simulate.exists() or "simulate" in failed_steps(files):
        return None
    design = read_evidence(files, recipe, "simulate")["designs"].get(method)
    if design is None or design["frozen_hash"] != frozen_hash:
        return None
    names = ("sentences", "cycles", "cycles_match", "mismatches", "values", "seconds_per_sentence", "utilisation")
    return {name: design[name] for name in names}
