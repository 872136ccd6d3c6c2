"""Robustness: the formula, what noise is added where, repeats."""

import json
import math

import pytest
import torch
from torch import nn

import bat_models
from frozen_berts import sentences, small_config
from lutra.data.glue import EncodedSplit, find_task
from lutra.errors import InputError
from lutra.evaluate.robustness import Robustness, measure_frozen_robustness, measure_robustness
from lutra.models.bert import Bert
from lutra.recipes.bert_config import BertConfig
from lutra.runtime.bert.engine import GoldenBert, bert_runtime


def test_ratio_is_the_clean_score_over_the_deviation_from_it():
    assert Robustness(87.5, (86.5, 88.5)).ratio == pytest.approx(87.5)
    assert Robustness(87.5, (84.5,) * 20).ratio == pytest.approx(87.5 / 3)
    systematic, scattered = Robustness(50, (48, 48)), Robustness(50, (48, 52))
    assert systematic.ratio == scattered.ratio == 25


def test_unchanged_predictions_are_infinitely_robust_and_still_json():
    unchanged = Robustness(87.5, (87.5,) * 3)
    assert unchanged.ratio == math.inf
    text = json.dumps(unchanged.to_json(), allow_nan=False)
    assert json.loads(text) == {"ratio": "infinite", "clean": 87.5, "noisy": [87.5] * 3, "engine": "torch"}
    assert Robustness(0.0, (1.0,)).ratio == 0


class Recorder(nn.Module):
    """A model whose embeddings give a fixed tensor, and that remembers what came out of them."""

    def __init__(self, x):
        super().__init__()
        self.embeddings = nn.Identity()
        self.x, self.seen = x, []

    def evaluate(self):
        assert not self.training
        self.seen.append(self.embeddings(self.x))
        return float(len(self.seen))


@pytest.mark.parametrize(("reference", "expected"), [("tensor", 0.1), ("element", 0.1), ("absolute", 0.1)])
def test_noise_has_the_asked_magnitude(reference, expected):
    x = 5 * torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    model = Recorder(x)
    measured = measure_robustness(model, model.embeddings, model.evaluate, reference=reference, repeats=2)
    assert torch.equal(model.seen[0], x)
    assert (measured.clean, measured.noisy) == (1.0, (2.0, 3.0))
    magnitude = {"tensor": x.square().mean().sqrt(), "element": x.abs(), "absolute": torch.tensor(1.0)}[reference]
    for noisy in model.seen[1:]:
        relative = (noisy - x) / magnitude
        assert relative.std().item() == pytest.approx(expected, rel=0.02)
        assert abs(relative.mean().item()) < 0.002
    assert not torch.equal(model.seen[1], model.seen[2])


def test_repeats_are_seeded_and_leave_the_model_as_it_was():
    config = BertConfig(
        layers=1, heads=2, head_width=8, width=16, intermediate=16, vocabulary=30, positions=8, dropout=0.5
    )
    model = Bert(config).train()
    tokens = torch.randint(30, (40, 8), generator=torch.Generator().manual_seed(1))

    def evaluate():
        return 1e3 * float(model(tokens).logits[:, 0].mean())

    first, again = (measure_robustness(model, model.embeddings, evaluate, repeats=20) for _ in range(2))
    assert first == again and len(set(first.noisy)) == 20
    assert measure_robustness(model, model.embeddings, evaluate, repeats=1, seed=19).noisy[0] == first.noisy[19]
    assert model.training and not model.embeddings._forward_hooks


def test_no_noise_changes_nothing():
    model = Recorder(torch.randn(3, 4))
    measure_robustness(model, model.embeddings, model.evaluate, noise=0.0, repeats=1)
    assert torch.equal(model.seen[1], model.x)


def test_wrong_use_is_refused():
    model = Recorder(torch.zeros(1))
    with pytest.raises(InputError, match="not part of the model"):
        measure_robustness(model, nn.Identity(), model.evaluate)
    with pytest.raises(InputError, match="repeats at least 1"):
        measure_robustness(model, model.embeddings, model.evaluate, repeats=0)


def test_a_frozen_model_has_the_robustness_of_its_golden_model():
    config = small_config(quantisation={"method": "bmt", "activation_bits": 2})
    model = bat_models.frozen(config, 2)
    tokens, types, mask = sentences(config, 90, config.positions, 2)
    labels = torch.randint(2, (90,), generator=torch.Generator().manual_seed(0))
    dev = EncodedSplit(find_task("MRPC"), tokens.int(), types.to(torch.int8), mask.sum(dim=1), labels)
    runtime, golden = (
        measure_frozen_robustness(each, dev, repeats=3) for each in (bert_runtime(model, 2), GoldenBert(model))
    )
    assert runtime == golden and runtime.engine == "runtime"
    assert len(set(runtime.noisy)) > 1
    assert measure_frozen_robustness(GoldenBert(model), dev, repeats=1, seed=2).noisy[0] == golden.noisy[2]
    silent = measure_frozen_robustness(bert_runtime(model), dev, noise=0.0, repeats=2)
    assert silent.noisy == (silent.clean,) * 2
