"""Models by recipe or name, and nanoGPT's checkpoints."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from lutra.errors import CheckpointError, InputError
from lutra.models.zoo import create_model, import_nanogpt
from lutra.recipes.language import ModelConfig, Recipe


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_presets_have_the_sizes_of_nanogpt():
    # nanoGPT prints both without position embeddings: 0.80 M and 10.65 M.
    mini, baby = (create_model(name, 65, ffn="mlp") for name in ("gpt-mini", "gpt-baby"))
    assert parameters(mini) - 64 * 128 == 795_904 and parameters(baby) - 256 * 384 == 10_646_784


def test_unknown_preset():
    with pytest.raises(InputError, match="there are gpt-mini, gpt-baby"):
        create_model("gpt-huge", 65)


@pytest.fixture
def nanogpt_checkpoint(tmp_path):
    """A model of ours, written as nanoGPT's train.py writes it: compiled, with slow attention's mask."""
    config = ModelConfig(layers=2, heads=2, width=8, context=12, bias=True, ffn="mlp")
    model = create_model(Recipe(name="x", model=config), 11).eval()
    weights = {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    weights |= {f"_orig_mod.transformer.h.{layer}.attn.bias": torch.ones(1, 1, 12, 12).tril() for layer in range(2)}
    arguments = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 12, "bias": True, "vocab_size": 11}
    path = tmp_path / "ckpt.safetensors"
    write(path, weights, {**arguments, "dropout": 0.2})
    return path, weights, model


def write(path, weights, arguments):
    """As the documentation of `import_nanogpt` says."""
    save_file({name: each.contiguous().clone() for name, each in weights.items()}, path,
              {"model_args": json.dumps(arguments)})  # fmt: skip


def test_nanogpt_checkpoint_gives_the_same_logits(nanogpt_checkpoint):
    path, _, model = nanogpt_checkpoint
    tokens = torch.arange(10)[None]
    imported = import_nanogpt(path)
    assert torch.equal(imported(tokens), model(tokens))
    assert imported.config.dropout == 0.2


def test_weights_that_do_not_fit_are_named(nanogpt_checkpoint):
    path, weights, _ = nanogpt_checkpoint
    arguments = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 12, "bias": True, "vocab_size": 11}
    write(path, {name: each for name, each in weights.items() if "h.1.ln_2.weight" not in name}, arguments)
    with pytest.raises(CheckpointError, match=r"h\.1\.ln_2\.weight"):
        import_nanogpt(path)
    for wrong in ({"n_layer": 10**9}, {"vocab_size": 10**12}, {"n_embd": "8"}, {"vocab_size": True}):
        write(path, weights, {**arguments, **wrong})
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            import_nanogpt(path)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [{"model": Harmful()}, {"weights": 1}, [1, 2]])
def test_pickles_are_refused_and_nothing_runs(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "ckpt.pt")
    with pytest.raises(CheckpointError, match=r"ckpt\.pt: .*pickles .* are not read"):
        import_nanogpt(tmp_path / "ckpt.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_torn_files(tmp_path, content):
    (tmp_path / "ckpt.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"ckpt\.pt"):
        import_nanogpt(tmp_path / "ckpt.pt")
    with pytest.raises(CheckpointError, match="No such file"):
        import_nanogpt(tmp_path / "missing.pt")
