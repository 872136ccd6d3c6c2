"""The steps `rtl` and `simulate` of recipes of kind "bert": BAT for every method that it takes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra import children
from lutra.accelerators.bat import compiler, emit, simulate
from lutra.accelerators.bat.config import BatConfig, ModuleConfig, check_model, check_modules, sized_for
from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.resources import Sizes, Use, memory_use, total_use
from lutra.accelerators.bat.search import Device, devices
from lutra.accelerators.bat.simulate import Sentences
from lutra.errors import FrozenModelError, InputError, RunDirectoryError
from lutra.frozen import store
from lutra.frozen.bert import FrozenBert
from lutra.hardware.bench import verilator
from lutra.recipes.bert import BertRecipe, plan_stages
from lutra.runs.files import RunFiles
from lutra.runs.typed import write_evidence

logger = logging.getLogger("lutra")

IMAGE = "weights.bin"
"""What the accelerator's memory holds of a model, beside its RTL."""


@dataclass(frozen=True, eq=False)
class Design:
    """A method of a run and the accelerator that runs it."""

    method: str
    model: FrozenBert
    config: BatConfig

    def folder(self, files: RunFiles) -> Path:
        """Where its RTL lies."""
        return files.rtl / self.method


def check_recipe(recipe: BertRecipe) -> None:
    """Refuse an accelerator that fits no model at all, before anything is trained for it.

    Raises:
        InputError: parallelisms out of range or that contradict each other, or an unknown device.
    """
    check_modules(modules_of(recipe))
    device_of(recipe)


def modules_of(recipe: BertRecipe) -> tuple[ModuleConfig, ...]:
    """Those of the accelerator that a recipe asks for.

    Raises:
        InputError: parallelisms out of range.
    """
    section = recipe.accelerator
    lanes = (section.attention, section.feed_forward)[: section.modules]
    return tuple(ModuleConfig(**module.model_dump()) for module in lanes)


def designs_of(files: RunFiles, recipe: BertRecipe) -> tuple[list[Design], dict[str, str]]:
    """The frozen methods of a run that BAT takes, and why it does not take the others, by method.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        InputError: an accelerator out of range, or whose memories alone exceed the recipe's device.
    """
    section, device = recipe.accelerator, device_of(recipe)
    modules = modules_of(recipe)
    settings: dict[str, Any] = {
        "sums": section.sums,
        "memory_latency": section.memory_latency,
        "memory_gap": section.memory_gap,
        "clock_hz": section.clock_mhz * 1e6,
    }
    designs, refused = [], {}
    for plan in plan_stages(recipe):
        folder = files.frozen / plan.name
        if not folder.is_dir():
            continue  # a method without a frozen form
        model = FrozenBert.load(folder)
        positions = min(model.config.positions, recipe.max_length)
        config = sized_for(model.config, modules, positions=positions, **settings)
        try:
            check_model(config, model.config)
        except InputError as error:
            refused[plan.name] = str(error)
            continue
        if device is not None:
            require_fits(plan.name, _memories(config, model), device)
        designs.append(Design(plan.name, model, config))
    return designs, refused


def device_of(recipe: BertRecipe) -> Device | None:
    """The FPGA that the recipe names; None for "none".

    Raises:
        InputError: no such one is known.
    """
    name = recipe.accelerator.device
    if name != "none" and name not in devices():
        raise InputError(f"accelerator.device {name!r} is unknown; there are {', '.join(devices())} and none")
    return devices().get(name)


def require_fits(method: str, use: Use, device: Device) -> None:
    """Raise where a resource is exceeded.

    Raises:
        InputError: naming it, and what to choose smaller.
    """
    wanted = {"LUTs": use.lut_packed, "flip-flops": use.ff, "BRAMs": use.bram, "DSPs": use.dsp}
    has = {"LUTs": device.lut, "flip-flops": device.ff, "BRAMs": device.bram, "DSPs": device.dsp}
    for name, count in wanted.items():
        if count > has[name]:
            raise InputError(
                f"{method}: BAT takes {count:,.0f} {name}, the {device.name} has {has[name]:,}; choose smaller "
                'parallelisms, another accelerator.device, or "none"'
            )


def _memories(config: BatConfig, model: FrozenBert) -> Use:
    """Of all modules."""
    sizes = Sizes(Shape.of(model.config, config.positions), config.sums)
    last = len(config.modules) - 1
    return total_use(
        {
            str(index): memory_use(module, sizes, attention=index == 0, feed_forward=index == last)
            for index, module in enumerate(config.modules)
        }
    )


def write_rtl(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Write BAT's SystemVerilog, with an image of its weights, into `rtl/METHOD` for every method that it takes.

    Returns:
        `designs` by method: folder, modules, design hash, bytes of weights; `refused` by method, why.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        InputError: an accelerator out of range.
    """
    designs, refused = designs_of(files, recipe)
    written = {}
    for each in designs:
        design, image = emit.bat_design(each.config), compiler.compile_model(each.model, each.config)
        folder = each.folder(files)
        design.write(folder)
        (folder / IMAGE).write_bytes(image.data)
        written[each.method] = {
            "folder": str(folder.relative_to(files.root)),
            "modules": len(each.config.modules),
            "design_hash": design.content_hash,
            "weight_bytes": len(image.data),
        }
        logger.info("%s: %d files", folder, len(design.files))
    for method, reason in refused.items():
        logger.info("%s: no accelerator: %s", method, reason)
    return {"designs": written, "refused": refused}


def simulate_run(files: RunFiles, recipe: BertRecipe, sentences: int | None = None) -> dict[str, Any]:
    """Run sentences of the development set through every method that BAT takes; write and return the evidence.

    Raises:
        MismatchError: RTL and golden model, or measured and predicted cycles, differ; the evidence is written before.
        RunDirectoryError: no sentences in the run directory.
        InputError: a sentence that does not fit; ToolError: a tool is missing or fails.
    """
    designs, refused = designs_of(files, recipe)
    given = read_sentences(files, sentences or recipe.accelerator.sentences)
    results = {}
    for each in designs:
        with children.temporary_folder("bat") as temporary:
            waveform = files.root / "waveforms" / f"{each.method}.vcd"
            results[each.method] = simulate.simulate_model(each.model, each.config, given, temporary, waveform)
    evidence_of = {each.method: results[each.method].to_json(each.config, each.model) for each in designs}
    evidence = {
        "simulator": verilator.version(),
        "mismatches": sum(each["mismatches"] for each in evidence_of.values()),
        "cycles_match": all(each["cycles_match"] for each in evidence_of.values()),
        "designs": {
            each.method: {
                "frozen_hash": store.content_hash(files.frozen / each.method),
                "design_hash": emit.bat_design(each.config).content_hash,
                "config": each.config.to_mapping(),
                **evidence_of[each.method],
            }
            for each in designs
        },
        "refused": refused,
    }
    write_evidence(files, recipe, "simulate", evidence)
    for method, result in results.items():
        simulate.require_match(result, method)
    return evidence


def read_sentences(files: RunFiles, count: int) -> Sentences:
    """The first `count` sentences that freezing put into the run directory.

    Raises:
        RunDirectoryError: they cannot be read, or there are fewer.
    """
    try:
        tensors = store.read_tensors(files.samples)
    except FrozenModelError as error:
        raise RunDirectoryError(str(error)) from None
    found = [tensors.get(name) for name in ("tokens", "token_types", "lengths")]
    for array, dimensions in zip(found, (2, 2, 1), strict=True):
        if array is None or array.dtype.kind not in "iu" or array.ndim != dimensions or not array.size:
            raise RunDirectoryError(f"{files.samples}: holds no sentences; run `lutra freeze` again")
    tokens, types, lengths = (array for array in found if array is not None)
    fits = tokens.shape == types.shape and len(tokens) == len(lengths) and tokens.min() >= 0 and types.min() >= 0
    if not fits or lengths.min() < 1 or lengths.max() > tokens.shape[1]:
        raise RunDirectoryError(f"{files.samples}: sentences that do not fit each other; run `lutra freeze` again")
    return Sentences(tokens[:count], types[:count], lengths[:count])
