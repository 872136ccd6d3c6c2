"""Every file has a schema that its writer and its readers pass; old files of this version still read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import lutra
from fabricated_run import exploration, make_finished_run, spread
from lutra.errors import LutraError, RunDirectoryError
from lutra.reading import parse_json
from lutra.recipes.kinds import KINDS, load_function
from lutra.report.record import add_result
from lutra.runs.schemas.exploration import ExplorationRecord
from lutra.runs.schemas.recorded import BertRecord, LanguageRecord
from lutra.runs.schemas.simulation import BlockSimulation
from lutra.runs.schemas.training import LogLine, StageResult
from lutra.runs.typed import (
    EVIDENCE,
    checked,
    read_evidence,
    read_lines,
    read_record,
    write_evidence,
    write_lines,
    write_record,
)

PACKAGE = Path(lutra.__file__).parent
RECORDED = PACKAGE / "papers" / "recorded"
PLAIN = {
    "reading.py",  # parses
    "runs/files.py",  # parses, within limits
    "runs/typed.py",  # passes schemas
    "runs/record.py",  # steps.json, with a schema of its own
    "runs/lock.py",  # the note on who holds a folder, too
    "frozen/store.py",  # frozen models, too
    "synth/tools/yosys.py",  # what a tool has just written
    "synth/tools/nextpnr.py",
    "synth/tools/ecp5.py",
    "accelerators/block/bitstream.py",  # what place and route has just written
    "papers/experiments/run.py",  # writes records of syntheses, read by papers.recorded_*
    "papers/experiments/asic_block.py",  # scripts that make such records
    "papers/experiments/encoded_values.py",
    "papers/experiments/machine_units.py",
    "papers/experiments/summed_blocks.py",
    "papers/recorded_designs.py",
    "models/bert_files.py",  # folders of Hugging Face
    "models/convert/hugging_face.py",
    "models/convert/save.py",  # lutra.json, checked by `Conversion`
    "models/convert/record_of.py",
    "models/convert/plan.py",  # turns tuples into lists
    "models/zoo.py",
    "data/glue.py",
    "data/tokenizer.py",
    "explore/hardware/record.py",  # which kind an exploration is, before its schema is known
    "papers/quweit/accuracy.py",
    "cost/huggingface.py",
    "train/checkpoint.py",  # notes of checkpoints, under a checksum
    "report/trust/verify.py",
    "report/trust/weights.py",
    "accelerators/block/synthesise.py",  # a hash of JSON
}
"""Files that read or write JSON without `runs.typed`, and why they may."""


def test_no_other_file_reads_or_writes_json_past_the_schemas():
    pattern = re.compile(r"\bjson\.loads?\(|\b(?:read|write)_json\(|\bparse_json\(")
    found = {p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())}
    assert found <= PLAIN, found - PLAIN


def test_every_kind_has_a_schema_for_its_files():
    for name, kind in KINDS.items():
        written = {pattern for step in kind.steps for pattern in step.writes}
        json_files = {pattern for pattern in written if pattern.endswith((".json", ".jsonl"))}
        assert json_files <= kind.schemas.keys() | {"evaluate.json"}, name
        for schema in (*kind.schemas.values(), kind.record):
            assert load_function(schema).model_config["extra"] == "forbid"


def test_what_was_recorded_before_reads_as_it_is():
    for schema, pattern in (
        (LanguageRecord, "*.json"),
        (BertRecord, "bert/*.json"),
        (ExplorationRecord, "explore/*.json"),
    ):
        paths = sorted(RECORDED.glob(pattern))
        assert paths
        for path in paths:
            content = json.loads(path.read_text())
            content.pop("format_version", None)
            assert read_record(path, schema, "results add") == content


def test_writers_and_readers_of_a_run_agree(tmp_path):
    files, recipe = make_finished_run(tmp_path / "run")
    for step in EVIDENCE:
        content = read_evidence(files, recipe, step)
        write_evidence(files, recipe, step, content)
        assert json.loads(getattr(files, step).read_text())["format_version"] == 1
        assert read_evidence(files, recipe, step) == content
    path, entry = add_result(files, recipe, tmp_path / "results")
    assert read_record(path, LanguageRecord, "results add")["results"] == [json.loads(json.dumps(entry))]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 2}, "format_version is 2, this Lutra reads 1"),
        ({"format_version": True}, "format_version is True"),
        ({"rows": "8"}, "rows: input should be a valid integer"),
        ({"rows": 1.0}, "rows"),
        ({"rows": 10**30}, "rows: "),
        ({"cycles_match": 1}, "cycles_match"),
        ({"more": 1}, "more: extra inputs are not permitted"),
        ({"mismatches": 1}, "mismatches is 1, its blocks give 0"),
        ({"stalled_cycles": {"source": 1, "sink": 0}}, "stalled_cycles.source is 1"),
        ({"simulator": "a\nb"}, "simulator: has the character U"),
    ],
)
def test_what_is_off_is_named_when_read_and_when_written(tmp_path, change, reason):
    files, recipe = make_finished_run(tmp_path / "run")
    content = json.loads(files.simulate.read_text())
    files.simulate.write_text(json.dumps({**content, **change}))
    with pytest.raises(RunDirectoryError) as caught:
        read_evidence(files, recipe, "simulate")
    assert reason in str(caught.value) and "run `lutra simulate` again" in str(caught.value)
    if "format_version" not in change:
        with pytest.raises(LutraError, match="not written"):
            write_record(tmp_path / "new.json", BlockSimulation, {**content, **change})
        assert not (tmp_path / "new.json").exists()


def test_numbers_that_are_none_are_not_written(tmp_path):
    for number in (float("nan"), float("inf")):
        with pytest.raises(LutraError, match="not finite"):
            write_record(tmp_path / "a.json", ExplorationRecord, exploration(variants=[{"loss": spread(number)}]))
        with pytest.raises(LutraError, match="not written"):
            write_lines(tmp_path / "log.jsonl", LogLine, [{"iteration": 1, "validation_loss": number}])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ["[]", "{", '{"iteration": 1}', '{"iteration": 1, "validation_loss": "1"}', "\ufeff"])
def test_a_line_of_a_log_that_is_off_is_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text('{"iteration": 0, "validation_loss": 1.0}\n' + line + "\n")
    with pytest.raises(RunDirectoryError, match=r"log\.jsonl: line 2"):
        read_lines(path, LogLine, "train again")
    path.write_bytes(b"\xff\n")
    with pytest.raises(RunDirectoryError, match=r"line 1 is not JSON"):
        read_lines(path, LogLine, "train again")
    assert read_lines(tmp_path / "none", LogLine, "train again") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantisation": {"weight_bits": 31}}, "weight_bits"),
        ({"quantisation": {"method": {}}}, "quantisation"),
        ({"layers": "2"}, "layers"),
    ],
)
def test_a_stage_whose_bert_is_none_is_named(tmp_path, change, words):
    stage = {
        "recipe_hash": None,
        "metric": "acc",
        **dict.fromkeys(("start_score", "best_score", "last_score", "seconds"), 1.0),
        "lessons": [],
        "iterations": 1,
        "packed": False,
        "environment": {},
    }
    assert checked({**stage, "bert": {"layers": 2}}, StageResult, tmp_path, "train again")["bert"] == {"layers": 2}
    with pytest.raises(RunDirectoryError, match=words):
        checked({**stage, "bert": change}, StageResult, tmp_path, "train again")


@pytest.mark.parametrize("content", [b'{"a": "' + b"x" * 10_000 + b'\xff"}', b'["' + b"x" * 10_000 + b'\\ud800"]'])
def test_what_is_no_text_is_refused_in_few_words(content):
    with pytest.raises(ValueError) as refused:
        parse_json(content)
    assert type(refused.value) is ValueError and len(repr(refused.value)) < 200
