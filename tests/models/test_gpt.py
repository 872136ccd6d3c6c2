"""The GPT: nanoGPT's names and arithmetic, causality, seeds, sampling."""

import math

import pytest
import torch
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.models.gpt import GPT
from lutra.nn.binary_linear import QuantisedLinear
from lutra.nn.calibrate import calibrate_
from lutra.nn.quantizers import ActivationQuantiser
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import BinaryAttentionConfig, BlockConfig, ModelConfig

VOCABULARY = 11
FFNS = ["mlp", "weightless", "none"]


def small_gpt(ffn="mlp", seed=0, **changes):
    config = ModelConfig(**{"layers": 2, "heads": 2, "width": 8, "context": 12, "ffn": ffn, **changes})
    model = GPT(config, VOCABULARY, BlockConfig(), seed).eval()
    if weightless_blocks(model):
        calibrate_(model, tokens(8, 12, seed=99))
    return model


def tokens(batch, length, seed=0):
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bias", [False, True])
def test_names_and_shapes_are_those_of_nanogpt(bias):
    expected = {"transformer.wte.weight": (11, 8), "transformer.wpe.weight": (12, 8), "lm_head.weight": (11, 8)}
    matrices = {
        "attn.c_attn": (24, 8),
        "attn.c_proj": (8, 8),
        "mlp.c_fc": (32, 8),
        "mlp.c_proj": (8, 32),
        "ln_1": (8,),
        "ln_2": (8,),
    }
    modules = {f"transformer.h.{layer}.{name}": shape for layer in range(2) for name, shape in matrices.items()}
    for name, shape in {**modules, "transformer.ln_f": (8,)}.items():
        expected[f"{name}.weight"] = shape
        if bias:
            expected[f"{name}.bias"] = shape[:1]
    assert {name: tuple(tensor.shape) for name, tensor in small_gpt(bias=bias).state_dict().items()} == expected


def test_logits_are_those_of_the_plain_formulas():
    model = small_gpt(bias=True, layers=1)
    weights = {name.removeprefix("transformer."): tensor.double() for name, tensor in model.state_dict().items()}
    for name in [name for name in weights if name.endswith("bias")]:
        model.state_dict()[f"transformer.{name}"].normal_()
        weights[name] = model.state_dict()[f"transformer.{name}"].double()
    idx = tokens(3, 5)

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = weights["wte.weight"][idx] + weights["wpe.weight"][:5]
    q, k, v = linear(norm(x, "h.0.ln_1"), "h.0.attn.c_attn").split(8, dim=-1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(-1) @ v[..., part])
    x = x + linear(torch.cat(heads, -1), "h.0.attn.c_proj")
    hidden = linear(norm(x, "h.0.ln_2"), "h.0.mlp.c_fc")
    x = x + linear(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))), "h.0.mlp.c_proj")
    expected = norm(x, "ln_f") @ weights["wte.weight"].T
    torch.testing.assert_close(model(idx).double(), expected, atol=1e-5, rtol=1e-4)


def binary_gpt(ffn="mlp", **binary):
    return small_gpt(ffn, binary_attention=BinaryAttentionConfig(**binary))


@pytest.mark.parametrize("copies", [1, 2])
def test_binary_attention_multiplies_few_bits_by_signs(copies):
    model = binary_gpt(copies=copies, activation_bits=4)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, QuantisedLinear)}
    assert len(linears) == 2 * 4 and all(".attn." in name for name in linears)
    for module in linears.values():
        module.column_scales.data.uniform_(0.5, 2)
        for output in module.effective_weight():
            assert len(output.abs().unique()) <= copies  # of two: |a + b| and |a - b|
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantiser):
            module.register_forward_hook(lambda _, __, y, name=name: seen.__setitem__(name, y))
    model(tokens(2, 12))
    assert len(seen) == 2 * 6
    assert all(len(values.unique()) <= 16 for values in seen.values())
    assert all(seen[name].min() >= 0 for name in seen if "probability" in name)


def test_binary_attention_is_attention_with_those_weights():
    """With the binary matrices in the float layer, only the rounding to 8 bits is left between the two."""
    binary, plain = binary_gpt(), small_gpt()
    attention, target = binary.transformer.h[0].attn, plain.transformer.h[0].attn
    parts = [attention.query, attention.key, attention.value]
    target.c_attn.weight.data = torch.cat([part.effective_weight() for part in parts]).detach()
    target.c_proj.weight.data = attention.output.effective_weight().detach()
    x = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(5))
    for module in attention.modules():
        if isinstance(module, ActivationQuantiser):
            module.step.data.fill_(torch.nan)
    expected, found = target(x), attention(x)
    assert (found - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("binary", [None, BinaryAttentionConfig(activation_bits=8)])
@pytest.mark.parametrize("ffn", FFNS)
def test_a_position_depends_on_what_came_before_and_on_nothing_later(ffn, binary):
    model = small_gpt(ffn, binary_attention=binary)
    x = tokens(1, 12)
    changed = x.clone()
    changed[0, 7] = (changed[0, 7] + 1) % VOCABULARY
    before, after = model(x), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.equal(before[:, 8:], after[:, 8:])


def test_without_ffn_there_is_neither_second_branch_nor_norm():
    names = small_gpt("none").state_dict()
    assert not [name for name in names if ".mlp." in name or ".ln_2." in name]


def test_initial_weights():
    model = GPT(ModelConfig(layers=8, width=128, ffn="mlp", bias=True), 65, BlockConfig(), 1)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif ".ln_" in name:
            assert (parameter == 1).all(), name
        else:
            expected = 0.02 / math.sqrt(16) if name.endswith("c_proj.weight") else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


@pytest.mark.parametrize("ffn", FFNS)
def test_the_seed_alone_decides_the_weights(ffn):
    torch.manual_seed(5)
    first = small_gpt(ffn, seed=3).weights()
    global_state = torch.get_rng_state()
    second, other = small_gpt(ffn, seed=3).weights(), small_gpt(ffn, seed=4).weights()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_weightless_blocks_of_different_layers_are_wired_differently():
    first, second = weightless_blocks(small_gpt("weightless")).values()
    assert not torch.equal(first.lut_layers[0].mapping.connections(), second.lut_layers[0].mapping.connections())


@pytest.mark.parametrize("ffn", FFNS)
def test_weights_load_without_the_tied_matrix(ffn):
    model, other = small_gpt(ffn, seed=1), small_gpt(ffn, seed=2)
    other.load_weights(model.weights())
    assert other.lm_head.weight is other.transformer.wte.weight
    assert torch.equal(other(tokens(2, 6)), model(tokens(2, 6)))


def test_greedy_generation_takes_the_most_likely_token_and_slides_the_context():
    model = small_gpt()
    torch.nn.init.normal_(model.transformer.wte.weight)
    generated = model.generate(tokens(2, 3), 15, temperature=0)
    assert generated.shape == (2, 18)
    for position in range(3, 18):
        window = generated[:, max(0, position - 12) : position]
        assert torch.equal(model(window)[:, -1].argmax(-1), generated[:, position])
    assert torch.equal(model.generate(tokens(2, 3), 15, temperature=1.0, top_k=1), generated)
    assert torch.equal(model.generate(tokens(2, 3), 15, temperature=1e-6), generated)


def test_sampling_follows_the_softmax_and_the_generator():
    model = small_gpt()
    torch.nn.init.normal_(model.transformer.wte.weight)
    start = tokens(1, 4).expand(20_000, 4)
    sampled = model.generate(start, 1, temperature=2.0, generator=torch.Generator().manual_seed(1))[:, -1]
    frequencies = torch.bincount(sampled, minlength=VOCABULARY) / len(sampled)
    torch.testing.assert_close(frequencies, F.softmax(model(start[:1])[0, -1] / 2.0, -1), atol=0.02, rtol=0)
    again = model.generate(start, 1, temperature=2.0, generator=torch.Generator().manual_seed(1))[:, -1]
    assert torch.equal(sampled, again)


def test_top_k_samples_only_the_most_likely_tokens():
    model = small_gpt()
    start = tokens(1, 4).expand(500, 4)
    sampled = model.generate(start, 1, temperature=5.0, top_k=3)[:, -1]
    assert set(sampled.tolist()) == set(model(start[:1])[0, -1].topk(3).indices.tolist())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": -1.0}, "temperature"), ({"temperature": math.nan}, "temperature"), ({"top_k": 0}, "top_k")],
)
def test_wrong_sampling_options(options, message):
    with pytest.raises(InputError, match=message):
        small_gpt().generate(tokens(1, 2), 1, **options)


def test_wrong_lengths():
    with pytest.raises(InputError, match="13 tokens"):
        small_gpt()(tokens(1, 13))
    with pytest.raises(InputError, match="at least one token"):
        small_gpt().generate(tokens(1, 0), 1)
