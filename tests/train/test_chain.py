"""The chain of a BERT recipe: its stages, their files, and that stopping anywhere changes nothing."""

import itertools
import json
import signal

import pytest
import torch

from lutra.errors import InputError, RunDirectoryError, TrainingError
from lutra.evaluate.bert import evaluate_chain
from lutra.freeze.step_bert import freeze_chain
from lutra.nn.binary_linear import PackedWeight
from lutra.runs.files import RunFiles
from lutra.train import stage as stage_module
from lutra.train.chain import train_chain
from lutra.train.stage import load_stage
from tiny_glue import tiny_recipe, tiny_tree, write_checkpoint, write_tsv
from tiny_training import files_of


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("LUTRA_GLUE", str(write_tsv(tmp_path / "glue")))
    return write_checkpoint(tmp_path / "base")


def comparable(root):
    """Files of a run without what measures time."""
    files = {}
    for name, content in files_of(root).items():
        if name.endswith("log.jsonl"):
            lines = [json.loads(line) for line in content.splitlines()]
            files[name] = [{key: line[key] for key in line if key != "seconds"} for line in lines]
        elif name.endswith("result.json"):
            files[name] = {key: value for key, value in json.loads(content).items() if key != "seconds"}
        elif name.endswith("best.safetensors"):
            files[name] = load_stage(RunFiles(root).stage(name.split("/")[1])).state_dict()
        else:
            files[name] = content
    return files


def assert_same_run(there, here):
    first, second = comparable(there), comparable(here)
    assert first.keys() == second.keys()
    for name in first:
        if name.endswith("best.safetensors"):
            assert first[name].keys() == second[name].keys()
            for tensor in first[name]:
                assert torch.equal(first[name][tensor], second[name][tensor]), f"{name}: {tensor}"
        else:
            assert first[name] == second[name], name


def test_every_method_is_trained_and_evaluated(base, tmp_path):
    methods = ["binarybert-w1a4", "tws-w1a4", "bmt-w1a4", "bmt-w1a2", "bit-w1a1", "q8-w2a8", "ternarybert-w2a8"]
    fine_tune = {"learning_rate": 5e-3, "epochs": 15, "evaluate_every": 30}
    recipe, files = tiny_recipe(base, *methods, fine_tune=fine_tune), RunFiles(tmp_path / "run")
    result = train_chain(files, recipe)
    assert result["finished"] and result["stopped"] is None
    shared = ["full", "half", "ternary-w2a4", "ternary-w2a2", "bit-w1a2"]
    assert result["stages"].keys() == {*methods, *shared}
    freeze_chain(files, recipe)
    evaluated = evaluate_chain(files, recipe)
    assert evaluate_chain(files, recipe, engine="runtime") == {**evaluated, "engine": "runtime"}
    for name, stage in result["stages"].items():
        assert not files.stage(name).last_checkpoint.exists()
        assert evaluated["methods"][name]["dev"]["dev"]["accuracy"] == stage["best_score"], name
        packed = any(isinstance(module, PackedWeight) for module in load_stage(files.stage(name)).modules())
        assert packed == (name not in shared)
    # The split computes what the ternary model computes, up to rounding in float32.
    ternary = result["stages"]["ternary-w2a4"]["best_score"]
    assert result["stages"]["bmt-w1a4"]["start_score"] == pytest.approx(ternary, abs=2.5)
    assert result["stages"]["full"]["best_score"] > 80
    half = load_stage(files.stage("half")).config
    assert (half.heads, half.intermediate) == (2, 16)


def test_the_recipes_precision_is_that_of_the_training(base, tmp_path):
    trained = []
    for precision in ("32-true", "bf16-mixed"):
        files = RunFiles(tmp_path / precision)
        train_chain(files, tiny_recipe(base, "full", precision=precision))
        trained.append(load_stage(files.stage("full")).classifier.weight)
    assert not torch.equal(*trained)


def test_lessons_and_steps_are_those_of_the_recipe(base, tmp_path):
    """Of the ternary stage alone, whose second lesson changes nothing in the first."""
    ternary = tiny_tree(base)["ternary"]
    logs, steps = [], []
    for number, changes in enumerate([{}, {"second_lesson": "joint"}, {"step_start": "error"}]):
        files = RunFiles(tmp_path / str(number))
        result = train_chain(files, tiny_recipe(base, "ternary-w2a4", ternary={**ternary, **changes}))
        logs.append([json.loads(line)["train_loss"] for line in files.stage("ternary-w2a4").log.open()])
        steps.append(load_stage(files.stage("ternary-w2a4")).layers[0].attention.probability_quantiser.step.item())
        kinds = [lesson["lesson"] for lesson in result["stages"]["ternary-w2a4"]["lessons"]]
        assert kinds == ["intermediate", changes.get("second_lesson", "logits")]
    usual, joint, least_error = logs
    first = len(usual) // 2
    assert joint[:first] == usual[:first] and all(a > b for a, b in zip(joint[first:], usual[first:], strict=True))
    assert least_error[0] != usual[0] and not 0.8 < steps[2] / steps[0] < 1.25


class StopAt:
    """Asks to stop after a number of questions."""

    def __init__(self, count, reason="time limit"):
        self.count, self.answer = count, reason

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    @property
    def reason(self):
        self.count -= 1
        return self.answer if self.count < 0 else None


def test_a_lesson_hands_over_its_best_or_its_last_weights(base, tmp_path, monkeypatch):
    """Scores fall from look to look, so that the first look has the best weights."""
    scores = itertools.count(100, -1)
    monkeypatch.setattr(stage_module, "evaluate", lambda model, data: {"accuracy": float(next(scores))})
    saved = {}
    kept = stage_module.save_checkpoint

    def save(path, tensors, metadata):
        place = (path.name, metadata["state"]["lesson"], metadata["state"]["iteration"])
        saved[place] = tensors["embeddings.norm.weight"].clone()
        kept(path, tensors, metadata)

    def handed_over(name, **changes):
        saved.clear()
        ternary = {**tiny_tree(base)["ternary"], "second_lesson": "joint", **changes}
        recipe = tiny_recipe(base, "ternary-w2a4", ternary=ternary)
        train_chain(RunFiles(tmp_path / name), recipe)
        return saved["last.safetensors", 1, 0], saved["best.safetensors", 0, 2], saved["last.safetensors", 0, 3]

    monkeypatch.setattr(stage_module, "save_checkpoint", save)
    start, best, last = handed_over("best")
    assert torch.equal(start, best) and not torch.equal(best, last)
    start, best, last = handed_over("last", hand_over="last")
    assert torch.equal(start, last) and not torch.equal(best, last)


@pytest.mark.parametrize("precision", [pytest.param("32-true", marks=pytest.mark.slow), "bf16-mixed"])
def test_stopping_anywhere_gives_the_same_run(base, tmp_path, monkeypatch, precision):
    ternary = {**tiny_tree(base)["ternary"], "hand_over": "last"}
    recipe = tiny_recipe(base, "bmt-w1a4", precision=precision, teacher_mode="train", ternary=ternary)
    whole, parts = RunFiles(tmp_path / "whole"), RunFiles(tmp_path / "parts")
    train_chain(whole, recipe)
    stops, result = 0, {"finished": False}
    while not result["finished"]:
        # Two iterations per call, so that stages stop at, between and beside their evaluations.
        monkeypatch.setattr("lutra.train.chain.StopRequest", lambda limit: StopAt(2))
        result = train_chain(parts, recipe)
        stops += result["stopped"] is not None
    assert stops >= 8
    assert_same_run(whole.root, parts.root)


@pytest.mark.parametrize("killed_at", ["best.safetensors", "log.jsonl", "last.safetensors", "result.json"])
def test_a_kill_between_two_files_changes_nothing(base, tmp_path, monkeypatch, killed_at):
    class Killed(BaseException):
        pass

    recipe = tiny_recipe(base, "ternary-w2a4")
    whole, parts = RunFiles(tmp_path / "whole"), RunFiles(tmp_path / "parts")
    train_chain(whole, recipe)
    writers = {name: getattr(stage_module, name) for name in ("save_checkpoint", "write_lines", "write_record")}
    calls = 0

    def dying(name):
        def write(path, *content):
            nonlocal calls
            writers[name](path, *content)
            calls += path.name == killed_at
            if path.name == killed_at and calls % 2:
                raise Killed

        return write

    for name in writers:
        monkeypatch.setattr(stage_module, name, dying(name))
    deaths = 0
    for _ in range(100):
        try:
            train_chain(parts, recipe)
            break
        except Killed:
            deaths += 1
    for path in parts.root.rglob("last.safetensors"):
        assert killed_at == "result.json"  # the kill came just before it would have been deleted
        path.unlink()
    assert deaths >= 2
    assert_same_run(whole.root, parts.root)


def test_a_finished_stage_is_not_trained_again(base, tmp_path):
    recipe, files = tiny_recipe(base, "half"), RunFiles(tmp_path / "run")
    train_chain(files, recipe)
    before = files_of(files.root)
    train_chain(files, recipe)
    assert files_of(files.root) == before


def test_the_time_limit_stops_with_a_checkpoint(base, tmp_path):
    files = RunFiles(tmp_path / "run")
    result = train_chain(files, tiny_recipe(base, "full"), max_minutes=0)
    assert (result["stopped"], result["finished"]) == ("time limit", False)
    assert files.stage("full").last_checkpoint.exists()


def test_an_interrupt_stops_with_a_checkpoint(base, tmp_path, monkeypatch):
    files = RunFiles(tmp_path / "run")
    monkeypatch.setattr(stage_module, "evaluate", lambda *_: signal.raise_signal(signal.SIGINT) or {"accuracy": 1.0})
    assert train_chain(files, tiny_recipe(base, "full"))["stopped"] == "interrupt"
    assert files.stage("full").last_checkpoint.exists()


def test_a_loss_that_is_no_number_overwrites_nothing(base, tmp_path):
    files = RunFiles(tmp_path / "run")
    one = {"learning_rate": 1e30, "epochs": 2, "batch": 16, "evaluate_every": 100}
    recipe = tiny_recipe(base, "full", fine_tune=one)
    with pytest.raises(TrainingError, match=r"MRPC full, labels: the .* at iteration \d+ \(the checkpoint of lesson 1"):
        train_chain(files, recipe)
    assert set(files_of(files.root)) == {"recipe.toml", "stages/full/last.safetensors"}


def test_another_recipe_is_refused(base, tmp_path):
    files = RunFiles(tmp_path / "run")
    train_chain(files, tiny_recipe(base, "full"), max_minutes=0)
    with pytest.raises(RunDirectoryError, match="seed is 5 there and 6 here"):
        train_chain(files, tiny_recipe(base, "full", seed=6))


def test_a_method_that_was_not_trained_is_named(base, tmp_path):
    files, recipe = RunFiles(tmp_path / "run"), tiny_recipe(base, "half")
    train_chain(files, recipe, max_minutes=0)
    with pytest.raises(RunDirectoryError, match=r"full/result\.json: not there; run `lutra train` first"):
        evaluate_chain(files, recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 12}, "the tokenizer has 17 tokens, the model 12"),
        ({"max_position_embeddings": 8}, "the model has 8 positions"),
        ({"type_vocab_size": 1}, "one token type, MRPC needs two"),
        ({"model_type": "roberta"}, "only model_type bert"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(base, tmp_path, changes, message):
    write_checkpoint(base, **changes)
    with pytest.raises(InputError, match=message):
        train_chain(RunFiles(tmp_path / "run"), tiny_recipe(base, "full"))
    assert set(files_of(tmp_path / "run")) == {"recipe.toml"}
