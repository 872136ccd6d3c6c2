"""Checkpoints: what is saved loads back equal, and whatever is off is one clear error."""

import pytest
import torch
from safetensors.torch import save_file

from lutra.errors import CheckpointError, RecipeError
from lutra.models.zoo import create_model
from lutra.runs.claim import save_recipe
from lutra.runs.files import RunFiles
from lutra.train.checkpoint import load_model, read_checkpoint, save_checkpoint
from tiny_training import tiny_recipe

TENSORS = {"a": torch.arange(6).view(2, 3), "b": torch.tensor(0.5), "c": torch.ones(3, 2).t()}


def test_tensors_and_metadata_come_back(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", TENSORS, {"iteration": 3, "best": None, "loss": 0.1})
    tensors, metadata = read_checkpoint(tmp_path / "x.safetensors")
    assert metadata == {"iteration": 3, "best": None, "loss": 0.1}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_every_torn_or_changed_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, TENSORS, {"iteration": 3})
    content = path.read_bytes()
    for length in (0, 4, 8, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"x\.safetensors.*train"):
            read_checkpoint(path)
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            tensors, metadata = read_checkpoint(path)
        except CheckpointError:
            continue
        assert metadata == {"iteration": 3} and all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(CheckpointError, match="lutra train"):
        read_checkpoint(tmp_path / "x.safetensors")
    save_file(TENSORS | {"c": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "x.safetensors")


@pytest.fixture
def run(tmp_path):
    recipe = tiny_recipe()
    files = RunFiles(tmp_path)
    save_recipe(recipe, files.recipe)
    save_checkpoint(files.best_checkpoint, create_model(recipe, 65).weights(), {})
    return files


def test_load_model(run):
    model, expected = load_model(run), create_model(tiny_recipe(), 65)
    assert not model.training
    assert all(torch.equal(tensor, expected.weights()[name]) for name, tensor in model.weights().items())
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        load_model(run, "last")


@pytest.mark.parametrize(
    ("ffn", "message"), [("weightless", r"h\.0\.mlp\.c_fc\.weight is float32"), ("none", "recipe wants missing")]
)
def test_checkpoint_of_another_architecture(run, ffn, message):
    save_recipe(tiny_recipe(ffn), run.recipe)
    with pytest.raises(CheckpointError, match=message):
        load_model(run)


def test_checkpoint_of_another_width(run):
    recipe = tiny_recipe()
    model = recipe.model.model_copy(update={"width": 24})
    save_recipe(recipe.model_copy(update={"model": model}), run.recipe)
    with pytest.raises(CheckpointError, match=r"wants float32 \(72, 24\)"):
        load_model(run)


def test_run_without_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        load_model(RunFiles(tmp_path))
