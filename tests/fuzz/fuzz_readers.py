"""Every kind of file that Lutra reads: where a sound one is, how it is signed, and what reads it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

import fuzz_mutants as mutants
from lutra.frozen import golden, store
from lutra.frozen.bert import FrozenBert
from lutra.frozen.graph import FrozenModel
from lutra.recipes.bert import BertRecipe
from lutra.recipes.kinds import kind_of, load_any_recipe, load_function
from lutra.report.record import add_exploration, add_result, list_results, summarise
from lutra.report.trust.verify import verify
from lutra.runs.files import RunFiles
from lutra.runs.steps import load_run
from lutra.sources import listed_sources, require_harmless

Reader = Callable[[Path, Path], None]
"""Reads a tree in which one file is a mutant (its root, the file)."""


@dataclass(frozen=True)
class Target:
    """One kind of file: a pattern below a tree, and what reads it."""

    pattern: str
    read: Reader
    form: str = "json"
    """"json", "lines", "toml", "tensors", "checkpoint", "frozen" or "bytes": which fields it has, how it is signed."""
    torch: bool = False
    """Whether PyTorch reads it."""

    def mutant(self, draw: random.Random, path: Path) -> dict[Path, bytes]:
        """The files that change, the mutant first."""
        content = path.read_bytes()
        if draw.random() < 0.25 or self.form == "bytes":
            return {path: mutants.mutate_bytes(draw, content)}
        if self.form in ("json", "lines", "toml"):
            return {path: getattr(mutants, f"mutate_{self.form}")(draw, content)}
        if self.form == "frozen":
            return _frozen(draw, path)
        tensors, notes = mutants.read_tensors(content)
        if self.form == "checkpoint" and draw.random() < 0.5:
            notes = {**notes, "lutra": json.dumps(mutants.mutate_document(draw, json.loads(notes["lutra"])))}
        else:
            tensors = mutants.mutate_tensors(draw, tensors)
        if "sha256" in notes:
            notes = {**notes, "sha256": _checksum(tensors, notes["lutra"])}
        return {path: mutants.write_tensors(tensors, notes)}


def _frozen(draw: random.Random, path: Path) -> dict[Path, bytes]:
    """Of a frozen model's two files, signed again."""
    folder = path.parent
    structure = json.loads((folder / store.MODEL_FILE).read_text())
    structure.pop("content_hash")
    tensors, notes = mutants.read_tensors((folder / store.TENSOR_FILE).read_bytes())
    if path.name == store.MODEL_FILE:
        structure = mutants.mutate_document(draw, structure)
    else:
        tensors = mutants.mutate_tensors(draw, tensors)
    content = mutants.write_tensors(tensors, notes)
    if isinstance(structure, dict):
        try:
            signed = {**structure, "content_hash": store._content_hash(structure, store.parse_tensors(content))}
        except Exception:
            signed = structure
    else:
        signed = structure
    return {folder / store.MODEL_FILE: json.dumps(signed).encode(), folder / store.TENSOR_FILE: content}


_TYPES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "U8": "uint8", "BOOL": "bool"}


def _checksum(tensors: mutants.Tensors, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, (dtype, shape, data) in sorted(tensors.items()):
        named = _TYPES.get(dtype, dtype.replace("I", "int"))
        digest.update(f"\n{name} {named} {tuple(shape)}\n".encode(errors="surrogatepass") + data)
    return digest.hexdigest()


def sign(root: Path, changed: dict[Path, bytes]) -> None:
    """Let `steps.json` say that the changed files are as their steps wrote them."""
    steps = root / "steps.json"
    if not steps.is_file() or steps in changed:
        return
    document = json.loads(steps.read_text())
    digests = {path.relative_to(root).as_posix(): hashlib.sha256(text).hexdigest() for path, text in changed.items()}
    for step in document.get("finished", document).values():
        for key in ("inputs", "outputs"):
            step[key] = {path: digests.get(path, found) for path, found in step.get(key, {}).items()}
    steps.unlink()
    steps.write_text(json.dumps(document))


# What reads them.


def read_run(root: Path, path: Path) -> None:
    """Tables, summary and record of a run."""
    files, recipe = load_run(root)
    kind = kind_of(recipe)
    for table in kind.call(kind.tables, files, recipe, "run"):
        assert all(isinstance(cell, str) for row in table.rows for cell in row)
    json.dumps(summarise(files, recipe), allow_nan=False)
    if recipe.kind == "frozen":  # of which nothing is recorded
        return
    add_result(files, recipe, root / "results")
    for name, entries in list_results(root / "results").items():
        assert isinstance(load_function(_results_table(name))(entries).rows, tuple)


def report_run(root: Path, path: Path) -> None:
    """The page of a run."""
    files, recipe = load_run(root)
    load_function(kind_of(recipe).steps[-1].function)(files, recipe)
    page = files.report.read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page


def _results_table(kind: str) -> str:
    from lutra.recipes.kinds import KINDS

    return KINDS[kind].results_table


def verify_run(root: Path, path: Path) -> None:
    """`lutra verify` finds a fault, or none; it never fails itself."""
    findings = verify(root)
    assert all(str(finding.to_json()).isprintable() for finding in findings)


def cost_run(root: Path, path: Path) -> None:
    """The cost of a run from its simulation and synthesis."""
    from lutra.cost.step import cost_of

    files, recipe = load_run(root)
    if not isinstance(recipe, BertRecipe):
        json.dumps(cost_of(files, recipe), allow_nan=False)


def read_frozen(root: Path, path: Path) -> None:
    """A frozen model that loads computes within its types, and its RTL is harmless."""
    folder = path.parent
    try:
        of_bert = "bert" in json.loads((folder / store.MODEL_FILE).read_text())
    except (ValueError, TypeError, RecursionError):
        of_bert = False
    if of_bert:
        FrozenBert.load(folder).check()
        return
    model = store.load(folder)
    if model.whole is None:
        compute(model, folder)


def compute(model: FrozenModel, folder: Path) -> None:
    """Golden values of a few rows of every small graph, and its SystemVerilog."""
    from lutra.accelerators.block.emit import generate_rtl

    for graph in model.graphs:
        low, high = graph.input_type.minimum, graph.input_type.maximum
        rows = np.random.default_rng(0).integers(low, high + 1, (3, graph.input_width))
        found, type_ = golden.run(graph, rows), graph.output_type
        assert found.min(initial=0) >= type_.minimum and found.max(initial=0) <= type_.maximum
    written = generate_rtl(model, folder / "fuzzed-rtl", 1)
    require_harmless(each for each in written if each.suffix == ".sv")


def read_recipe(root: Path, path: Path) -> None:
    """A recipe that is taken reads back equal."""
    from lutra.runs.claim import save_recipe

    recipe = load_any_recipe(path)
    again = path.with_name("again.toml")
    save_recipe(recipe, again)
    assert load_any_recipe(again) == recipe


def read_space(root: Path, path: Path) -> None:
    """A space of an exploration."""
    from lutra.explore.space import load_space

    load_space(path)


def read_exploration(root: Path, path: Path) -> None:
    """The record of an exploration: shown again, and recorded."""
    from lutra.explore.sweep import load_exploration
    from lutra.explore.table import exploration_tables, failures, markdown

    record = load_exploration(path.parent)
    exploration_tables(record)
    markdown(record)
    failures(record)
    into = root / "into"
    add_exploration(path.parent, into)
    assert [each.relative_to(into).parts[0] for each in into.rglob("*")]


def read_record(root: Path, path: Path) -> None:
    """Files of the record, and the papers' tables that read them."""
    from lutra.papers.catalogue import table
    from lutra.papers.records import Records

    results = root / "results"
    for name, entries in list_results(results).items():
        load_function(_results_table(name))(entries)
    for name in ("bmt-4", "quweit-2", "quweit-4"):
        table(name, Records(results)).to_markdown()


def read_rtl(root: Path, path: Path) -> None:
    """What is looked at before a tool reads a folder of SystemVerilog."""
    require_harmless(path.parent / source for source in listed_sources(path.parent))


def read_manifest(root: Path, path: Path) -> None:
    """Whether a folder of RTL is current."""
    from lutra.accelerators.block.emit import run_design

    files, recipe = load_run(root)
    if not isinstance(recipe, BertRecipe):
        run_design(files, recipe, 1).design.is_current(path.parent)


def read_trained(root: Path, path: Path) -> None:
    """The best model of a language or vision run, and a training that would go on."""
    from lutra.train.checkpoint import load_model, load_vision_model

    files, recipe = load_run(root)
    language = recipe.kind == "language"
    if path.name == "best.safetensors":
        (load_model if language else load_vision_model)(RunFiles(path.parents[1]))
    elif language:
        from lutra.train.loop import train_run

        train_run(files, recipe)


def read_stage(root: Path, path: Path) -> None:
    """The best model of a BERT's stage."""
    from lutra.runs.files import StageFiles
    from lutra.train.stage import load_stage

    load_stage(StageFiles(path.parent))


def read_converted(root: Path, path: Path) -> None:
    """A converted model of Hugging Face."""
    from lutra.models.convert.save import from_pretrained

    from_pretrained(path.parent)


def read_healing(root: Path, path: Path) -> None:
    """The checkpoint of a healing."""
    from lutra.train.checkpoint import read_checkpoint

    read_checkpoint(path)


def read_bert(root: Path, path: Path) -> None:
    """A pretrained BERT with its tokenizer."""
    from lutra.data.tokenizer import load_tokenizer
    from lutra.models.bert_files import load_bert

    load_bert(path.parent, 2)
    load_tokenizer(path.parent)


def read_glue(root: Path, path: Path) -> None:
    """A split of a GLUE task."""
    from lutra.data.glue import find_task, read_split

    task, split = path.name.split(".")[0].split("-")
    read_split(find_task(task), split, path.parent)


def read_images(root: Path, path: Path) -> None:
    """Images of a data set."""
    from lutra.data.images import load_images

    load_images("cifar10", str(path.parent))


def read_config(root: Path, path: Path) -> None:
    """A configuration of Hugging Face as the workload of a table."""
    from lutra.papers.verbs import workload_table

    workload_table("quweit-1", path, None)


RUN_TARGETS = (
    Target("recipe.toml", read_recipe, "toml"),
    Target("steps.json", read_run),
    Target("evaluate.json", read_run),
    Target("simulate.json", read_run),
    Target("synth.json", read_run),
    Target("cost.json", read_run),
    Target("machine.json", read_run),
    Target("machine_cost.json", read_run),
    Target("sample.txt", read_run, "bytes"),
    Target("train/log.jsonl", read_run, "lines"),
    Target("baselines/*/train/log.jsonl", read_run, "lines"),
    Target("stages/*/log.jsonl", verify_run, "lines"),
    Target("heal/log.jsonl", verify_run, "lines"),
    Target("stages/*/result.json", read_run),
    Target("source.json", read_run),
    Target("plan.json", read_run),
    Target("fit.json", read_run),
    Target("synth/*/*/result.json", verify_run),
    Target("rtl/*/rtl.json", read_manifest),
    Target("rtl/*/filelist.f", read_rtl, "bytes"),
    Target("frozen/model.json", read_frozen, "frozen"),
    Target("frozen/tensors.safetensors", read_frozen, "frozen"),
    Target("frozen/*/model.json", read_frozen, "frozen"),
    Target("frozen/*/tensors.safetensors", read_frozen, "frozen"),
    Target("frozen/samples.safetensors", verify_run, "tensors"),
    Target("train/best.safetensors", read_trained, "checkpoint", torch=True),
    Target("train/last.safetensors", read_trained, "checkpoint", torch=True),
    Target("stages/*/best.safetensors", read_stage, "checkpoint", torch=True),
    Target("heal/last.safetensors", read_healing, "checkpoint", torch=True),
    Target("model/lutra.json", read_converted, torch=True),
    Target("model/config.json", read_converted, torch=True),
    Target("model/model.safetensors", read_converted, "tensors", torch=True),
)
"""Of run directories; those that a kind does not have are passed over."""
SECOND_LOOK: dict[str, tuple[Reader, float]] = {
    "synth.json": (cost_run, 0.2),
    "simulate.json": (cost_run, 0.2),
    "frozen/*": (verify_run, 0.1),
    "*.json": (verify_run, 0.1),
    "[cems]*.json": (report_run, 0.1),
    "*log.jsonl": (report_run, 0.05),
}
"""Other readers of the same files of runs, by pattern, and how often they come."""
OTHER_TARGETS = (
    Target("space.toml", read_space, "toml"),
    Target("explored/explore.json", read_exploration),
    Target("results/demo.json", read_record),
    Target("results/bert/*.json", read_record),
    Target("results/explore/*.json", read_record),
    Target("results/synth/weightless_designs.json", read_record),
    Target("config.json", read_config),
    Target("checkpoint/config.json", read_bert, torch=True),
    Target("checkpoint/vocab.txt", read_bert, "bytes", torch=True),
    Target("checkpoint/model.safetensors", read_bert, "tensors", torch=True),
    Target("glue/MRPC-dev.tsv", read_glue, "bytes", torch=True),
    Target("images/data_batch_1.bin", read_images, "bytes", torch=True),
)


def others_of(target: Target) -> list[tuple[Reader, float]]:
    """Other readers of a file of a run, and how often they come."""
    run = target in RUN_TARGETS
    return [look for pattern, look in SECOND_LOOK.items() if run and fnmatch(target.pattern, pattern)]


def second_look(target: Target, draw: random.Random) -> Reader:
    """The target's reader, or at times another one of the same files."""
    for look, share in others_of(target):
        if draw.random() < share:
            return look
    return target.read
