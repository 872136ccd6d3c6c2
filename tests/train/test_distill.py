"""Distillation: losses as published, what a lesson teaches, and the chain from float to binary."""

import math

import pytest
import torch

from lutra.data.glue import TASKS, EncodedSplit
from lutra.errors import InputError, TrainingError
from lutra.models.bert import Bert, BertOutput, requantised
from lutra.recipe import BertConfig, QuantisationConfig
from lutra.train.distill import Stage, binarise, distil, evaluate, intermediate_loss, label_loss, logit_loss, train

SHAPE = {
    "layers": 2,
    "heads": 2,
    "head_width": 8,
    "width": 24,
    "intermediate": 32,
    "vocabulary": 20,
    "positions": 8,
    "activation": "relu",
    "dropout": 0.0,
}
LOW = torch.finfo(torch.float32).min


def examples(count, seed, task="RTE"):
    """Sentences whose label says whether token 3 is among them."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, 20, (count, 8), generator=generator, dtype=torch.int32)
    labels = torch.rand(count, generator=generator) < 0.5
    tokens[labels, 2] = 3
    lengths = torch.randint(5, 9, (count,), generator=generator)
    labels = labels.long() if TASKS[task].labels else labels.float()
    return EncodedSplit(TASKS[task], tokens, torch.zeros_like(tokens, dtype=torch.int8), lengths, labels)


def float_bert(seed=0, **changes):
    return Bert(BertConfig.model_validate({**SHAPE, **changes}), seed)


@pytest.fixture(scope="module")
def teacher():
    torch.set_num_threads(1)
    model = float_bert()
    stage = Stage(learning_rate=3e-3, iterations=120, batch=32, evaluate_every=40)
    trained = train(model, examples(400, 1), examples(200, 2), stage)
    assert trained.score > 95
    return trained.model


def test_losses_are_the_published_formulas():
    student, other = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.5, 0.1], [3.0, 1.0]])
    soft = -sum(
        math.exp(t) / sum(math.exp(x) for x in row_t) * (s - math.log(sum(math.exp(x) for x in row_s)))
        for row_s, row_t in zip(student.tolist(), other.tolist(), strict=True)
        for s, t in zip(row_s, row_t, strict=True)
    )
    assert logit_loss(TASKS["RTE"], student, other).item() == pytest.approx(soft / 4)
    assert logit_loss(TASKS["STS-B"], student[:, :1], other[:, :1]).item() == pytest.approx((0.25 + 9) / 2)
    assert label_loss(TASKS["STS-B"], student[:, :1], torch.tensor([0.0, 2.0])).item() == pytest.approx((1 + 4) / 2)


def test_padding_counts_as_zero_in_the_attention_loss():
    def output(scores, hidden):
        return BertOutput(torch.zeros(1), torch.zeros(1), [torch.tensor(hidden)], [torch.tensor(scores)])

    loss = intermediate_loss(output([1.0, LOW], [1.0, 1.0]), output([3.0, LOW], [1.0, 4.0]))
    assert loss.item() == pytest.approx(4 / 2 + 9 / 2)
    with pytest.raises(InputError, match="differ in layers"):
        intermediate_loss(output([1.0], [1.0]), output([1.0, 2.0], [1.0]))


def test_the_best_weights_are_kept(teacher):
    dev = examples(200, 2)
    # So high a rate destroys the model after its first steps: the best is what an early evaluation saw.
    stage = Stage(learning_rate=1.0, iterations=12, batch=16, evaluate_every=1)
    trained = train(requantised(teacher, teacher.config), examples(400, 1), dev, stage)
    assert evaluate(trained.model, dev)["accuracy"] == trained.score
    assert not trained.model.training


def test_training_repeats_to_the_bit(teacher):
    config = teacher.config.model_copy(
        update={"quantisation": QuantisationConfig.model_validate({"method": "ternary"})}
    )
    stage = Stage(learning_rate=1e-3, iterations=5, batch=16)
    runs = [
        train(requantised(teacher, config), examples(100, 1), examples(50, 2), stage, "logits", teacher)
        for _ in range(2)
    ]
    assert runs[0].losses == runs[1].losses


def test_a_regression_is_taught_by_its_teacher():
    """With BinaryBERT's cross-entropy nothing would be learned here."""
    data, dev = examples(400, 1, "STS-B"), examples(100, 2, "STS-B")
    stage = Stage(learning_rate=3e-3, iterations=150, batch=32, evaluate_every=50)
    tutor = train(float_bert(outputs=1), data, dev, stage).model
    student = train(float_bert(seed=9, outputs=1), data, dev, stage, "logits", tutor)
    assert student.score > 90 and student.losses[-1] < 0.3 * student.losses[0]


@pytest.mark.parametrize("method", ["binary", "bmt"])
def test_the_chain_from_float_to_binary(teacher, method):
    data, dev = examples(400, 1), examples(200, 2)
    quantisation = QuantisationConfig.model_validate({"method": method, "activation_bits": 4})
    stage = Stage(learning_rate=1e-3, iterations=60, batch=32, evaluate_every=30, step_learning_rate=1e-3)
    chain = binarise(teacher, quantisation, data, dev, stage, stage)
    assert chain.split_score == pytest.approx(chain.ternary.score, abs=1.0)  # equal up to rounding in float32
    assert chain.binary.score > 90
    assert evaluate(chain.binary.model, dev)["accuracy"] == chain.binary.score
    assert chain.binary.model.config.quantisation == quantisation


def test_bit_distils_without_a_split(teacher):
    quantisation = QuantisationConfig.model_validate({"method": "bit", "activation_bits": 4})
    student = requantised(teacher, teacher.config.model_copy(update={"quantisation": quantisation}))
    stage = Stage(learning_rate=2e-3, iterations=80, batch=32, evaluate_every=40, step_learning_rate=1e-3)
    assert distil(student, teacher, examples(400, 1), examples(200, 2), stage, stage).score > 90


def test_wrong_use_is_one_clear_error(teacher):
    data, stage = examples(50, 1), Stage(learning_rate=1e-3, iterations=3, batch=8)
    with pytest.raises(InputError, match="'logits' needs a teacher"):
        train(float_bert(), data, data, stage, "logits")
    with pytest.raises(InputError, match="'labels' has no use for a teacher"):
        train(float_bert(), data, data, stage, "labels", teacher)
    with pytest.raises(InputError, match="needs the student's shape"):
        train(float_bert(heads=4), data, data, stage, "intermediate", teacher)
    with pytest.raises(InputError, match='"binary" and "bmt"'):
        binarise(teacher, QuantisationConfig.model_validate({"method": "bit"}), data, data, stage, stage)
    broken = float_bert()
    broken.classifier.weight.data.fill_(torch.nan)
    with pytest.raises(TrainingError, match="iteration 0"):
        train(broken, data, data, stage)
