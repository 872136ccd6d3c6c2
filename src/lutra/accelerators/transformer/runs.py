"""The steps `rtl` and `simulate` of models that are frozen whole: blocks alone, and the machine that runs all of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lutra import children
from lutra.accelerators.block import emit as block_emit
from lutra.accelerators.block import simulate as block_simulate
from lutra.accelerators.block.schedule import Dataflow, FoldFactor
from lutra.accelerators.transformer import emit, latency, simulate
from lutra.accelerators.transformer.bench import harness
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import calls_of
from lutra.accelerators.transformer.program import Op
from lutra.accelerators.transformer.simulate import GivenRows, TransformerResult
from lutra.errors import FrozenModelError, RunDirectoryError
from lutra.frozen import golden, store
from lutra.frozen.graph import Graph
from lutra.frozen.ops import Past
from lutra.frozen.types import IntArray
from lutra.hardware.bench import verilator
from lutra.recipes.language import MachineConfig, Recipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.simulation import MachineSimulation
from lutra.runs.typed import write_record

logger = logging.getLogger("lutra")

MACHINE = "machine"
"""Folder of the machine's RTL, below that of a run's RTL."""
IMAGE = "image.bin"
"""What fills its memories: commands for the load port, as the bench takes them (bench/bench.cpp.mako)."""
TEMPERATURE = 0.8
"""Of the text that is written while the machine is compared."""


def machine_image(program: Graph, machine: MachineConfig, dataflow: Dataflow) -> Image:
    """A whole model on the machine that a recipe asks for.

    Raises:
        InputError: an operation that the machine does not have, or a size out of range.
    """
    lanes = machine.lanes or None
    config = sized_for(program, machine.size, lanes, machine.norm_lanes, overlap=machine.overlap)
    return compile_model(program, replace(config, fold_factor=machine.fold_factor, dataflow=dataflow))


def write_rtl(files: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Write the RTL of a run's weightless blocks for every fold factor of the recipe; where it asks for it, that of the
    whole machine too, with what its memories hold.

    Raises:
        FrozenModelError: the frozen model is missing, changed, or not of the form that is asked for.
        InputError: a size out of range, or an operation that the machine does not have.
    """
    result: dict[str, Any] = block_emit.write_rtl(files, recipe) if recipe.has_blocks else {"designs": []}
    result["frozen_hash"] = store.content_hash(files.frozen)
    if recipe.machine.size:
        image = machine_image(store.load(files.frozen).require_whole(), recipe.machine, recipe.hardware.dataflow)
        folder, design = files.rtl / MACHINE, emit.transformer_design(image.config, image.blocks)
        written = design.write(folder)
        (folder / IMAGE).write_bytes(harness.load_commands(image))
        logger.info("%s: %d files", folder, len(written))
        result["machine"] = {"folder": str(folder.relative_to(files.root)), "design_hash": design.content_hash}
    return result


def simulate_run(
    files: RunFiles,
    recipe: Recipe,
    fold_factors: Sequence[FoldFactor] | None = None,
    rows: int | None = None,
) -> dict[str, Any]:
    """Simulate a run's blocks (see `block.simulate`), and its whole machine where the recipe asks for one: a text read
    at once, and written token by token, or images.

    With `fold_factors` or `rows`, which concern blocks alone, the machine is left out.

    Raises:
        MismatchError: RTL and golden model, or measured and predicted cycles, differ; the evidence is written before.
        RunDirectoryError: no captured rows for a graph.
        ToolError: a tool is missing or fails.
    """
    result: dict[str, Any] = {"mismatches": 0, "cycles_match": True}
    if recipe.has_blocks:
        result = block_simulate.simulate_run(files, recipe, fold_factors, rows)
    if not recipe.machine.size or fold_factors or rows:
        return result
    machine = _simulate_machine(files, recipe)
    return {
        **result,
        "mismatches": result["mismatches"] + machine["mismatches"],
        "cycles_match": result["cycles_match"] and machine["cycles_match"],
        "machine": machine,
    }


def _simulate_machine(files: RunFiles, recipe: Recipe) -> dict[str, Any]:
    program = store.load(files.frozen).require_whole()
    image = machine_image(program, recipe.machine, recipe.hardware.dataflow)
    tokens: IntArray = np.zeros((0, 1), np.int64)
    if image.config.pixels:
        given = [GivenRows(pixels, (1,)) for pixels in read_images(files, program)[: recipe.machine.images]]
    else:
        context = min(image.config.rows, program.context or image.config.rows)
        tokens = written_tokens(program, min(recipe.machine.characters, context), recipe.seed)
        given = [GivenRows(tokens, (len(tokens),)), GivenRows(tokens, (1,) * len(tokens))]
    with children.temporary_folder("machine") as temporary:
        waveform = files.root / "waveforms" / f"{MACHINE}.vcd"
        result = simulate.simulate_model(image, given, temporary, waveform, cached=True)
    design = emit.transformer_design(image.config, image.blocks)
    evidence = {
        "frozen_hash": store.content_hash(files.frozen),
        "design_hash": design.content_hash,
        "simulator": verilator.version(),
        "config": image.config.to_mapping(),
        "tokens": tokens[:, 0].tolist(),
        **evidence_of(image, result),
    }
    write_record(files.machine, MachineSimulation, evidence)
    logger.info(
        "whole machine: %d sequences, %d of %d values differ",
        len(given),
        evidence["mismatches"],
        evidence["values"],
    )
    simulate.require_match(result, "whole machine")
    return evidence


def read_images(files: RunFiles, program: Graph) -> list[IntArray]:
    """The test images that freezing put into the run directory, (height * width, channels) each.

    Raises:
        RunDirectoryError: they cannot be read, or there are none.
    """
    try:
        images = store.read_tensors(files.samples).get(program.input)
    except FrozenModelError as error:
        raise RunDirectoryError(str(error)) from None
    shape = (program.input_rows, program.input_width)
    if images is None or images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise RunDirectoryError(f"{files.samples}: no images of {shape}; run `lutra freeze` again")
    return list(images.astype(np.int64))


def evidence_of(image: Image, result: TransformerResult) -> dict[str, Any]:
    """What a simulation has shown, as it goes into a file."""
    free = [call for call in result.calls if not call.stalled]
    return {
        "values": sum(call.values for call in result.calls),
        "mismatches": sum(call.differing for call in result.calls),
        "cycles_match": all(call.cycles_measured == call.cycles_predicted for call in free),
        "calls": [asdict(call) for call in result.calls],
        "steps": {name: {"values": values, "differing": wrong} for name, (values, wrong) in result.steps.items()},
        "shares": [asdict(share) for share in cycle_shares(image, max(call.rows for call in free))],
        "build": asdict(result.build),
        "simulation": asdict(result.simulation),
    }


@dataclass(frozen=True)
class CycleShare:
    """Where the cycles of a call go: those of all steps of one kind."""

    op: str
    prefill: int
    """Cycles of a call that takes all rows at once."""
    decode: int
    """Of one that takes the last of them alone; 0 where a sequence comes whole."""


def cycle_shares(image: Image, rows: int) -> list[CycleShare]:
    """By kind of step, in the order of the machine's operations."""
    calls = [calls_of(image, [rows])[0]]
    if image.whole_rows is None and rows > 1:
        calls.append(calls_of(image, [rows - 1, 1])[1])
    times = [latency.step_times(image, call) for call in calls]
    sums = [{op: sum(cycles for step, cycles in latency.shares(each) if step.op == op) for op in Op} for each in times]
    return [
        CycleShare(op.name.lower(), sums[0][op], sums[1][op] if len(sums) > 1 else 0)
        for op in Op
        if sums[0][op] and op != Op.END
    ]


def written_tokens(program: Graph, count: int, seed: int) -> IntArray:
    """Text that golden writes, (count, 1): token 0, and what is drawn from the logits, one after the other."""
    rng, past = np.random.default_rng(seed), Past()
    tokens = [0]
    while len(tokens) < count:
        logits = golden.run(program, np.array(tokens[-1:])[None, :, None], past=past)[0, -1]
        real = golden.dequantise(logits, program.output_type).astype(np.float64) / TEMPERATURE
        likely = np.exp(real - real.max())
        tokens.append(int(rng.choice(len(likely), p=likely / likely.sum())))
    return np.array(tokens, np.int64)[:, None]
