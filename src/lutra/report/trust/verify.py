"""What can be trusted of a run directory, or of a folder with a frozen model alone, that somebody else has made.

Everything is read and compared; nothing from the folder is run: no tool, no simulation, no training, no pickle.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from lutra.accelerators.bat import compiler, emit
from lutra.accelerators.bat.runs import IMAGE, designs_of, read_sentences
from lutra.accelerators.block.emit import fold_folder, run_design
from lutra.accelerators.block.simulate import captured_rows
from lutra.cost.accelerator import cost_of_bert
from lutra.cost.step import cost_of
from lutra.errors import InputError, LutraError
from lutra.escape import brief
from lutra.frozen import store
from lutra.frozen.bert import KIND as FROZEN_BERT
from lutra.frozen.bert import FrozenBert
from lutra.hardware.design import MANIFEST, Design
from lutra.limits import LOG_BYTES
from lutra.reading import read_bytes
from lutra.recipes.bert import BertRecipe, plan_stages
from lutra.recipes.kinds import kind_of, load_any_recipe, load_function
from lutra.recipes.sections import Experiment
from lutra.report.tables import Table
from lutra.report.trust import package
from lutra.report.trust.weights import checkpoint_problem
from lutra.runs.files import RunFiles
from lutra.runs.record import changed_outputs, read_steps
from lutra.runs.typed import read_evidence, read_lines, read_record
from lutra.sources import require_harmless

Verdict = Literal["holds", "FAILS", "not there", "not checked"]
ROWS = 8
"""Captured rows or sentences that must at least be readable."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    what: str

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return dict(vars(self))


def verify(root: Path) -> list[Finding]:
    """Look at everything in `root`: a run, an IP core, a folder of a frozen model, or one that holds `frozen`.

    Raises:
        InputError: it is none of these.
    """
    if (root / "recipe.toml").is_file():
        return list(_run(RunFiles(root)))
    if package.is_package(root):
        looked = [_looked(subject, look) for subject, look in package.checks(root)]
        return [*looked, *_unseen_of_package()]
    for folder in (root, root / "frozen"):
        if store.exists(folder):
            return [_looked("frozen model", functools.partial(_frozen, folder)), *_unseen(frozen_only=True)]
    raise InputError(
        f"{root}: neither a run (recipe.toml), nor a frozen model ({store.MODEL_FILE}), nor an IP core is there"
    )


def table(findings: list[Finding]) -> Table:
    """The findings, one row each."""
    rows = tuple((each.subject, each.verdict, each.what) for each in findings)
    return Table("What can be trusted", ("what", "verdict", "because"), rows)


def _looked(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, "holds", look())
    except LutraError as error:
        return Finding(subject, "FAILS", brief(str(error), 600))


def _run(files: RunFiles) -> Iterator[Finding]:
    try:
        recipe = load_any_recipe(files.recipe)
    except LutraError as error:
        yield Finding("recipe", "FAILS", brief(str(error), 600))
        yield Finding("everything else", "not checked", "what the files should be follows from the recipe")
        return
    kind = kind_of(recipe)
    yield Finding("recipe", "holds", f"{recipe.name}, kind {recipe.kind}, hash {recipe.content_hash()}")
    yield from _steps(files, recipe)
    for pattern, schema in kind.schemas.items():
        paths = sorted(path for path in files.root.glob(pattern) if path.is_file())
        if not paths:
            yield Finding(pattern, "not there", "")
            continue
        yield _looked(pattern, functools.partial(_schemas, paths, load_function(schema)))
    yield from _models(files, recipe)
    yield from _checkpoints(files)
    yield from _rtl(files, recipe)
    yield from _records(files, recipe)
    yield from _unseen(frozen_only=False)


def _steps(files: RunFiles, recipe: Experiment) -> Iterator[Finding]:
    try:
        steps = read_steps(files)
        changed = changed_outputs(files)
    except LutraError as error:
        yield Finding("steps.json", "FAILS", brief(str(error), 600))
        return
    if not steps.finished and not steps.failed:
        yield Finding("steps.json", "not there", "nothing says which files belong together")
        return
    other = [name for name, step in steps.finished.items() if step.recipe != recipe.content_hash()]
    inputs = {path: found for step in steps.finished.values() for path, found in step.inputs.items()}
    outputs = {path: found for step in steps.finished.values() for path, found in step.outputs.items()}
    older = sorted(path for path, found in inputs.items() if outputs.get(path, found) != found)
    for wrong, what in (
        (other, "steps of another recipe"),
        (sorted(changed), "files changed or removed after their step"),
        (older, "files that a later step has read in another state"),
        ([f"{name} ({reason})" for name, reason in steps.failed.items()], "steps that failed"),
    ):
        if wrong:
            yield Finding("steps.json", "FAILS", brief(f"{what}: {', '.join(wrong)}", 600))
            return
    yield Finding("steps.json", "holds", f"{len(steps.finished)} steps, {len(outputs)} files as they were written")


def _schemas(paths: list[Path], schema: type[BaseModel]) -> str:
    for path in paths:
        if path.suffix == ".jsonl":
            read_lines(path, schema, "do not trust it")
        else:
            read_record(path, schema, "run")
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''} as its schema says"


def _frozen(folder: Path) -> str:
    structure, _ = store.read_files(folder)
    if structure.get("kind") == FROZEN_BERT:
        FrozenBert.load(folder)
        return f"a BERT, content hash {store.content_hash(folder)[:16]}"
    model = store.load(folder)
    whole = "a whole model, " if model.whole is not None else ""
    return f"{whole}{len(model.graphs)} blocks, content hash {store.content_hash(folder)[:16]}"


def _models(files: RunFiles, recipe: Experiment) -> Iterator[Finding]:
    folders = [files.frozen, *sorted(files.root.glob("baselines/*/frozen"))]
    if isinstance(recipe, BertRecipe):
        folders = [files.frozen / plan.name for plan in plan_stages(recipe)]
    there = [folder for folder in folders if store.exists(folder)]
    if not there:
        yield Finding("frozen", "not there", "")
    for folder in there:
        yield _looked(f"{folder.relative_to(files.root)}", functools.partial(_frozen, folder))
    if there and files.samples.exists():
        yield _looked("frozen/samples.safetensors", lambda: _samples(files, recipe))


def _samples(files: RunFiles, recipe: Experiment) -> str:
    if isinstance(recipe, BertRecipe):
        return f"{len(read_sentences(files, ROWS).tokens)} sentences or more"
    found = captured_rows(files, store.load(files.frozen), ROWS)
    return f"rows of {len(found)} blocks"


def _checkpoints(files: RunFiles) -> Iterator[Finding]:
    paths = sorted({path for name in ("best", "last") for path in files.root.rglob(f"{name}.safetensors")})
    if paths:
        yield _looked("checkpoints", lambda: _weights(paths))


def _weights(paths: list[Path]) -> str:
    for path in paths:
        if problem := checkpoint_problem(path):
            raise InputError(f"{path}: {problem}")
    return f"{len(paths)} with their checksums"


def _rtl(files: RunFiles, recipe: Experiment) -> Iterator[Finding]:
    if not files.rtl.is_dir():
        yield Finding("rtl", "not there", "")
        return
    try:
        expected = dict(_designs(files, recipe))
    except LutraError as error:
        yield Finding("rtl", "not checked", brief(f"no frozen model to compare with: {error}", 600))
        return
    for folder in sorted(path for path in files.rtl.iterdir() if path.is_dir()):
        name = f"rtl/{brief(folder.name)}"
        if folder not in expected:
            yield Finding(name, "FAILS", "no design of this recipe and frozen model")
            continue
        yield _looked(name, functools.partial(_same, folder, *expected[folder]))


def _designs(files: RunFiles, recipe: Experiment) -> Iterator[tuple[Path, tuple[Design, Mapping[str, bytes]]]]:
    """The folder of each design, with the files that it must hold besides the design's."""
    if isinstance(recipe, BertRecipe):
        for each in designs_of(files, recipe)[0]:
            image = compiler.compile_model(each.model, each.config)
            yield each.folder(files), (emit.bat_design(each.config), {IMAGE: image.data})
    else:
        hardware = recipe.hardware  # type: ignore[attr-defined]
        for fold in dict.fromkeys([*hardware.fold_factors, *hardware.synthesise_fold_factors]):
            yield fold_folder(files, fold), (run_design(files, recipe, fold).design, {})  # type: ignore[arg-type]


def _same(folder: Path, design: Design, more: Mapping[str, bytes]) -> str:
    wanted = {**{name: text.encode() for name, text in design.files.items()}, **more}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    require_harmless(folder / name for name in sorted(found) if name.endswith((".sv", ".v", ".svh", ".vh")))
    for name in sorted(wanted.keys() | found):
        if name not in found:
            raise InputError(f"{name} is missing")
        if name not in wanted:
            raise InputError(f"{brief(name)} does not belong to the design")
        try:
            content = read_bytes(folder / name, max(LOG_BYTES, len(wanted[name])))
        except OSError as error:
            raise InputError(f"{name}: cannot read it ({error.strerror})") from None
        if content != wanted[name]:
            raise InputError(f"{name} is not what the frozen model gives")
    return f"{len(wanted)} files, every byte as the frozen model gives it"


def _records(files: RunFiles, recipe: Experiment) -> Iterator[Finding]:
    """Whether results are of the frozen model that is there, and follow from each other."""
    for step in ("evaluate", "simulate", "synth", "cost"):
        if getattr(files, step).exists():
            yield _looked(f"{step}.json, its sources", functools.partial(_record, files, recipe, step))


def _record(files: RunFiles, recipe: Experiment, step: str) -> str:
    content = read_evidence(files, recipe, step)
    if isinstance(recipe, BertRecipe):
        return _bert_record(files, recipe, step, content)
    claimed = content.get("frozen_hash")
    if claimed is not None and claimed != store.content_hash(files.frozen):
        raise InputError(f"made from the frozen model {claimed[:16]}, which is not the one here")
    if step == "synth":
        kept = {json.dumps(block, sort_keys=True) for block in _kept(files, recipe)}
        for target in content["targets"]:
            for block in target["blocks"] if target["target"] not in ("vivado", "dc") else ():
                if json.dumps({k: v for k, v in block.items() if k != "graph"}, sort_keys=True) not in kept:
                    raise InputError(f"{target['target']}, {block['name']}: not the result that the run keeps of it")
        return "the results that the run keeps of its blocks"
    if step == "cost":
        return _computed_again(content, cost_of(files, recipe))  # type: ignore[arg-type]
    return "says nothing of a frozen model" if claimed is None else "of the frozen model that is here"


def _kept(files: RunFiles, recipe: Experiment) -> Iterator[dict[str, Any]]:
    schema = load_function(kind_of(recipe).schemas["synth/*/*/result.json"])
    for path in sorted(files.root.glob("synth/*/*/result.json")):
        yield read_record(path, schema, "synth --fresh")


def _bert_record(files: RunFiles, recipe: BertRecipe, step: str, content: dict[str, Any]) -> str:
    if step == "cost":
        return _computed_again(content, cost_of_bert(files, recipe))
    if step != "simulate":
        return "says nothing of a frozen model"
    for method, design in content["designs"].items():
        if design["frozen_hash"] != store.content_hash(files.frozen / method):
            raise InputError(f"{method}: made from another frozen model than the one here")
    return "of the frozen models that are here"


def _computed_again(content: dict[str, Any], again: dict[str, Any]) -> str:
    if json.loads(json.dumps(again)) != content:
        raise InputError("not what follows from the frozen model, simulate.json and synth.json")
    return "computed again from the frozen model, simulate.json and synth.json: equal"


def _unseen_of_package() -> Iterator[Finding]:
    yield Finding("origin", "not checked", "hashes say that files belong together, not who made them")
    yield Finding("frozen model", "not checked", "only `lutra package` of the run can write the same files again")


def _unseen(frozen_only: bool) -> Iterator[Finding]:
    yield Finding("origin", "not checked", "hashes say that files belong together, not who made them")
    if frozen_only:
        yield Finding("accuracy", "not checked", "a frozen model says what it computes, not how well")
        return
    yield Finding("training and losses", "not checked", "only training and `lutra evaluate` can repeat them")
    yield Finding("simulation and synthesis", "not checked", "only `lutra simulate` and `lutra synth` can repeat them")
