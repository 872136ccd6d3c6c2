"""Converted models on disk: equal to the bit when opened again, and never opened as something else."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

import lutra
from lutra.errors import ConversionError
from lutra.nn.weightless import weightless_blocks
from own_models import D, InlineLayer, Layer, Mlp, MoEFeedForward, Shared, small, x

transformers = pytest.importorskip("transformers")
IDS = torch.arange(28).view(4, 7) % 20


def own():
    torch.manual_seed(0)
    return nn.Sequential(Layer(Mlp()), InlineLayer(gated=True), Shared(), Layer(MoEFeedForward(False)), nn.LayerNorm(D))


def converted(net, *example, **keywords):
    lutra.replace_mlp(net, lutra.find_mlps(net, *example, **keywords), small(), seed=5)
    lutra.calibrate_(net, *example, without_rows="neighbours", **keywords)
    return net.eval()


def gpt2(dtype=torch.float32):
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=20, n_positions=8)
    net = converted(transformers.GPT2LMHeadModel(config).to(dtype), input_ids=IDS)
    weightless_blocks(net)["transformer.h.1.mlp"].quantise_()
    return net


def test_own_models_come_back_to_the_bit(tmp_path):
    net = converted(own(), x(20))
    next(iter(weightless_blocks(net).values())).quantise_()
    y = net(x(20))
    lutra.save_pretrained(net, tmp_path)
    again = lutra.from_pretrained(tmp_path, own())
    assert torch.equal(again(x(20)), y) and not again.training
    assert again.lutra_conversion == net.lutra_conversion
    assert [b.quantised for b in weightless_blocks(again).values()] == [
        b.quantised for b in weightless_blocks(net).values()
    ]
    assert again[2].layers[0].mlp is again[2].layers[2].mlp
    lutra.save_pretrained(again, tmp_path / "twice")
    assert (tmp_path / "twice" / "lutra.safetensors").read_bytes() == (tmp_path / "lutra.safetensors").read_bytes()


def test_what_does_not_fit_is_refused(tmp_path):
    net = converted(own(), x(20))
    lutra.save_pretrained(net, tmp_path)
    with pytest.raises(ConversionError, match="does not fit"):
        lutra.from_pretrained(tmp_path, nn.Sequential(Layer(Mlp())))
    with pytest.raises(ConversionError, match="give a new model"):
        lutra.from_pretrained(tmp_path)
    wider = own()
    wider[4] = nn.LayerNorm((1, D))
    with pytest.raises(ConversionError, match="made for another model"):
        lutra.from_pretrained(tmp_path, wider)
    with pytest.raises(ConversionError, match="not converted"):
        lutra.save_pretrained(own(), tmp_path)
    with pytest.raises(ConversionError, match="no converted model there"):
        lutra.from_pretrained(tmp_path / "nowhere", own())
    tree = json.loads((tmp_path / "lutra.json").read_text())
    for change in ({"format_version": 99}, {"converted": [{}]}, {"converted": 3}):
        (tmp_path / "lutra.json").write_text(json.dumps({**tree, **change}))
        with pytest.raises(ConversionError, match=r"lutra\.json: (format version|does not say)"):
            lutra.from_pretrained(tmp_path, own())
    (tmp_path / "lutra.json").write_text("{")
    with pytest.raises(ConversionError, match="not JSON"):
        lutra.from_pretrained(tmp_path, own())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("native", [False, True])
def test_hugging_face_models_come_back_to_the_bit(tmp_path, dtype, native):
    net = gpt2(dtype)
    y = net(IDS).logits
    net.save_pretrained(tmp_path) if native else lutra.save_pretrained(net, tmp_path)
    opened = [transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()]
    if not native:
        opened.append(lutra.from_pretrained(tmp_path))
    for again in opened:
        assert again.dtype == dtype and type(again) is type(net)
        for (name, tensor), other in zip(again.state_dict().items(), net.state_dict().values(), strict=True):
            assert tensor.dtype == other.dtype and torch.equal(tensor, other), name
        assert torch.equal(again(IDS).logits, y)
    base = transformers.AutoModel.from_pretrained(tmp_path)
    assert set(weightless_blocks(base)) == {"h.0.mlp", "h.1.mlp"}
    again.half().float()  # an ordinary model
    again.save_pretrained(tmp_path / "twice")
    assert "Lutra" in json.loads((tmp_path / "twice" / "config.json").read_text())["transformers_weights"]


def test_opened_in_another_process_with_lutra_and_refused_without(tmp_path):
    net = gpt2()
    torch.save(net(IDS).logits, tmp_path / "logits.pt")
    folder = tmp_path / "model"
    lutra.save_pretrained(net, folder)
    code = f"""
import torch, transformers
transformers.logging.set_verbosity_error()
try:
    transformers.AutoModelForCausalLM.from_pretrained({str(folder)!r})
except Exception as error:
    assert "converted by Lutra" in str(error) and "lutra.from_pretrained" in str(error), error
else:
    raise SystemExit("opened without Lutra")
import lutra
model = lutra.from_pretrained({str(folder)!r})
ids = torch.arange(28).view(4, 7) % 20
assert torch.equal(model(ids).logits, torch.load({str(tmp_path / "logits.pt")!r}))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_damaged_file_is_refused(tmp_path):
    lutra.save_pretrained(gpt2(), tmp_path)
    shutil.copytree(tmp_path, tmp_path / "other")
    tree = json.loads((tmp_path / "other" / "config.json").read_text())
    del tree["quantization_config"]
    tree["transformers_weights"] = None
    (tmp_path / "other" / "config.json").write_text(json.dumps(tree))
    with pytest.raises(ConversionError, match="weights and configuration differ"):
        lutra.from_pretrained(tmp_path / "other")
