"""What a tracker gets of every kind of training: the lines of the log, and nothing where none is asked for."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from torch import nn

from lutra.errors import InputError
from lutra.train.tracker import numbers, open_tracker


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads: steps and values by name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_numbers_of_a_line_by_their_path():
    line = {"iteration": 3, "train_loss": None, "quantised": True, "lesson": "labels", "dev": {"f1": 50.0, "mcc": 1}}
    assert numbers(line) == {"iteration": 3, "dev/f1": 50.0, "dev/mcc": 1}


def test_without_the_variable_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("LUTRA_TRACKER", raising=False)
    tracker = open_tracker(tmp_path)
    tracker.log(1, {"loss": 1.0})
    tracker.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"), [("mlflow", "it may be tensorboard or wandb"), ("wandb", "pip install wandb")]
)
def test_a_tracker_that_is_not_there_is_refused_in_one_line(name, words, tmp_path, monkeypatch):
    monkeypatch.setenv("LUTRA_TRACKER", name)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=words) as refused:
        open_tracker(tmp_path)
    assert "\n" not in str(refused.value)


def test_weights_and_biases_gets_every_line_under_one_identity(tmp_path, monkeypatch):
    """A stand-in takes the calls that W&B documents; the real one wants an account or minutes."""
    calls = []
    run = types.SimpleNamespace(
        log=lambda figures, step: calls.append((step, figures)), finish=lambda: calls.append("finished")
    )
    begun = []
    stand_in = types.SimpleNamespace(init=lambda **options: begun.append(options) or run, Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setenv("LUTRA_TRACKER", "wandb")
    for _ in range(2):
        tracker = open_tracker(tmp_path / "train")
        tracker.log(5, {"loss": 1.5, "quantised": False})
        tracker.close()
    assert calls == [(5, {"loss": 1.5}), "finished"] * 2
    assert begun[0] == begun[1] and begun[0]["dir"] == str(tmp_path / "train") and begun[0]["resume"] == "allow"


def test_tensorboard_gets_the_log_of_a_language_model(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from lutra.runs.files import RunFiles
    from lutra.train.loop import train_run
    from tiny_training import tiny_recipe

    monkeypatch.setenv("LUTRA_TRACKER", "tensorboard")
    files = RunFiles(tmp_path / "run")
    train_run(files, tiny_recipe())
    lines = [json.loads(line) for line in files.train_log.read_text().splitlines()]
    read = scalars(files.root / "train")
    assert [step for step, _ in read["validation_loss"]] == [line["iteration"] for line in lines]
    assert [value for _, value in read["validation_loss"]] == pytest.approx([line["validation_loss"] for line in lines])
    assert "quantised" not in read


def test_tensorboard_gets_the_losses_of_healing(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    import torch

    from lutra.train.healing.heal import heal

    monkeypatch.setenv("LUTRA_TRACKER", "tensorboard")
    model, teacher = (nn.Linear(4, 4) for _ in range(2))
    heal(model, teacher, [torch.randn(3, 2, 4)], steps=40, losses=["hidden"], folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [line["step"] for line in lines] == [20, 40]


def test_tensorboard_gets_the_scores_of_every_stage_of_a_bert(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from lutra.runs.files import RunFiles
    from lutra.train.chain import train_chain
    from tiny_glue import tiny_recipe, write_checkpoint, write_tsv

    monkeypatch.setenv("LUTRA_TRACKER", "tensorboard")
    monkeypatch.setenv("LUTRA_GLUE", str(write_tsv(tmp_path / "glue")))
    files = RunFiles(tmp_path / "run")
    train_chain(files, tiny_recipe(write_checkpoint(tmp_path / "base"), "full", "half"))
    for stage in ("full", "half"):
        lines = [json.loads(line) for line in files.stage(stage).log.read_text().splitlines()]
        assert [step for step, _ in scalars(files.stage(stage).root)["train_loss"]] == [
            line["iteration"] for line in lines
        ]
