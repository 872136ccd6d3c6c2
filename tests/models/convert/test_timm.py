"""timm's kinds of feed-forward parts, at tiny sizes: converted exactly, or named with a reason."""

import pytest
import torch

import lutra
from own_models import small

timm = pytest.importorskip("timm", reason="timm is not installed: its models are not checked")


def vit(**changes):
    from timm.models.vision_transformer import VisionTransformer

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 7}
    return VisionTransformer(**{**sizes, **changes}), 32


def parallel_things():
    from timm.models.vision_transformer import ParallelThingsBlock

    return vit(block_fn=ParallelThingsBlock)


def parallel_scaling():
    from timm.models.vision_transformer import ParallelScalingBlock

    return vit(block_fn=ParallelScalingBlock)


def deit():
    from timm.models.deit import VisionTransformerDistilled

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 7}
    return VisionTransformerDistilled(**sizes), 32


def swin():
    from timm.models.swin_transformer import SwinTransformer

    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    return SwinTransformer(**sizes, num_classes=7), 32


def eva():
    from timm.models.eva import Eva

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 7}
    return Eva(**sizes, swiglu_mlp=True, scale_mlp=True), 32


def convnext(conv_mlp):
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), conv_mlp=conv_mlp, num_classes=7), 64


def pvt():
    from timm.models.pvt_v2 import PyramidVisionTransformerV2

    sizes = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 24, 32), "num_heads": (1, 2, 2, 4)}
    return PyramidVisionTransformerV2(**sizes, num_classes=7), 64


def mixer():
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(img_size=32, patch_size=8, num_blocks=2, embed_dim=32, num_classes=7), 32


def levit():
    return timm.create_model("levit_128s", num_classes=7), 224


def maxvit():
    return timm.create_model("maxvit_rmlp_pico_rw_256", num_classes=7), 256


def swiglu_packed():
    from timm.layers import SwiGLUPacked

    return vit(mlp_layer=SwiGLUPacked)


def swiglu():
    from timm.layers import SwiGLU

    return vit(mlp_layer=SwiGLU)


MODELS = {
    "vit": vit,
    "vit, layer scale": lambda: vit(init_values=1e-5),
    "deit": deit,
    "swin": swin,
    "parallel things": parallel_things,
    "parallel scaling": parallel_scaling,
    "swiglu packed": swiglu_packed,
    "swiglu": swiglu,
    "eva": eva,
    "convnext": lambda: convnext(False),
    "convnext, convolutions": lambda: convnext(True),
    "pvt": pvt,
    "mixer": mixer,
    "levit": levit,
    "maxvit": maxvit,
}


def planned(name):
    torch.manual_seed(0)
    model, side = MODELS[name]()
    images = torch.randn(2, 3, side, side)
    return model.eval(), images, lutra.find_mlps(model.eval(), images, strict=False)


CONVERTED = {
    "vit": 2, "vit, layer scale": 2, "deit": 2, "swin": 2, "parallel things": 4, "swiglu packed": 2, "swiglu": 2,
    "eva": 2, "convnext": 5, "convnext, convolutions": 5, "mixer": 4, "levit": 11, "maxvit": 22,
}  # fmt: skip
REFUSED = {
    "parallel scaling": (2, "read elsewhere"),  # its first layer is that of the attention too
    "pvt": (4, "a convolution stands between"),
}
LARGE = ("levit", "maxvit")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in CONVERTED])
def test_every_feed_forward_part_is_converted_exactly(name):
    _, _, plan = planned(name)
    assert len(plan.converted) == CONVERTED[name] and plan.exact and plan.share_left_dense == 0, str(plan)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_function_of_rows_is_named(name):
    count, reason = REFUSED[name]
    _, _, plan = planned(name)
    assert not plan.converted and plan.share_left_dense == 1
    assert len(plan.found) == count and all(reason in row.reason for row in plan.found), str(plan)


@pytest.mark.parametrize("name", ["swin", "convnext, convolutions", "mixer"])
def test_a_converted_model_freezes_to_what_it_computes(name):
    from lutra.freeze.engines import install

    model, images, plan = planned(name)
    lutra.replace_mlp(model, plan, small())
    lutra.calibrate_(model, images)
    frozen = lutra.freeze_model(model)
    with torch.no_grad():
        expected = model(images)
        install(model, frozen)
        assert torch.equal(model(images), expected)
