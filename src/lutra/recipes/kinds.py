"""The registry of kinds of recipe: what a recipe of each kind consists of, its steps, and what shows their results.

What stands here as `module:function` is imported when it is called, so that a command starts in a blink.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lutra.errors import RecipeError
from lutra.names import shown
from lutra.recipes.bert import BertRecipe
from lutra.recipes.convert import ConvertRecipe
from lutra.recipes.frozen import FrozenRecipe
from lutra.recipes.language import Recipe
from lutra.recipes.sections import Experiment, apply_override, read_overridden, validate
from lutra.recipes.vision import VisionRecipe


@dataclass(frozen=True)
class Step:
    """One step: what it calls, whose files it reads, and which files it writes.

    `function` is `module:name`, imported only when the step runs. `writes` are glob patterns below the run directory.
    """

    name: str
    function: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    narrowing_options: frozenset[str] = frozenset()
    """Options with which the step does less than the recipe asks for: its result does not count as finished."""
    blocks_only: bool = False
    """Whether the step handles weightless blocks, and so is left out for a model without any."""
    hardware_only: bool = False
    """Whether the step handles RTL, and so is left out where none is generated."""

    def concerns(self, recipe: Experiment) -> bool:
        """Whether a run of a recipe has this step."""
        if self.blocks_only and not recipe.has_blocks:
            return False
        return recipe.has_hardware or not self.hardware_only


@dataclass(frozen=True)
class Kind:
    """One kind of recipe. Its functions take the run's files and its recipe first."""

    recipe: type[Experiment]
    steps: tuple[Step, ...]
    tables: str
    """`(files, recipe, step)` -> the tables that a step, or a whole run ("run"), has numbers for."""
    summarise: str
    """What a run has measured so far, for the record."""
    require_complete: str
    """Raises where a run can not be recorded yet."""
    results_table: str
    """Recorded entries -> the table of `lutra results list`."""
    schemas: dict[str, str]
    """Glob pattern of a JSON file below the run directory -> its schema."""
    record: str
    """Schema of a file of the record."""
    record_folder: str = ""
    """Below the folder of the record."""
    generate: str | None = None
    """Writes text; None for models that write none."""
    package: str | None = None
    """`(files, recipe, out, ...)`: writes an IP core of weightless blocks; None for models that have none."""
    machine: str | None = None
    """`(files, recipe, out, name, method)`: writes an IP core of the machine that runs the whole model; None where
    there is no such machine."""
    bitstream: str | None = None
    """`(files, recipe, board, ...)`: writes a bitstream; None likewise."""
    check: str | None = None
    """`(recipe)`; raises where a later step could not do what a recipe asks for, before the first one begins."""

    def call(self, function: str, *arguments: Any, **options: Any) -> Any:
        """Call one of the functions above."""
        return load_function(function)(*arguments, **options)


def load_function(function: str) -> Any:
    """The function that `module:name` stands for."""
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)


_MAX_MINUTES = frozenset({"max_minutes"})
_SCHEMAS = "lutra.runs.schemas"
_RTL = {"rtl/*/rtl.json": f"{_SCHEMAS}.rtl:Manifest"}
_BLOCK_SCHEMAS = {
    **_RTL,
    "simulate.json": f"{_SCHEMAS}.simulation:BlockSimulation",
    "synth.json": f"{_SCHEMAS}.synthesis:Synthesis",
    "synth/*/*/result.json": f"{_SCHEMAS}.synthesis:KeptResult",
    "cost.json": f"{_SCHEMAS}.costs:Cost",
}
_MACHINE_SCHEMAS = {
    "machine.json": f"{_SCHEMAS}.simulation:MachineSimulation",
    "machine_synth.json": f"{_SCHEMAS}.machine:MachineSynthesis",
    "synth_machine/machine_*/result.json": f"{_SCHEMAS}.machine:KeptModules",
    "synth_machine/block_*/result.json": f"{_SCHEMAS}.machine:KeptModules",
    "synth_machine/asic_*/result.json": f"{_SCHEMAS}.machine:KeptCells",
    "machine_cost.json": f"{_SCHEMAS}.machine:MachineCost",
}
_TRAINING_SCHEMAS = {
    "train/log.jsonl": f"{_SCHEMAS}.training:LogLine",
    "baselines/*/train/log.jsonl": f"{_SCHEMAS}.training:LogLine",
}

LANGUAGE = Kind(
    Recipe,
    (
        Step("train", "lutra.train.loop:train_run", (), ("train/log.jsonl", "train/best.safetensors"), _MAX_MINUTES),
        Step(
            "baselines",
            "lutra.train.loop:train_baselines",
            (),
            ("baselines/*/train/log.jsonl", "baselines/*/train/best.safetensors"),
            _MAX_MINUTES,
        ),
        Step(
            "freeze",
            "lutra.freeze.step:freeze_run",
            ("train", "baselines"),
            ("frozen/*", "baselines/*/frozen/*"),
        ),
        Step(
            "evaluate",
            "lutra.evaluate.language:evaluate_run",
            ("train", "baselines", "freeze"),
            ("evaluate.json", "sample.txt"),
            frozenset({"engine"}),
        ),
        Step("rtl", "lutra.accelerators.transformer.runs:write_rtl", ("freeze",), ("rtl/**/*",), hardware_only=True),
        Step(
            "simulate",
            "lutra.accelerators.transformer.runs:simulate_run",
            ("freeze", "rtl"),
            ("simulate.json", "machine.json"),
            frozenset({"fold_factors", "rows"}),
            hardware_only=True,
        ),
        Step(
            "synth",
            "lutra.accelerators.transformer.synthesis.step:synthesise_run",
            ("freeze", "rtl"),
            ("synth.json", "machine_synth.json"),
            hardware_only=True,
        ),
        Step(
            "cost",
            "lutra.cost.machine_step:cost_run",
            ("freeze", "simulate", "synth"),
            ("cost.json", "machine_cost.json"),
            hardware_only=True,
        ),
        Step(
            "report",
            "lutra.report.build:report_run",
            ("train", "baselines", "freeze", "evaluate", "simulate", "synth", "cost"),
            ("report.html",),
        ),
    ),
    tables="lutra.report.machine.tables:summary_tables",
    summarise="lutra.report.record:summarise_language",
    require_complete="lutra.report.record:require_complete_language",
    results_table="lutra.report.tables:results_table",
    schemas={
        **_TRAINING_SCHEMAS,
        "evaluate.json": f"{_SCHEMAS}.evaluation:LanguageEvaluation",
        **_BLOCK_SCHEMAS,
        **_MACHINE_SCHEMAS,
    },
    record=f"{_SCHEMAS}.recorded:LanguageRecord",
    generate="lutra.evaluate.language:generate_from_run",
    package="lutra.accelerators.block.package:package_run",
    machine="lutra.accelerators.transformer.ip.package:package_run",
    bitstream="lutra.accelerators.block.bitstream:bitstream_run",
)

BERT = Kind(
    BertRecipe,
    (
        Step(
            "train",
            "lutra.train.chain:train_chain",
            (),
            ("stages/*/log.jsonl", "stages/*/best.safetensors", "stages/*/result.json"),
            _MAX_MINUTES,
        ),
        Step("freeze", "lutra.freeze.step_bert:freeze_chain", ("train",), ("frozen/*/*", "frozen/*.safetensors")),
        Step("evaluate", "lutra.evaluate.bert:evaluate_chain", ("train", "freeze"), ("evaluate.json",)),
        Step("rtl", "lutra.accelerators.bat.runs:write_rtl", ("freeze",), ("rtl/**/*",)),
        Step(
            "simulate",
            "lutra.accelerators.bat.runs:simulate_run",
            ("freeze", "rtl"),
            ("simulate.json",),
            frozenset({"sentences"}),
        ),
        Step("synth", "lutra.accelerators.bat.measure:synthesise_run", ("freeze", "rtl"), ("synth.json",)),
        Step("cost", "lutra.cost.accelerator:cost_bert", ("freeze", "simulate", "synth"), ("cost.json",)),
        Step(
            "report",
            "lutra.report.bert:report_bert",
            ("train", "evaluate", "simulate", "synth", "cost"),
            ("report.html",),
        ),
    ),
    tables="lutra.report.bert:summary_tables",
    summarise="lutra.report.record:summarise_bert",
    require_complete="lutra.report.record:require_complete_bert",
    results_table="lutra.report.bert:results_table",
    schemas={
        "stages/*/log.jsonl": f"{_SCHEMAS}.training:StageLogLine",
        "stages/*/result.json": f"{_SCHEMAS}.training:StageResult",
        "evaluate.json": f"{_SCHEMAS}.evaluation:BertEvaluation",
        **_RTL,
        "simulate.json": f"{_SCHEMAS}.simulation:BatSimulation",
        "synth.json": f"{_SCHEMAS}.bat:BatSynthesis",
        "cost.json": f"{_SCHEMAS}.bat:BatCost",
    },
    record=f"{_SCHEMAS}.recorded:BertRecord",
    record_folder="bert",
    machine="lutra.accelerators.bat.ip.package:package_run",
    check="lutra.accelerators.bat.runs:check_recipe",
)

CONVERT = Kind(
    ConvertRecipe,
    (
        Step("plan", "lutra.train.healing.run:plan_run", (), ("plan.json", "source.json")),
        Step("fit", "lutra.train.healing.run:fit_run", ("plan",), ("fit.json", "fitted/*")),
        Step("heal", "lutra.train.healing.run:heal_run", ("plan", "fit"), ("heal/log.jsonl", "model/*"), _MAX_MINUTES),
        Step(
            "baselines",
            "lutra.train.healing.run:baselines_run",
            ("plan",),
            ("baselines/none/log.jsonl", "baselines/none/model.safetensors"),
            _MAX_MINUTES,
        ),
        Step("freeze", "lutra.freeze.step_convert:freeze_run", ("heal",), ("frozen/*",)),
        Step(
            "evaluate",
            "lutra.evaluate.convert:evaluate_run",
            ("plan", "heal", "baselines", "freeze"),
            ("evaluate.json",),
        ),
        Step("rtl", "lutra.accelerators.block.emit:write_rtl", ("freeze",), ("rtl/**/*",)),
        Step(
            "simulate",
            "lutra.accelerators.block.simulate:simulate_run",
            ("freeze", "rtl"),
            ("simulate.json",),
            frozenset({"fold_factors", "rows"}),
        ),
        Step("synth", "lutra.accelerators.block.synthesise:synthesise_run", ("freeze", "rtl"), ("synth.json",)),
        Step("cost", "lutra.cost.step:cost_run", ("plan", "freeze", "simulate", "synth"), ("cost.json",)),
        Step(
            "report",
            "lutra.report.convert:report_run",
            ("plan", "fit", "heal", "baselines", "freeze", "evaluate", "simulate", "synth", "cost"),
            ("report.html",),
        ),
    ),
    tables="lutra.report.convert:summary_tables",
    summarise="lutra.report.convert:summarise",
    require_complete="lutra.report.convert:require_complete",
    results_table="lutra.report.convert:results_table",
    schemas={
        "source.json": f"{_SCHEMAS}.conversion:Source",
        "plan.json": f"{_SCHEMAS}.conversion:ConversionPlan",
        "fit.json": f"{_SCHEMAS}.conversion:Fit",
        "heal/log.jsonl": f"{_SCHEMAS}.training:HealingLine",
        "baselines/none/log.jsonl": f"{_SCHEMAS}.training:HealingLine",
        "evaluate.json": f"{_SCHEMAS}.evaluation:ConvertEvaluation",
        **_BLOCK_SCHEMAS,
    },
    record=f"{_SCHEMAS}.recorded:ConvertRecord",
    record_folder="convert",
    package="lutra.accelerators.block.package:package_run",
    bitstream="lutra.accelerators.block.bitstream:bitstream_run",
)

_HARDWARE_STEPS = LANGUAGE.steps[4:]

VISION = Kind(
    VisionRecipe,
    (
        Step(
            "train", "lutra.train.vision:train_vision", (), ("train/log.jsonl", "train/best.safetensors"), _MAX_MINUTES
        ),
        Step(
            "baselines",
            "lutra.train.vision:train_vision_baselines",
            (),
            ("baselines/*/train/log.jsonl", "baselines/*/train/best.safetensors"),
            _MAX_MINUTES,
        ),
        Step(
            "freeze",
            "lutra.freeze.step:freeze_vision",
            ("train", "baselines"),
            ("frozen/*", "baselines/*/frozen/*"),
        ),
        Step(
            "evaluate",
            "lutra.evaluate.vision:evaluate_vision",
            ("train", "baselines", "freeze"),
            ("evaluate.json",),
            frozenset({"engine"}),
        ),
        *_HARDWARE_STEPS,
    ),
    tables="lutra.report.machine.tables:summary_tables",
    summarise="lutra.report.record:summarise_language",
    require_complete="lutra.report.record:require_complete_language",
    results_table="lutra.report.tables:vision_results_table",
    schemas={
        **_TRAINING_SCHEMAS,
        "evaluate.json": f"{_SCHEMAS}.evaluation:VisionEvaluation",
        **_BLOCK_SCHEMAS,
        **_MACHINE_SCHEMAS,
    },
    record=f"{_SCHEMAS}.recorded:VisionRecord",
    record_folder="vision",
    package="lutra.accelerators.block.package:package_run",
    machine="lutra.accelerators.transformer.ip.package:package_run",
    bitstream="lutra.accelerators.block.bitstream:bitstream_run",
)

_BLOCK_STEPS = (
    Step("rtl", "lutra.accelerators.block.emit:write_rtl", ("freeze",), ("rtl/**/*",), blocks_only=True),
    Step(
        "simulate",
        "lutra.accelerators.block.simulate:simulate_run",
        ("freeze", "rtl"),
        ("simulate.json",),
        frozenset({"fold_factors", "rows"}),
        blocks_only=True,
    ),
    Step(
        "synth",
        "lutra.accelerators.block.synthesise:synthesise_run",
        ("freeze", "rtl"),
        ("synth.json",),
        blocks_only=True,
    ),
    Step("cost", "lutra.cost.step:cost_run", ("freeze", "simulate", "synth"), ("cost.json",), blocks_only=True),
)

FROZEN = Kind(
    FrozenRecipe,
    (
        Step("check", "lutra.accelerators.block.check:check_run", (), ("frozen/*",)),
        *(replace(step, reads=tuple({"freeze": "check"}.get(n, n) for n in step.reads)) for step in _BLOCK_STEPS),
        Step("report", "lutra.report.frozen:report_run", ("check", "simulate", "synth", "cost"), ("report.html",)),
    ),
    tables="lutra.report.tables:summary_tables",
    summarise="lutra.report.record:summarise_language",
    require_complete="lutra.report.frozen:require_complete",
    results_table="lutra.report.tables:results_table",
    schemas=_BLOCK_SCHEMAS,
    record=f"{_SCHEMAS}.recorded:LanguageRecord",
    record_folder="frozen",
    package="lutra.accelerators.block.package:package_run",
    bitstream="lutra.accelerators.block.bitstream:bitstream_run",
)

KINDS: dict[str, Kind] = {
    "language": LANGUAGE,
    "bert": BERT,
    "convert": CONVERT,
    "vision": VISION,
    "frozen": FROZEN,
}
"""Every kind by the `kind` of its recipes; a recipe that names none is a language model's."""


def kind_of(recipe: Experiment) -> Kind:
    """The kind of a recipe."""
    return KINDS[recipe.kind]


def load_any_recipe(path: Path, overrides: list[str] | None = None) -> Experiment:
    """Read a recipe of any kind and apply `key.path=value` overrides (TOML values; bare words are strings).

    Raises:
        RecipeError: no such file, not TOML, an unknown kind, or not a valid recipe.
    """
    tree = read_overridden(path)
    kind = tree.get("kind", "language")
    if not isinstance(kind, str) or kind not in KINDS:
        raise RecipeError(f"{path}: kind {shown(str(kind))} is unknown; the kinds are {', '.join(KINDS)}")
    recipe = KINDS[kind].recipe
    for override in overrides or []:
        apply_override(tree, override, recipe)
    return validate(recipe, tree, str(path))
