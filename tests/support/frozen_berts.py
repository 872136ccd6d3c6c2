"""Small BERTs in few bits, with what training would give them, and sentences for them."""

import torch
from hypothesis import strategies as st

from lutra.models.bert import Bert
from lutra.recipes.bert_config import BertConfig

METHODS = [
    *({"method": method, "activation_bits": bits} for method in ("bmt", "bit") for bits in (8, 4, 2, 1)),
    *({"method": method, "activation_bits": bits} for method in ("binary", "ternary") for bits in (8, 4, 2)),
    {"method": "ternary", "embedding_bits": 8, "activation_bits": 8},
    {"method": "bmt", "wtws": False},
]


def small_config(**changes):
    shape = {"layers": 2, "heads": 2, "head_width": 8, "width": 24, "intermediate": 32, "vocabulary": 50}
    return BertConfig.model_validate({**shape, "positions": 16, "activation": "relu", **changes})


def sentences(config, count, length, seed):
    """Tokens, types and mask (count, length) of sentences of all lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(config.vocabulary, (count, length), generator=generator)
    token_types = torch.randint(config.token_types, (count, length), generator=generator)
    lengths = torch.randint(1, length + 1, (count, 1), generator=generator)
    lengths[0] = length
    return tokens, token_types, (torch.arange(length) < lengths).long()


@torch.no_grad()
def trained_like(config, seed):
    """A model whose quantisers are calibrated and whose learned factors and biases are not what they start with.

    Steps, weights and column scales have floors, as a layer of one or two weights may be drawn near 0 or have seen
    nothing but 0: their product, a layer's factor, must be a normal binary16 number, which freezing asks for.
    """
    model = Bert(config, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "column_scales" in name or "norm.weight" in name:
            parameter.mul_((1 + 0.3 * noise).clamp_min(0.4))
        elif name.endswith("bias"):
            parameter.add_(0.1 * noise)
        elif "classifier" in name:
            parameter.mul_(20)
        elif parameter.dim() == 2:
            parameter.mul_((0.01 / parameter.abs().mean()).clamp_min(1))
    model(*sentences(config, 8, config.positions, seed))
    for step in model.parameter_groups()["steps"]:
        step.clamp_min_(0.02)
    return model


@st.composite
def configs(draw):
    """Any shape, and every method that can be frozen."""
    return small_config(
        layers=draw(st.integers(1, 2)),
        heads=draw(st.integers(1, 3)),
        head_width=draw(st.integers(1, 9)),
        width=draw(st.integers(2, 30)),
        intermediate=draw(st.integers(1, 40)),
        vocabulary=draw(st.integers(1, 50)),
        positions=draw(st.integers(1, 20)),
        token_types=draw(st.integers(1, 2)),
        outputs=draw(st.integers(1, 3)),
        activation=draw(st.sampled_from(("relu", "gelu"))),
        layer_norm_epsilon=draw(st.sampled_from((1e-12, 1e-5))),
        quantisation=draw(st.sampled_from(METHODS)),
    )
