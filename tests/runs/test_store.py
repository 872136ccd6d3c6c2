"""The run directory as a store: one process at a time, evidence as it was read, failures marked, no leftovers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fabricated_run import make_finished_run, make_started_run, small_recipe
from lutra.errors import LutraError, RunDirectoryError
from lutra.recipes.kinds import LANGUAGE
from lutra.recipes.language import load_recipe
from lutra.report.build import report_run
from lutra.report.record import add_result
from lutra.runs import files as files_module
from lutra.runs import steps as run_module
from lutra.runs.claim import save_recipe
from lutra.runs.files import RunFiles, clear_leftovers, write_text
from lutra.runs.lock import held
from lutra.runs.record import changed_outputs, failed_steps, finished_steps
from lutra.runs.steps import is_current, open_run, run_step, run_steps


@pytest.fixture
def started(tmp_path):
    return make_started_run(tmp_path / "run")


@pytest.fixture
def do(monkeypatch):
    """Let every step do what a test sets: a function of (files, recipe) by name; the default writes what it must."""
    outputs = {"train": "train/best.safetensors", "freeze": "frozen/model.json", "rtl": "rtl/fold_1/rtl.json"}
    actions: dict = {}

    def load(function: str):
        name = next(step.name for step in LANGUAGE.steps if step.function == function)

        def step(files, recipe, **options):
            write_text(files.root / outputs.get(name, f"{name}.json"), f"of {name}")
            return actions.get(name, lambda files, recipe: {})(files, recipe) or {}

        return step

    monkeypatch.setattr(run_module, "load_function", load)
    return actions


HOLDER = """
import sys, time
from pathlib import Path
from lutra.runs.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(started):
    """A process that holds the run."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(started[0].root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_process_is_told_who_holds_the_run(started, do, other_process):
    files, recipe = started
    holder = rf"run: process {other_process.pid} on .* since 20.* works there; wait for its end"
    for command in (
        lambda: run_steps(files, recipe),
        lambda: run_step(files, recipe, "cost"),
        lambda: open_run(recipe, files.root),
    ):
        with pytest.raises(RunDirectoryError, match=holder):
            command()
    other_process.kill()
    other_process.wait()
    run_step(files, recipe, "cost")  # the lock of a process that was killed is free
    assert not (files.root / ".holder.json").exists()


@pytest.mark.parametrize("note", [b"", b"[]", b'{"process": "x"}', b"\xff", b'{"process": 1, "host": "h\\u001b[2J"}'])
def test_a_damaged_note_of_the_holder_does_not_matter(started, do, other_process, note):
    (started[0].root / ".holder.json").write_bytes(note)
    with pytest.raises(RunDirectoryError, match="another process works there"):
        run_step(*started, "cost")


def test_the_lock_is_taken_again_by_the_process_that_holds_it(started):
    with held(started[0].root), held(started[0].root):
        pass
    with held(started[0].root):
        pass


def test_a_folder_with_a_lock_alone_is_free_for_a_run(tmp_path):
    with held(tmp_path):
        pass
    write_text(tmp_path / ".lutra.recipe.toml.abcdefgh", "half")
    assert open_run(small_recipe(), tmp_path).recipe.exists()


def test_what_changes_while_a_step_runs_leaves_no_result_that_counts(started, do):
    files, recipe = started
    run_step(files, recipe, "train")
    run_step(files, recipe, "freeze")
    assert is_current(files, recipe, "freeze")

    def disturbed(files, recipe):
        (files.root / "train" / "best.safetensors").write_text("of somebody else")

    do["freeze"] = disturbed
    with pytest.raises(RunDirectoryError, match=r"best.safetensors: was changed while freeze ran"):
        run_step(files, recipe, "freeze")
    assert "freeze" not in finished_steps(files)
    assert "was changed while freeze ran" in failed_steps(files)["freeze"]


def test_what_was_read_counts_even_if_it_is_put_back_afterwards(started, do):
    from lutra.reading import read_bytes

    files, recipe = started
    run_step(files, recipe, "train")
    checkpoint = files.root / "train" / "best.safetensors"

    def read_another(files, recipe):
        checkpoint.write_text("of somebody else")
        read_bytes(checkpoint, 1000)
        checkpoint.write_text("of train")

    do["freeze"] = read_another
    with pytest.raises(RunDirectoryError, match="was changed while freeze ran"):
        run_step(files, recipe, "freeze")
    do["freeze"] = lambda files, recipe: read_bytes(checkpoint, 1000) and {}
    run_step(files, recipe, "freeze")


def test_a_step_may_renew_what_it_reads(started, do):
    """As simulate does with RTL that is not of the frozen model."""
    files, recipe = started
    for name in ("train", "freeze", "rtl"):
        run_step(files, recipe, name)
    do["simulate"] = lambda files, recipe: write_text(files.root / "rtl" / "fold_1" / "rtl.json", "newer")
    run_step(files, recipe, "simulate")
    assert is_current(files, recipe, "simulate")
    assert not is_current(files, recipe, "rtl")


def test_leftovers_are_never_evidence_and_go_at_the_next_start(started, do):
    files, recipe = started
    run_step(files, recipe, "train")
    run_step(files, recipe, "freeze")
    run_step(files, recipe, "rtl")
    left = [
        "frozen/.lutra.model.json.abcd1234",
        "frozen/.model.json.abcd1234",
        ".sample.txt.abcd1234",
        "rtl/.lutra.fold_all.abcd1234/block_0.sv",
        "rtl/.fold_all.abcd1234.old/block_0.sv",
    ]
    for name in left:
        path = files.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    kept = [".gitignore", "frozen/.DS_Store", "notes.txt"]
    for name in kept:
        (files.root / name).write_text("of the user")
    assert is_current(files, recipe, "freeze") and is_current(files, recipe, "rtl")
    run_step(files, recipe, "freeze")
    assert list(finished_steps(files)["freeze"]["outputs"]) == ["frozen/model.json"]
    assert [name for name in left if (files.root / name).exists()] == []
    assert [name for name in kept if (files.root / name).exists()] == kept


def test_leftovers_are_those_that_the_writer_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module.Path, "unlink", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt), files_module.replacing(tmp_path / "a.json"):
        raise KeyboardInterrupt
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 1
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [LutraError("block_1: table 3\nis another"), ValueError("x"), KeyboardInterrupt()])
def test_a_failed_step_counts_as_failed_and_its_old_result_no_more(started, do, error):
    files, recipe = started
    run_step(files, recipe, "synth")
    assert is_current(files, recipe, "synth")

    def fail(files, recipe):
        raise error

    do["synth"] = fail
    with pytest.raises(type(error)):
        run_step(files, recipe, "synth")
    assert finished_steps(files) == {}
    reason = failed_steps(files)["synth"]
    assert reason == ("it was interrupted" if isinstance(error, KeyboardInterrupt) else " ".join(str(error).split()))
    do.clear()
    run_step(files, recipe, "synth")
    assert failed_steps(files) == {}


def test_a_step_that_was_killed_counts_as_failed(started, do):
    files, recipe = started
    seen = []
    do["synth"] = lambda files, recipe: seen.append(failed_steps(files))
    run_step(files, recipe, "synth")
    assert seen == [{"synth": "it did not come to its end"}]


def test_report_and_record_heed_failures(tmp_path):
    files, recipe = make_finished_run(tmp_path / "run")
    add_result(files, recipe, tmp_path / "results")
    record = {"format_version": 2, "finished": {}, "failed": {"synth": "table 3 <of> block_1 is another"}}
    write_text(files.steps, json.dumps(record))
    with pytest.raises(RunDirectoryError, match="synth failed"):
        add_result(files, recipe, tmp_path / "results")
    report_run(files, recipe)
    page = files.report.read_text()
    assert "synth failed: table 3 &lt;of&gt; block_1 is another" in page
    assert "1,234" not in page  # LUTs of the synthesis before


def test_files_that_were_changed_after_their_step_are_not_recorded(started, do, tmp_path):
    files, recipe = started
    run_step(files, recipe, "evaluate")
    assert changed_outputs(files) == []
    (files.root / "evaluate.json").write_text("better")
    assert changed_outputs(files) == ["evaluate.json"]
    with pytest.raises(RunDirectoryError, match=r"evaluate.json: was changed after its step"):
        add_result(files, recipe, tmp_path / "results")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "you may not write there"),
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_what_keeps_a_file_from_being_written_is_said(tmp_path, monkeypatch, number, remedy):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files_module.tempfile, "mkstemp", refuse)
    with pytest.raises(LutraError, match=remedy) as caught:
        write_text(tmp_path / "a.json", "x")
    assert os.strerror(number) in str(caught.value)
    monkeypatch.setattr("lutra.runs.lock.FileLock", refuse)
    with pytest.raises(LutraError, match=remedy), held(tmp_path):
        pass


def test_steps_of_version_1_are_read(tmp_path):
    files = RunFiles(tmp_path)
    step = {"recipe": "abc", "inputs": {}, "outputs": {"a": "b"}, "seconds": 1.5, "ended": "now", "environment": {}}
    write_text(files.steps, json.dumps({"train": step}))
    assert finished_steps(files) == {"train": step}
    assert failed_steps(files) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"null",
        b'{"train": 1}',
        b'{"train": {"seconds": "x"}}',
        b'{"format_version": 3}',
        b'{"format_version": 2}',
        b"{",
    ],
)
def test_damaged_records_are_one_line(tmp_path, content):
    files = RunFiles(tmp_path)
    files.steps.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"steps\.json: ") as caught:
        finished_steps(files)
    assert "\n" not in str(caught.value)


def test_a_folder_that_another_process_claims_meanwhile_is_not_foreign(tmp_path, monkeypatch):
    """The other one writes its recipe at the last moment before this one lists the folder."""
    recipe, iterdir = small_recipe(), Path.iterdir

    def claimed(folder):
        if folder == tmp_path:
            save_recipe(recipe, RunFiles(folder).recipe)
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", claimed)
    assert load_recipe(open_run(recipe, tmp_path).recipe) == recipe


def test_pairs_of_processes_never_mix(tmp_path):
    """Two processes at a time write the same result in two pieces; one of them is told to wait."""
    work = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from fabricated_run import small_recipe
from lutra.runs import steps as run_module
from lutra.runs.files import write_json
from lutra.runs.steps import open_run, run_step
def step(files, recipe):
    write_json(files.root / "evaluate.json", {"by": sys.argv[2]})
    time.sleep(0.05)
    write_json(files.root / "sample.txt", {"by": sys.argv[2]})
    return {}
run_module.load_function = lambda _: step
recipe = small_recipe()
run_step(open_run(recipe, Path(sys.argv[1])), recipe, "evaluate")
"""
    support = str(Path(sys.modules["fabricated_run"].__file__).parent)
    for pair in range(4):
        root = tmp_path / f"run-{pair}"
        started = [
            subprocess.Popen([sys.executable, "-c", work, str(root), name, support], stderr=subprocess.PIPE, text=True)
            for name in ("one", "two")
        ]
        errors = [process.communicate()[1] for process in started]
        for process, error in zip(started, errors, strict=True):
            assert process.returncode == 0 or "works there; wait for its end" in error, error
        assert (root / "evaluate.json").read_text() == (root / "sample.txt").read_text()
        assert changed_outputs(RunFiles(root)) == []
