"""A run's whole model as an IP core: the machine of its recipe, what its memories hold, and calls that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.emit import RTL as BLOCK
from lutra.accelerators.transformer import emit, latency
from lutra.accelerators.transformer.bench.harness import load_commands
from lutra.accelerators.transformer.ip.core import MachineCore
from lutra.accelerators.transformer.ip.registers import transformer_registers
from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.runs import machine_image, read_images, written_tokens
from lutra.errors import InputError
from lutra.frozen import golden, store
from lutra.frozen.types import IntArray
from lutra.hardware.axi.package import (
    OTHER_IMAGE,
    TRANSFER_FAILED,
    Package,
    Simulation,
    Status,
    common_files,
    core_name,
    image_file,
    render,
    sealed,
    shown_of,
    vectors_file,
)
from lutra.hardware.design import Design, library_files
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.simulation import MachineSimulation
from lutra.runs.typed import read_record

HERE = Path(__file__).parent
LARGEST_IMAGE = (1 << 26) - 1
"""Bytes that a DMA engine moves as one packet."""
STATUSES = (
    OTHER_IMAGE,
    Status("NOT_LOADED", "the image did not arrive whole; load it again"),
    Status("WRONG_INPUT", "no input, more than a sequence has, or a token that the model does not know"),
    TRANSFER_FAILED,
)
"""What functions of the C driver may answer beside those of all drivers."""


def package_run(
    files: RunFiles, recipe: Recipe, out: Path, name: str | None = None, method: None = None
) -> dict[str, Any]:
    """Write the machine of a run's whole model as an IP core into the folder `out`; what it is. There are no methods.

    Raises:
        FrozenModelError: the frozen model is missing, damaged, or not whole.
        RunDirectoryError: no test images.
        InputError: the recipe asks for no machine, an operation that it does not have, a wrong name, or `out` holds
            something else.
    """
    if not recipe.machine.size:
        raise InputError(f"{files.root}: its recipe asks for no machine; set machine.size, such as 8")
    chosen_name = core_name(name, recipe.name)
    program = store.load(files.frozen).require_whole()
    core = MachineCore(chosen_name, machine_image(program, recipe.machine, recipe.hardware.dataflow))
    if core.tokens:
        given = [written_tokens(program, min(recipe.machine.characters, core.rows), recipe.seed)]
    else:
        given = read_images(files, program)[: recipe.machine.images]
    frozen_hash = store.content_hash(files.frozen)
    package = machine_package(core, given, frozen_hash, _simulated(files, frozen_hash, core))
    written = package.write(out)
    return {
        "out": str(out),
        "name": chosen_name,
        "build_hash": package.build_hash,
        "frozen_hash": frozen_hash,
        "machine": "transformer",
        "blocks": [graph.name for graph in core.image.blocks],
        "bus_bits": {"in": core.session.in_bits, "out": core.session.out_bits},
        "cycles": latency.call_cycles(core.image, Call(core.rows)),
        "rows": core.rows,
        "files": len(written),
    }


def machine_package(core: MachineCore, given: Sequence[IntArray], frozen_hash: str, simulated: bool = False) -> Package:
    """The package of a machine with calls for the sequences `given`, each (tokens, 1), or the pixels of an image;
    `simulated` says whether the run has compared this machine with golden."""
    program = core.image.program
    logits = [golden.run(program, rows[None])[0] for rows in given]  # (tokens, vocabulary), (1, classes)
    about = {"frozen_hash": frozen_hash, "simulated": simulated}
    content = load_commands(core.image)
    if len(content) > LARGEST_IMAGE:
        raise InputError(f"{core.name}: {len(content):,} bytes of weights are more than a DMA engine moves at once")

    design = emit.transformer_design(core.config, core.image.blocks)
    own = {name: design.files[name] for name in design.sources}
    calls = [Call(core.rows), *([Call(1, core.rows - 1)] if core.tokens and core.rows > 1 else [])]

    def files_of(build_hash: str) -> dict[str, bytes]:
        registers = transformer_registers(build_hash, core.rows, not core.tokens)
        outer = {
            f"{core.name}_registers.sv": render("registers.sv", core, registers),
            f"{core.name}_axi.sv": render("wrapper.sv", core, registers, HERE),
        }
        whole = Design.complete({**own, **outer}, library_files(emit.SYSTOLIC, BLOCK, emit.RTL))
        packed = _vectors(core, build_hash, given, logits)
        image = {f"image/{core.name}.bin": image_file(build_hash, content)}
        simulation = Simulation(
            cycles=latency.call_cycles(core.image, calls[0]),
            statuses=STATUSES,
            vectors=list(packed),
            images=list(image),
        )
        shown = {
            **about,
            **shown_of(core, registers, build_hash, whole, simulation),
            "cycles": [(call, latency.call_cycles(core.image, call)) for call in calls],
            "image_bytes": len(content),
            "image_sum": int(np.frombuffer(content, "<u4").sum(dtype=np.uint32)),
        }
        texts = common_files(core, registers, whole, shown, HERE)
        return {**{name: text.encode() for name, text in texts.items()}, **image, **packed}

    return sealed(core, [graph.name for graph in core.image.blocks], frozen_hash, files_of)


def _vectors(
    core: MachineCore, build_hash: str, given: Sequence[IntArray], logits: Sequence[IntArray]
) -> dict[str, bytes]:
    """Files of golden logits: one for each text, one for all images."""
    if core.tokens:
        pairs = [(rows.astype("<u2"), golden.astype("<i2")) for rows, golden in zip(given, logits, strict=True)]
    else:
        images = np.stack([pixels.reshape(-1) for pixels in given]).astype("<u1")  # (images, height * width * channels)
        pairs = [(images, np.concatenate(logits).astype("<i2"))]
    return {
        f"vectors/{core.name}_{number}.bin": vectors_file(build_hash, number, rows, outputs)
        for number, (rows, outputs) in enumerate(pairs)
    }


def _simulated(files: RunFiles, frozen_hash: str, core: MachineCore) -> bool:
    """Whether the run has compared this machine with golden, without any difference."""
    if not files.machine.exists():
        return False
    evidence = read_record(files.machine, MachineSimulation, "simulate")
    design = emit.transformer_design(core.config, core.image.blocks)
    return bool(
        evidence["frozen_hash"] == frozen_hash
        and evidence["design_hash"] == design.content_hash
        and not evidence["mismatches"]
        and evidence["cycles_match"]
    )
