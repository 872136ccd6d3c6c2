"""Distillation: losses as published, and what a lesson teaches."""

import math
from dataclasses import replace

import pytest
import torch

from lutra.data.glue import TASKS, EncodedSplit
from lutra.errors import InputError
from lutra.models.bert import Bert, BertOutput, requantised
from lutra.recipes.bert import Lesson
from lutra.recipes.bert_config import BertConfig, QuantisationConfig
from lutra.runs.files import read_json
from lutra.train.distill import evaluate, intermediate_loss, label_loss, lesson_loss, logit_loss
from tiny_glue import teach

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
def teacher(tmp_path_factory):
    torch.set_num_threads(1)
    folder, lesson = tmp_path_factory.mktemp("teacher"), Lesson("labels", 3e-3, 10)
    model = teach(folder, float_bert(), lesson, examples(400, 1), examples(200, 2))
    assert evaluate(model, examples(200, 2))["accuracy"] > 95
    return model


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


def test_the_best_weights_are_kept(teacher, tmp_path):
    data, dev = examples(400, 1), examples(200, 2)
    wrong = replace(data, labels=1 - data.labels)  # unlearns what it knows: the best is an early evaluation
    model = requantised(teacher, teacher.config)
    model = teach(tmp_path, model, Lesson("labels", 3e-3, 2), wrong, dev, evaluate_every=1)
    result = read_json(tmp_path / "result.json", "train")
    assert evaluate(model, dev)["accuracy"] == result["best_score"] > result["last_score"]
    assert result["lessons"][0]["best_iteration"] < result["iterations"] == 24


def test_a_regression_is_taught_by_its_teacher(tmp_path):
    """With BinaryBERT's cross-entropy nothing would be learned here."""
    data, dev = examples(400, 1, "STS-B"), examples(100, 2, "STS-B")
    tutor = teach(tmp_path / "tutor", float_bert(outputs=1), Lesson("labels", 3e-3, 12), data, dev)
    student = float_bert(seed=9, outputs=1)
    taught = teach(tmp_path / "student", student, Lesson("logits", 3e-3, 12), data, dev, tutor)
    assert evaluate(taught, dev)["pearson_spearman"] > 90


@pytest.mark.parametrize("kind", [pytest.param("intermediate", marks=pytest.mark.slow), "joint"])
def test_a_quantised_student_learns_hidden_states(teacher, tmp_path, kind):
    quantisation = QuantisationConfig.model_validate({"method": "bit", "activation_bits": 4})
    student = requantised(teacher, teacher.config.model_copy(update={"quantisation": quantisation}))
    taught = teach(tmp_path, student, Lesson(kind, 2e-3, 8), examples(400, 1), examples(200, 2), teacher)
    assert evaluate(taught, examples(200, 2))["accuracy"] > 90


def test_a_teacher_with_dropout_says_something_else_every_time(teacher):
    noisy = Bert(teacher.config.model_copy(update={"dropout": 0.5}))
    batch, task = examples(20, 1).batch(torch.arange(20)), TASKS["RTE"]
    student = float_bert(seed=3)
    still, moving = (lesson_loss(student, "logits", noisy, mode)(batch, task) for mode in ("eval", "train"))
    again = lesson_loss(student, "logits", noisy, "train")(batch, task)
    assert len({still.item(), moving.item(), again.item()}) == 3
    assert lesson_loss(student, "logits", noisy)(batch, task) == still


def test_wrong_use_is_one_clear_error(teacher):
    batch, task = examples(8, 1).batch(torch.arange(8)), TASKS["RTE"]
    with pytest.raises(InputError, match="'logits' needs a teacher"):
        lesson_loss(float_bert(), "logits", None)
    with pytest.raises(InputError, match="'labels' has no use for"):
        lesson_loss(float_bert(), "labels", teacher)
    with pytest.raises(InputError, match="needs the student's shape"):
        lesson_loss(float_bert(heads=4), "intermediate", teacher)(batch, task)
