"""The vision transformer: weights of other libraries give their outputs, and wrong ones are one line."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lutra.errors import CheckpointError, InputError
from lutra.models.vit import VisionTransformer, import_vit_weights
from lutra.nn.calibrate import calibrate_
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import BlockConfig
from lutra.recipes.vision import VisionModelConfig


def small(ffn="mlp", **changes):
    shapes = {"layers": 2, "heads": 2, "width": 16, "image": 12, "patch": 4, "ffn": ffn}
    return VisionTransformer(VisionModelConfig(**{**shapes, **changes}), 7, BlockConfig(), seed=3).eval()


@pytest.mark.parametrize(("classes", "parameters"), [(1000, 5_717_416), (10, 5_526_346)])
def test_deit_tiny_has_its_published_size(classes, parameters):
    model = VisionTransformer(VisionModelConfig(ffn="mlp"), classes, BlockConfig(), seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_names_are_those_of_timm():
    names = set(small().state_dict())
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight", "norm.bias", "head.weight"} <= names
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    assert {f"blocks.1.{part}.{kind}" for part in parts for kind in ("weight", "bias")} <= names
    assert len(names) == 8 + 2 * 12


def test_hugging_face_weights_give_the_same_logits():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=12, patch_size=4,
        num_labels=7, layer_norm_eps=1e-6, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(config).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    ours = small()
    import_vit_weights(ours, theirs.state_dict())
    images = torch.randn(3, 3, 12, 12)
    with torch.no_grad():
        expected, found = theirs(images).logits, ours(images)
    assert expected.abs().max() > 0.5
    assert (found - expected).abs().max() < 1e-5


def test_weights_of_another_model_are_refused():
    weights = small().state_dict()
    with pytest.raises(CheckpointError, match=r"pos_embed is \(1, 10, 16\) there, this one wants \(1, 5, 16\)"):
        import_vit_weights(small(image=8), weights)
    with pytest.raises(CheckpointError, match=r"dist_token is \(1, 1, 16\) there, this one wants missing"):
        import_vit_weights(small(), {**weights, "dist_token": torch.zeros(1, 1, 16)})
    del weights["norm.weight"]
    with pytest.raises(CheckpointError, match=r"norm\.weight is missing there"):
        import_vit_weights(small(), weights)


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"images must be \(B, 3, 12, 12\), got \(1, 3, 13, 12\)"):
        small()(torch.zeros(1, 3, 13, 12))


def test_mean_pooling_has_no_class_token():
    model = small(pool="mean")
    assert "cls_token" not in model.state_dict() and model.pos_embed.shape == (1, 9, 16)
    images = torch.randn(2, 3, 12, 12)
    moved = images.roll(4, dims=2)
    with torch.no_grad():
        model.pos_embed.zero_()
        assert torch.allclose(model(images), model(moved), atol=1e-5), "without positions the mean sees a set"


def test_every_ffn_runs_and_is_seeded():
    images = torch.randn(4, 3, 12, 12)
    for ffn in ("mlp", "weightless", "none"):
        first, second = small(ffn), small(ffn)
        for model in (first, second):
            if weightless_blocks(model):
                calibrate_(model, images)
        assert torch.equal(first(images), second(images))
        assert len(weightless_blocks(first)) == (2 if ffn == "weightless" else 0)


def test_drop_path_leaves_out_whole_branches_of_some_images():
    model = small(drop_path=0.5).train()
    assert [block.drop_path for block in model.blocks] == [0.0, 0.5]
    torch.manual_seed(0)
    branch = torch.ones(1000, 2, 3)
    kept = model.blocks[1]._some_images(branch)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert (kept.amax(dim=(1, 2)) == kept.amin(dim=(1, 2))).all()
    assert kept.mean() == pytest.approx(1, abs=0.1)
    assert torch.equal(model.eval().blocks[1]._some_images(branch), branch)


def test_pixels_are_normalised_with_the_configuration():
    model = small(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    pixels = torch.full((1, 3, 12, 12), 51, dtype=torch.uint8)
    assert torch.allclose(model.normalised(pixels)[0, :, 0, 0], torch.tensor([0.2, 0.0, -0.5]), atol=1e-6)
    assert F.relu(model.normalised(pixels)).shape == (1, 3, 12, 12)
