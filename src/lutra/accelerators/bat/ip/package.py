"""A method of a run as an IP core: BAT, what its memory holds, and sentences that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lutra.accelerators.bat import compiler, emit, schedule
from lutra.accelerators.bat.compare import golden_trace
from lutra.accelerators.bat.config import check_model
from lutra.accelerators.bat.ip.core import BatCore
from lutra.accelerators.bat.ip.registers import BASE_BIT, bat_registers
from lutra.accelerators.bat.program import BYTES, FLAGS
from lutra.accelerators.bat.runs import designs_of, read_sentences
from lutra.errors import InputError
from lutra.frozen.bert import FrozenBert
from lutra.frozen.binary16 import Binary16Array
from lutra.frozen.store import content_hash
from lutra.hardware import bench
from lutra.hardware.axi.package import (
    OTHER_IMAGE,
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
from lutra.recipes.bert import BertRecipe
from lutra.runs.files import RunFiles

HERE = Path(__file__).parent
STATUSES = (OTHER_IMAGE, Status("WRONG_INPUT", "no sentences, too many, or one with no tokens or too many"))
"""What functions of the C driver may answer beside those of all drivers."""
MEMORY_MODEL = ("bench.h", "axi_memory.h")
"""Of the bench: a memory behind AXI4."""


def package_run(
    files: RunFiles, recipe: BertRecipe, out: Path, name: str | None = None, method: str | None = None
) -> dict[str, Any]:
    """Write the accelerator of a method of a run, by default the first that BAT takes, as an IP core into the folder
    `out`; what it is.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        RunDirectoryError: no sentences in the run directory.
        InputError: no method that BAT takes, a wrong name, or `out` holds something else.
    """
    designs, refused = designs_of(files, recipe)
    found = {each.method: each for each in designs}
    wanted = method or next(iter(found), None)
    if wanted is None or wanted not in found:
        reasons = "; ".join(f"{each}: {why}" for each, why in refused.items())
        if wanted in refused:
            raise InputError(f"--method {wanted}: {refused[wanted]}")
        there = f"there are {', '.join(found)}" if found else f"BAT takes none of this run ({reasons})"
        raise InputError(f"--method {wanted}: unknown; {there}" if wanted else f"{files.root}: {there}")
    chosen = found[wanted]
    image = compiler.compile_model(chosen.model, chosen.config)
    core = BatCore(core_name(name, recipe.name), image)
    rows = read_sentences(files, recipe.accelerator.sentences).embedded(chosen.model)
    frozen_hash = content_hash(files.frozen / wanted)
    package = bat_package(core, chosen.model, rows, frozen_hash)
    written = package.write(out)
    lengths = [core.positions] * image.sentences
    return {
        "out": str(out),
        "name": core.name,
        "build_hash": package.build_hash,
        "frozen_hash": frozen_hash,
        "machine": f"BAT for {wanted}",
        "blocks": [],
        "bus_bits": {each.name: each.bits for each in core.interfaces},
        "cycles": predicted_cycles(core, lengths),
        "rows": sum(lengths),
        "files": len(written),
    }


def predicted_cycles(core: BatCore, lengths: Sequence[int]) -> int:
    """Of sentences of so many tokens beside a memory as the configuration has it."""
    programs = compiler.compile_sentences(core.image, list(lengths))
    return max(times[-1].end for times in schedule.program_times(programs, core.config)) + 1


def bat_package(core: BatCore, model: FrozenBert, rows: Sequence[Binary16Array], frozen_hash: str) -> Package:
    """The package of an accelerator, with embedded sentences `rows`, (tokens, width) each, and golden's last rows."""
    for each in rows:
        check_model(core.config, core.image.model, len(each))
    golden = [golden_trace(model, each)[1] for each in rows]
    image, steps = core.image, core.programs()
    weights = {f"image/{core.name}_weights.bin": image.data, f"image/{core.name}_programs.bin": steps.tobytes()}
    lengths = [core.positions] * image.sentences

    design = emit.bat_design(core.config)
    own = {name: design.files[name] for name in design.sources}
    tables = {name: text for name, text in design.files.items() if name.endswith(".hex")}

    def files_of(build_hash: str) -> dict[str, bytes]:
        registers = bat_registers(build_hash, image.program_addresses)
        shared = {"base_bit": BASE_BIT}
        outer = {
            f"{core.name}_registers.sv": render("registers.sv", core, registers),
            f"{core.name}_axi.sv": render("wrapper.sv", core, registers, HERE, **shared),
        }
        whole = Design.complete({**own, **outer}, library_files(emit.RTL))
        whole = Design({**whole.files, **tables}, {})
        vectors = {
            f"vectors/{core.name}_{number}.bin": vectors_file(build_hash, number, given, expected)
            for number, (given, expected) in enumerate(zip(rows, golden, strict=True))
        }
        images = {name: image_file(build_hash, content) for name, content in weights.items()}
        cycles = predicted_cycles(core, lengths)
        simulation = Simulation(cycles, STATUSES, list(vectors), list(images), memory_model())
        shown = {
            **shared,
            **shown_of(core, registers, build_hash, whole, simulation, list(tables)),
            "frozen_hash": frozen_hash,
            "cycles": cycles,
            "lengths": lengths,
            "programs": steps.shape,
            "attention_steps": compiler.ATTENTION_STEPS,
            "instruction_bytes": BYTES,
            "last_flag": divmod(FLAGS.index("last"), 8),
            "row_bytes": compiler.row_bytes(image.model.width),
        }
        texts = common_files(core, registers, whole, shown, HERE)
        return {**{name: text.encode() for name, text in texts.items()}, **images, **vectors}

    return sealed(core, [], frozen_hash, files_of)


@cache
def memory_model() -> dict[str, str]:
    """The files of the memory that the core's simulation has."""
    folder = Path(bench.__path__[0])
    return {name: (folder / name).read_text(encoding="utf-8") for name in MEMORY_MODEL}
