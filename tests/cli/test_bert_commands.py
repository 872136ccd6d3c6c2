"""Runs of kind "bert" at the command line: train, resume, evaluate, report, record, and what is refused."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lutra.accelerators.bat import measure
from lutra.cli.commands import app
from lutra.recipes.bert import plan_stages
from lutra.recipes.kinds import load_any_recipe
from lutra.recipes.sections import dump_toml
from lutra.runs.files import write_text
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import FpgaUse
from tiny_glue import tiny_tree, write_checkpoint, write_tsv
from tiny_training import files_of

BEGUN = {".lock", "recipe.toml", "steps.json"}
"""What a run holds in which no step has come to its end."""
STEPS = ["train", "freeze", "evaluate", "rtl", "simulate", "synth", "cost", "report"]


def lutra(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe file for one chain; base and data lie beside it."""
    monkeypatch.setenv("LUTRA_GLUE", str(write_tsv(tmp_path / "glue")))
    base = write_checkpoint(tmp_path / "base")
    write_text(tmp_path / "tiny.toml", dump_toml(tiny_tree(base, "half", "bmt-w1a4")))
    return tmp_path / "tiny.toml"


@pytest.fixture
def measured_units(monkeypatch):
    """Units whose synthesis takes no time: a LUT for every lane, and a few more."""

    def stand_in(yosys, point, folder):
        return FpgaUse(10 + point.size, 9 + point.size, point.size, 0.0, 0, 0, 0, 0, 0, 0)

    monkeypatch.setattr(measure, "fpga_yosys", lambda: Tool(("yosys",), "Yosys 1"))
    monkeypatch.setattr(measure, "synthesise_unit", stand_in)


def test_a_run_from_recipe_to_record(recipe, tmp_path, measured_units):
    out = tmp_path / "run"
    stopped = lutra("run", recipe, "--out", out, "--max-minutes", 0)
    assert stopped.exit_code == 1
    assert "before its end; the same command continues" in stopped.stderr
    assert not (out / "evaluate.json").exists()
    ran = lutra("run", recipe, "--out", out, "--json")
    assert ran.exit_code == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert list(printed["steps"]) == STEPS
    frozen = printed["summary"]["methods"]["bmt-w1a4"]["golden"]
    assert frozen["file_bytes"] == sum(path.stat().st_size for path in (out / "frozen" / "bmt-w1a4").iterdir())
    assert frozen["median_logit_difference"] < 0.05
    assert "golden" not in printed["summary"]["methods"]["half"]
    assert list(printed["summary"]["methods"]) == ["full", "half", "ternary-w2a4", "bmt-w1a4"]
    simulated = printed["steps"]["simulate"]
    assert list(simulated["designs"]) == ["bmt-w1a4"] and "2-bit weights" in simulated["refused"]["ternary-w2a4"]
    assert simulated["mismatches"] == 0 and simulated["cycles_match"]
    assert simulated["designs"]["bmt-w1a4"]["sentences"] == 2
    assert 0 < simulated["designs"]["bmt-w1a4"]["utilisation"] <= 1
    assert simulated["designs"]["bmt-w1a4"]["build"]["cpu_seconds"] > 0
    cost = printed["steps"]["cost"]["designs"]["bmt-w1a4"]
    assert cost["measured"]["mismatches"] == 0 and 0 < cost["together"]["utilisation"] <= 1
    assert cost["alone"] == cost["together"] and cost["equation_5"] is None  # of one module
    assert {step["step"].split(".")[0] for step in cost["layer"]} == {"attention", "feed_forward"}
    (module,) = printed["steps"]["synth"]["designs"]["bmt-w1a4"]["modules"]
    assert module["runs"] == ["attention", "feed-forward"]
    assert module["total"]["lut_packed"] == sum(part["lut_packed"] for part in module["parts"].values()) > 0
    page = (out / "report.html").read_text()
    assert "values of every block" in page
    assert "steps of one layer" in page and "of the ZCU102" in page and "Softmax" in page
    assert "bmt-w1a4" in page and "Not run: lutra evaluate run --robustness" in page
    assert "up to date" in lutra("run", recipe, "--out", out).stderr

    shown = lutra("evaluate", out, "--robustness")
    assert shown.exit_code == 0, shown.stderr
    assert "training" in shown.stdout and "Robustness" in shown.stdout
    assert lutra("report", out).exit_code == 0
    assert "Not run: lutra evaluate" not in (out / "report.html").read_text()

    added = lutra("results", "add", out, "--into", tmp_path / "results", "--json")
    assert added.exit_code == 0, added.stderr
    recorded = json.loads((tmp_path / "results" / "bert" / "MRPC-seed5.json").read_text())
    (entry,) = recorded["results"]
    assert entry["task"] == "MRPC" and entry["checkpoint"]["name"] == str(tmp_path / "base")
    bmt = entry["methods"]["bmt-w1a4"]
    assert bmt["score"] == bmt["best_score"] and bmt["size_mib"] < entry["methods"]["full"]["size_mib"]
    assert {"ratio", "clean", "noisy", "engine"} == bmt["robustness"].keys()
    assert entry["steps"]["train"]["environment"]["machine"]
    assert entry["accelerator"]["bmt-w1a4"]["mismatches"] == 0
    assert "MRPC, bmt-w1a4" in lutra("results", "list", "--from", tmp_path / "results").stdout


def test_keys_can_be_set_and_steps_chosen(recipe, tmp_path):
    ran = lutra(
        "run", recipe, "--out", tmp_path / "run", "--set", "seed=6", "--set", "methods=['full']", "--to", "train"
    )
    assert ran.exit_code == 0, ran.stderr
    assert load_any_recipe(tmp_path / "run" / "recipe.toml").seed == 6
    assert not (tmp_path / "run" / "evaluate.json").exists()
    assert lutra("train", tmp_path / "run").exit_code == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods=['bmt']", "a method is full, half, or one of q8-wXaY, .*, got 'bmt'"),
        ("methods=['bmt-w1a1']", r"bmt has weight bits in \[1\] and activation bits in \[2, 4, 8\]"),
        ("methods=['full', 'full']", "methods must differ"),
        ("methods=[]", "methods"),
        ("task=WNLI", "task: .*'MNLI'.*got 'WNLI'"),
        ("kind=audio", "kind 'audio'"),
        ("fine_tune.rate=1", "unknown key fine_tune.rate; allowed here: batch, "),
        ("binary.logits_epochs=0", "binary.logits_epochs"),
        ("accelerator.attention.p_pe=100", "BAT: p_pe must be a multiple of 8 .*, got 100"),
        ("accelerator.attention.p_pe=64", "both modules must have the same p_pe"),
        ("accelerator.feed_forward.p_vu=300", "BAT: p_vu must be an integer from 1 to 256, got 300"),
        ("accelerator.modules=3", "accelerator.modules"),
        ("accelerator.clock_mhz=0", "accelerator.clock_mhz"),
        ("accelerator.device=virtex", "device 'virtex' is unknown; there are zcu102, .* and none"),
    ],
)
def test_a_wrong_recipe_is_one_line(recipe, tmp_path, override, message):
    two_modules = ["--set", "accelerator.modules=2"] if ".p_" in override else []
    ran = lutra("run", recipe, "--out", tmp_path / "run", *two_modules, "--set", override)
    assert_refused(ran, message)
    assert not (tmp_path / "run").exists()


def assert_refused(ran, message, status=2):
    assert ran.exit_code == status, ran.output
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("lutra: ") and re.search(message, last), ran.stderr
    assert ran.stdout == ""


def test_commands_of_language_models_are_refused(recipe, tmp_path):
    out = tmp_path / "run"
    lutra("run", recipe, "--out", out, "--max-minutes", 0)
    before = files_of(out)
    steps = ", ".join(STEPS)
    assert_refused(lutra("run", recipe, "--out", out, "--to", "plan"), f"no step named plan; the steps are {steps}")
    assert_refused(lutra("simulate", out, "--fold", "1"), "simulate: not for a run of this kind: fold_factors")
    assert_refused(lutra("generate", out, "--prompt", "a"), "only a language model writes text")
    assert_refused(lutra("results", "add", out, "--into", tmp_path / "results"), "has no evaluation")
    assert files_of(out) == before
    assert_refused(lutra("evaluate", out), r"full/result\.json: not there; run `lutra train` first")
    assert files_of(out).keys() == before.keys()


def test_plans_share_their_predecessors(recipe):
    overrides = ["methods=['bit-w1a1', 'bmt-w1a2', 'tws-w1a2', 'ternary-w2a2']"]
    plans = plan_stages(load_any_recipe(recipe, overrides))
    assert [(plan.name, plan.start, plan.teacher) for plan in plans] == [
        ("full", None, None),
        ("bit-w1a2", "full", "full"),
        ("bit-w1a1", "bit-w1a2", "bit-w1a2"),
        ("half", "full", "full"),
        ("ternary-w2a2", "half", "half"),
        ("bmt-w1a2", "ternary-w2a2", "half"),
        ("tws-w1a2", "ternary-w2a2", "half"),
    ]
    bmt, tws = (plan.quantisation for plan in plans[-2:])
    assert (bmt.wtws, tws.wtws) == (True, False) and tws.elastic
    assert bmt.model_copy(update={"wtws": False}) == tws


def test_the_second_lesson_may_keep_the_hidden_states(recipe):
    overrides = ["methods=['bmt-w1a4']", "ternary.second_lesson=joint"]
    lessons = {plan.name: plan.lessons for plan in plan_stages(load_any_recipe(recipe, overrides))}
    assert [lesson.kind for lesson in lessons["ternary-w2a4"]] == ["intermediate", "joint"]
    assert [lesson.kind for lesson in lessons["bmt-w1a4"]] == ["intermediate", "logits"]


def change_lines(path, change):
    path.write_text("\n".join(map(change, path.read_text().splitlines())) + "\n")


def without_second_sentence(root):
    change_lines(root / "glue" / "MRPC-train.tsv", lambda line: "\t".join(line.split("\t")[::2]))


def with_a_third_label(root):
    change_lines(root / "glue" / "MRPC-dev.tsv", lambda line: line[:-1] + "2" if line.endswith("1") else line)


def without_dev_set(root):
    (root / "glue" / "MRPC-dev.tsv").unlink()


def with_more_words(root):
    with (root / "base" / "vocab.txt").open("a") as file:
        file.write("more\n")


def with_a_zero_row(root):
    change_tensor(root, "embeddings.word_embeddings.weight", lambda weight: weight[3].zero_())


def with_a_zero_matrix(root):
    change_tensor(root, "encoder.layer.1.output.dense.weight", lambda weight: weight.zero_())


def with_nan(root):
    change_tensor(root, "encoder.layer.0.output.dense.weight", lambda weight: weight[0, 0].fill_(torch.nan))


def change_tensor(root, name, change):
    weights = load_file(root / "base" / "model.safetensors")
    change(weights[name])
    save_file(weights, root / "base" / "model.safetensors")


def of_another_architecture(root):
    write_checkpoint(root / "base", model_type="distilbert")


def without_weights(root):
    (root / "base" / "model.safetensors").unlink()


def truncated(root):
    path = root / "base" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_second_sentence, r"MRPC-train\.tsv: column sentence2 is missing; there are sentence1, label"),
        (with_a_third_label, r"MRPC-dev\.tsv: example \d+ has the label '2'; MRPC has 0 to 1"),
        (without_dev_set, r"no MRPC-dev\.tsv or \.tsv\.xz; of MRPC there are MRPC-train\.tsv"),
        (with_more_words, "the tokenizer has 18 tokens, the model 17"),
        (with_a_zero_row, r"embeddings\.word\.weight, row 3, is all zeros"),
        (with_a_zero_matrix, r"layers\.1\.feed_forward\.output\.weight is all zeros"),
        (with_nan, r"layers\.0\.feed_forward\.output\.weight holds values that are no numbers"),
        (of_another_architecture, "only model_type bert .* this is .distilbert."),
        (without_weights, r"model\.safetensors: cannot read it"),
        (truncated, "not safetensors, or damaged"),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing_trained(recipe, tmp_path, damage, message):
    damage(tmp_path)
    ran = lutra("run", recipe, "--out", tmp_path / "run")
    assert_refused(ran, message)
    assert set(files_of(tmp_path / "run")) == {*BEGUN}


def test_a_loss_that_is_no_number_is_one_line(recipe, tmp_path):
    out = tmp_path / "run"
    ran = lutra("run", recipe, "--out", out, "--set", "fine_tune.learning_rate=1e30")
    assert_refused(ran, r"MRPC full, labels: the .* is (nan|inf) at iteration \d+ \(the checkpoint of", status=1)
    assert set(files_of(out)) == {*BEGUN, "stages/full/last.safetensors"}


def test_an_unknown_checkpoint_is_named(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("lutra.models.bert_files.importlib.util.find_spec", lambda name: None)
    ran = lutra("run", recipe, "--out", tmp_path / "run", "--set", "checkpoint=no-such-bert")
    assert_refused(ran, "no-such-bert: no such folder and no installed package; for the hub, install huggingface_hub")


def test_a_package_without_a_model_is_named(recipe, tmp_path):
    ran = lutra("run", recipe, "--out", tmp_path / "run", "--set", "checkpoint=pytest")
    assert_refused(ran, "pytest: the installed package carries no model.safetensors")


def test_a_damaged_stage_is_named_and_trained_again_once_deleted(recipe, tmp_path):
    out = tmp_path / "run"
    assert lutra("run", recipe, "--out", out, "--to", "train", "--set", "methods=['half']").exit_code == 0
    best = out / "stages" / "full" / "best.safetensors"
    whole = best.read_bytes()
    best.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert_refused(lutra("evaluate", out), r"full/best\.safetensors: corrupted, its checksum differs; delete it")
    best.unlink()
    assert lutra("train", out).exit_code == 0
    assert lutra("evaluate", out).exit_code == 0
