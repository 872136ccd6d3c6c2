"""Narrowing: what is cut does not matter, what is kept computes as before."""

import pytest
import torch

from lutra.data.glue import TASKS, EncodedSplit
from lutra.errors import InputError
from lutra.models.bert import Bert
from lutra.recipes.bert import Lesson
from lutra.recipes.bert_config import BertConfig
from lutra.train.narrow import Importance, measure_importance, narrowed
from tiny_glue import teach

SHAPE = {
    "layers": 2,
    "heads": 4,
    "head_width": 6,
    "width": 24,
    "intermediate": 32,
    "vocabulary": 20,
    "positions": 8,
    "activation": "relu",
}


def float_bert(**changes):
    return Bert(BertConfig.model_validate({**SHAPE, **changes}), seed=3).eval()


def examples(count=40):
    tokens = torch.randint(4, 20, (count, 8), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    types = torch.zeros_like(tokens, dtype=torch.int8)
    return EncodedSplit(TASKS["RTE"], tokens, types, torch.full((count,), 8), tokens[:, 1].long() % 2)


def silence(model, layer, heads, neurons):
    """Take away what some heads and neurons add to the residual stream."""
    with torch.no_grad():
        output = model.layers[layer].attention.output.weight.view(24, 4, 6)
        output[:, heads] = 0
        model.layers[layer].feed_forward.output.weight[:, neurons] = 0


def test_parts_that_do_nothing_are_the_unimportant_ones_and_are_cut():
    model = float_bert()
    for layer, heads in ((0, [0, 2]), (1, [1, 3])):
        silence(model, layer, heads, torch.arange(32) % 2 == layer)
    importance = measure_importance(model, examples())
    assert [set(layer.argsort()[:2].tolist()) for layer in importance.heads] == [{0, 2}, {1, 3}]
    narrow = narrowed(model, heads=2, intermediate=16, importance=importance)
    assert narrow.config.attention_width == 12 and narrow.layers[0].attention.query.weight.shape == (12, 24)
    before, after = (each(examples().tokens.long()) for each in (model, narrow))
    assert torch.allclose(before.logits, after.logits, atol=1e-6)
    # At the end only the first position reaches the loss, so that only there nothing may change.
    assert torch.allclose(before.hidden[-1][:, 0], after.hidden[-1][:, 0], atol=1e-5)


def test_head_importance_is_the_gradient_of_a_mask():
    model, data = float_bert(), examples(20)
    importance = measure_importance(model, data, batch=20)
    weight = model.layers[1].attention.output.weight
    original, batch, h = weight.detach().clone(), data.batch(torch.arange(20)), 1e-3

    def loss(mask):
        with torch.no_grad():
            weight.copy_((original.view(24, 4, 6) * mask[:, None]).view(24, 24))
            return torch.nn.functional.cross_entropy(model.double()(*batch[:3]).logits, batch.labels)

    weight.data, original = weight.data.double(), original.double()
    for head in range(4):
        mask = torch.eye(4, dtype=torch.float64)[head] * h
        difference = (loss(1 + mask) - loss(1 - mask)) / (2 * h)
        assert importance.heads[1][head].item() == pytest.approx(difference.abs().item(), rel=1e-2, abs=1e-7)


def test_measuring_leaves_the_model_as_it_was():
    model = float_bert().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure_importance(model, examples())
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_narrow_model_learns_from_the_whole_one(tmp_path):
    data = examples(200)
    teacher = teach(tmp_path / "full", float_bert(dropout=0.0), Lesson("labels", 3e-3, 10), data, data)
    narrow = narrowed(teacher, 2, 16, measure_importance(teacher, data))
    tokens = data.tokens.long()

    def distance(model):
        with torch.no_grad():
            return (model.eval()(tokens).hidden[-1] - teacher(tokens).hidden[-1]).square().mean().item()

    taught = teach(tmp_path / "half", narrow, Lesson("width", 3e-3, 6), data, data, teacher, evaluate_every=100)
    assert distance(taught) < 0.7 * distance(narrowed(teacher, 2, 16, measure_importance(teacher, data)))


def test_wrong_use_is_refused():
    model = float_bert()
    importance = Importance([torch.zeros(4)] * 2, [torch.zeros(32)] * 2)
    with pytest.raises(InputError, match="5 heads and 16 neurons can not be cut out of 4 and 32"):
        narrowed(model, 5, 16, importance)
    quantised = float_bert(quantisation={"method": "bmt"})
    with pytest.raises(InputError, match="only a float BERT"):
        narrowed(quantised, 2, 16, importance)
    with pytest.raises(InputError, match="only a float BERT"):
        measure_importance(quantised, examples())
