"""Training: what it learns, logs, saves, refuses, and that interruptions change nothing."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lutra.errors import CheckpointError, InputError, RunDirectoryError, TrainingError
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import BinaryAttentionConfig, load_recipe
from lutra.runs.files import RunFiles, clear_leftovers
from lutra.train import loop, trainer
from lutra.train.checkpoint import load_model, read_checkpoint
from lutra.train.evaluate import validation_loss
from lutra.train.loop import train_baselines, train_run
from tiny_training import files_of, short_text, tiny_recipe

FFNS = ["mlp", "weightless", "none"]


@pytest.fixture
def run(tmp_path):
    return RunFiles(tmp_path / "run")


def log_of(run):
    return [json.loads(line) for line in run.train_log.read_text().splitlines()]


def evidence(run):
    """Everything a finished run leaves, without wall-clock times."""
    untimed = [{key: value for key, value in line.items() if key != "seconds"} for line in log_of(run)]
    checkpoints = {}
    for path in (run.best_checkpoint, run.last_checkpoint):
        tensors, metadata = read_checkpoint(path)
        metadata["state"].pop("seconds")
        checkpoints[path.name] = (metadata, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()})
    names = sorted(str(path.relative_to(run.root)) for path in run.root.rglob("*"))
    return untimed, checkpoints, names


@pytest.mark.parametrize("ffn", FFNS)
def test_training_learns_and_leaves_its_evidence(run, ffn):
    recipe = tiny_recipe(ffn, iterations=60, batch=16, evaluate_every=25, learning_rate=1e-2)
    result = train_run(run, recipe)
    log = log_of(run)
    assert [line["iteration"] for line in log] == [0, 25, 50, 60]
    assert [line["quantised"] for line in log] == [ffn == "weightless" and line["iteration"] >= 30 for line in log]
    assert log[0]["validation_loss"] == pytest.approx(4.17, abs=0.1)
    assert result["validation_loss"] == log[-1]["validation_loss"] < 3.4
    assert log[-1]["learning_rate"] == pytest.approx(1e-4)
    assert (result["finished"], result["iterations"], result["stopped"]) == (True, 60, None)
    assert load_recipe(run.recipe) == recipe
    best = load_model(run)
    assert validation_loss(best, short_text().validation, 64) == result["best_validation_loss"]
    assert all(block.quantised for block in weightless_blocks(best).values())


def test_best_is_among_integer_evaluations_once_there_are_some(run, monkeypatch):
    losses = iter([4.0, 1.0, 3.0, 2.0, 2.5])  # at iterations 0, 2, 4, 6, 8; integer from 4 on
    monkeypatch.setattr(loop, "validation_loss", lambda *_: next(losses))
    result = train_run(run, tiny_recipe("weightless", evaluate_every=2))
    assert (result["best_iteration"], result["best_validation_loss"], result["validation_loss"]) == (6, 2.0, 2.5)
    assert read_checkpoint(run.best_checkpoint)[1]["state"]["iteration"] == 6


def test_without_a_quantised_part_the_last_evaluation_is_still_of_integers(run):
    result = train_run(run, tiny_recipe("weightless", quantise_fraction=0))
    assert [line["quantised"] for line in log_of(run)] == [False, False, True]
    assert result["best_iteration"] == 8


def test_a_finished_run_is_left_as_it_is(run):
    result = train_run(run, tiny_recipe())
    before = files_of(run.root)
    assert train_run(run, tiny_recipe()) == result
    assert files_of(run.root) == before


def test_a_folder_of_another_recipe_is_refused(run):
    train_run(run, tiny_recipe(), max_minutes=0)
    before = files_of(run.root)
    with pytest.raises(RunDirectoryError, match=r"train\.batch is 4 there and 5 here"):
        train_run(run, tiny_recipe(batch=5))
    assert files_of(run.root) == before
    run.recipe.unlink()
    with pytest.raises(RunDirectoryError, match="another recipe"):
        train_run(run, tiny_recipe(batch=5))


def test_difference_within_a_list_is_named(run):
    train_run(run, tiny_recipe("weightless"), max_minutes=0)
    text = run.recipe.read_text()
    run.recipe.write_text(text.replace("inputs = 4", "inputs = 5"))
    with pytest.raises(RunDirectoryError, match=r"block\.lut_layers\.1\.inputs is 5 there and 4 here"):
        train_run(run, tiny_recipe("weightless"))


@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
def test_a_time_limit_stops_and_the_next_call_goes_on_to_the_same_numbers(run, tmp_path, ffn, monkeypatch):
    recipe = tiny_recipe(ffn, iterations=10, checkpoint_every=3)
    stops = iter([0, 0, 0, 1, 0, 0, 0, 0, 0, 1] + [0] * 20)
    monkeypatch.setattr(trainer.StopRequest, "reason", property(lambda _: "time limit" if next(stops) else None))
    results = [train_run(run, recipe) for _ in range(3)]
    assert [result["iterations"] for result in results] == [3, 8, 10]
    assert [result["stopped"] for result in results] == ["time limit", "time limit", None]
    train_run(RunFiles(tmp_path / "whole"), recipe)
    assert evidence(run) == evidence(RunFiles(tmp_path / "whole"))


def test_time_limit_of_nothing_leaves_a_checkpoint(run):
    result = train_run(run, tiny_recipe(), max_minutes=0)
    assert (result["iterations"], result["finished"], result["stopped"]) == (0, False, "time limit")
    assert run.last_checkpoint.exists()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
def test_killed_between_any_two_files_it_ends_the_same(tmp_path, monkeypatch, ffn):
    recipe = tiny_recipe(ffn, iterations=5, evaluate_every=2, checkpoint_every=3)
    whole = RunFiles(tmp_path / "whole")
    train_run(whole, recipe)
    replace = Path.replace
    written = 0

    def replace_or_die(self, target):
        nonlocal written
        if written == survived:
            raise Killed
        written += 1
        return replace(self, target)

    survived = 0
    while True:
        run = RunFiles(tmp_path / f"killed after {survived} files")
        written = 0
        monkeypatch.setattr(Path, "replace", replace_or_die)
        try:
            train_run(run, recipe)
            break
        except Killed:
            monkeypatch.setattr(Path, "replace", replace)
            train_run(run, recipe)
            assert evidence(run) == evidence(whole)
        survived += 1
    assert survived >= 10


SCRIPT = """
import sys, logging
from pathlib import Path
import torch
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO, format="%(message)s")
import lutra.train.loop as loop
from lutra.runs.files import RunFiles
from tiny_training import short_text, tiny_recipe
loop.load_dataset = short_text
recipe = tiny_recipe(sys.argv[2], iterations=int(sys.argv[3]), evaluate_every=5, checkpoint_every=3)
print(loop.train_run(RunFiles(Path(sys.argv[1])), recipe)["stopped"])
"""


def start_training(run, ffn, iterations):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(run.root), ffn, str(iterations)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(run, process, count):
    deadline = time.monotonic() + 60
    while not run.train_log.exists() or len(run.train_log.read_text().splitlines()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "training does not get on"
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
def test_killed_at_a_random_moment_it_ends_the_same(run, tmp_path, ffn):
    iterations, seed = 60, random.randrange(2**32)
    print(f"{seed=}")
    (run.root / "train").mkdir(parents=True)
    (run.root / "train" / ".lutra.last.safetensors.torn").write_bytes(b"half a file")
    process = start_training(run, ffn, iterations)
    wait_for_lines(run, process, 2)
    time.sleep(random.Random(seed).uniform(0, 0.1))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "finished before it could be killed"
    recipe = tiny_recipe(ffn, iterations=iterations, evaluate_every=5, checkpoint_every=3)
    clear_leftovers(run.root)  # as whoever holds the run directory does before a step
    assert train_run(run, recipe)["finished"]
    train_run(RunFiles(tmp_path / "whole"), recipe)
    assert evidence(run) == evidence(RunFiles(tmp_path / "whole"))


def test_ctrl_c_stops_with_a_checkpoint_and_one_line(run):
    process = start_training(run, "mlp", 1_000_000)
    wait_for_lines(run, process, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out.strip() == "interrupt"
    stopped_at = read_checkpoint(run.last_checkpoint)[1]["state"]["iteration"]
    assert f"stopped by interrupt at iteration {stopped_at} of 1000000; the same command goes on" in err
    assert "Traceback" not in err


def test_signal_handlers_are_given_back(run):
    before = signal.getsignal(signal.SIGINT)
    train_run(run, tiny_recipe(), max_minutes=0)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_a_number_overwrites_nothing(run, monkeypatch):
    recipe = tiny_recipe(checkpoint_every=1)
    stops = iter([0, 0, 1] + [0] * 20)
    monkeypatch.setattr(trainer.StopRequest, "reason", property(lambda _: "time limit" if next(stops) else None))
    train_run(run, recipe)
    before = files_of(run.root)
    monkeypatch.setattr(loop.F, "cross_entropy", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match=r"iteration 2: the training loss is nan \(the checkpoint of 2 is kept\)"):
        train_run(run, recipe)
    assert files_of(run.root) == before


def test_a_gradient_that_is_not_a_number_is_an_error_without_clipping_too(run, monkeypatch):
    cross_entropy = loop.F.cross_entropy

    def loss_with_infinite_slope(logits, targets, **options):
        return cross_entropy(logits, targets, **options) + (logits.sum() * 0).sqrt()

    monkeypatch.setattr(loop.F, "cross_entropy", loss_with_infinite_slope)
    with pytest.raises(TrainingError, match="iteration 0: the norm of the gradient is nan"):
        train_run(run, tiny_recipe(gradient_clip=0))


def test_infinite_learning_rate_fails_with_the_iteration(run):
    with pytest.raises(TrainingError, match="iteration"):
        train_run(run, tiny_recipe(learning_rate=1e38))


def test_activations_that_are_not_numbers_name_the_module(run, monkeypatch):
    create_model = loop.create_model

    def create_broken_model(*arguments):
        model = create_model(*arguments)
        torch.nn.init.constant_(model.transformer.h[1].attn.c_proj.weight, float("nan"))
        return model

    monkeypatch.setattr(loop, "create_model", create_broken_model)
    with pytest.raises(InputError, match=r"transformer\.h\.1\.mlp: .*NaN"):
        train_run(run, tiny_recipe("weightless"))


@pytest.mark.parametrize("name", ["last_checkpoint", "train_log"])
def test_corrupted_files_are_refused_when_going_on(run, name):
    train_run(run, tiny_recipe(), max_minutes=0)
    getattr(run, name).write_text("{")
    with pytest.raises((CheckpointError, RunDirectoryError), match=getattr(run, name).name):
        train_run(run, tiny_recipe())


def test_going_on_needs_the_state_of_the_optimiser(run):
    train_run(run, tiny_recipe())
    run.best_checkpoint.replace(run.last_checkpoint)
    with pytest.raises(CheckpointError, match="without the optimiser's state"):
        train_run(run, tiny_recipe())


def test_bfloat16_training(run):
    result = train_run(run, tiny_recipe("weightless", precision="bf16-mixed"))
    assert result["finished"]
    assert validation_loss(load_model(run), short_text().validation, 8) == pytest.approx(result["best_validation_loss"])


@pytest.mark.parametrize("ffn", FFNS)
def test_binary_attention_goes_on_to_the_same_numbers(run, tmp_path, ffn):
    recipe = tiny_recipe(ffn)
    binary = recipe.model.model_copy(update={"binary_attention": BinaryAttentionConfig(activation_bits=4)})
    recipe = recipe.model_copy(update={"model": binary})
    assert recipe.content_hash() != tiny_recipe(ffn).content_hash()
    whole = train_run(RunFiles(tmp_path / "whole"), recipe)
    assert not train_run(run, recipe, max_minutes=0)["finished"]
    assert load_recipe(run.recipe) == recipe
    stopped = train_run(run, recipe)
    assert stopped["validation_loss"] == whole["validation_loss"]
    assert validation_loss(load_model(run), short_text().validation, 8) == pytest.approx(
        stopped["best_validation_loss"]
    )


def test_mappings_are_trained_in_the_first_part_alone(run, tmp_path, monkeypatch):
    def scores(files):
        return {name: tensor for name, tensor in read_checkpoint(files.last_checkpoint)[0].items() if "scores" in name}

    recipe = tiny_recipe("weightless", mapping_fraction=0.5, checkpoint_every=1)
    whole = RunFiles(tmp_path / "whole")
    train_run(whole, recipe)
    stops = iter([0] * 5 + [1] + [0] * 20)
    monkeypatch.setattr(trainer.StopRequest, "reason", property(lambda _: "time limit" if next(stops) else None))
    assert train_run(run, recipe)["iterations"] == 5
    after_five = scores(run)
    train_run(run, recipe)
    assert evidence(run) == evidence(whole)
    assert after_five and all(torch.equal(tensor, after_five[name]) for name, tensor in scores(run).items())
    always = RunFiles(tmp_path / "always")
    train_run(always, tiny_recipe("weightless", checkpoint_every=1))
    trained = [name for name in after_five if not name.startswith("optimiser/")]
    assert not all(torch.equal(after_five[name], scores(always)[name]) for name in trained)


def test_baselines_are_trained_beside_the_run_and_go_on(run):
    recipe = tiny_recipe("weightless")
    assert train_baselines(run, recipe, max_minutes=0).keys() == {"mlp"}
    results = train_baselines(run, recipe)
    assert results.keys() == {"mlp", "none"} and all(result["finished"] for result in results.values())
    for ffn in ("mlp", "none"):
        assert load_recipe(run.baseline(ffn).recipe) == recipe.with_ffn(ffn)
        assert load_model(run.baseline(ffn)).config.ffn == ffn


def test_progress_goes_to_the_log_where_there_is_no_terminal(run, caplog, monkeypatch, capsys):
    monkeypatch.setattr("lutra.train.session.ProgressLine.LOG_INTERVAL_S", 0.0)
    with caplog.at_level(logging.INFO, logger="lutra"):
        train_run(run, tiny_recipe())
    assert "tiny: iteration 4/8: training loss" in caplog.text and "validation loss" in caplog.text
    assert "ms/iteration" in caplog.text and "min left" in caplog.text
    assert capsys.readouterr().out == ""


def test_progress_is_one_live_line_on_a_terminal(run, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take the captured stderr for a terminal
    monkeypatch.setenv("COLUMNS", "200")
    train_run(run, tiny_recipe())
    captured = capsys.readouterr()
    assert "tiny: iteration 8/8" in captured.err and "ms/iteration" in captured.err
    assert captured.out == ""
