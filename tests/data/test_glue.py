"""GLUE: files, errors, tokens, batches, metrics."""

import lzma
import os
import sys
import types

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lutra.data.glue import (
    FOLDER_VARIABLE,
    TASKS,
    EncodedSplit,
    encode_split,
    find_task,
    metrics,
    read_split,
)
from lutra.data.tokenizer import load_tokenizer
from lutra.errors import InputError

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "dog", "ran", "."]
MRPC_ROWS = ["sentence1\tsentence2\tlabel\tidx", "The cat sat.\tCats sat\t1\t0", 'a "dog ran\tthe dog\t0\t1']


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "MRPC-dev.tsv.xz").write_bytes(lzma.compress(("\n".join(MRPC_ROWS) + "\n").encode()))
    (tmp_path / "MRPC-train.tsv").write_text("\n".join(MRPC_ROWS) + "\n")
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return tmp_path


@pytest.mark.parametrize("split", ["train", "dev"])
def test_plain_and_packed_files_are_read(folder, split):
    read = read_split(TASKS["MRPC"], split, folder)
    assert read.texts == [("The cat sat.", "Cats sat"), ('a "dog ran', "the dog")]
    assert torch.equal(read.labels, torch.tensor([1, 0]))


def test_the_folder_comes_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert len(read_split(find_task("mrpc"), "dev").texts) == 2


def test_the_original_name_of_qqp_labels(tmp_path):
    (tmp_path / "QQP-train.tsv").write_text("id\tquestion1\tquestion2\tis_duplicate\n7\twhy?\thow?\t1\n")
    assert read_split(TASKS["QQP"], "train", tmp_path).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["sentence1\tlabel", "a\t1"], r"MRPC-dev\.tsv: column sentence2 is missing; there are sentence1, label"),
        (["sentence1\tsentence2\tlabel", "a\tb\t2"], "example 1 has the label '2'; MRPC has 0 to 1"),
        (["sentence1\tsentence2\tlabel", "a\tb\t1", "a\tb\t-1"], "example 2 has the label '-1'"),
        (["sentence1\tsentence2\tlabel", "a\tb\tyes"], "label 'yes'"),
        (["sentence1\tsentence2\tlabel", "a\tb\t1", "a\tb"], "line 3 has 2 fields, the header has 3"),
        (["sentence1\tsentence2\tlabel"], "no examples"),
    ],
)
def test_wrong_files_are_one_clear_error(tmp_path, lines, message):
    (tmp_path / "MRPC-dev.tsv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=message):
        read_split(TASKS["MRPC"], "dev", tmp_path)


@pytest.mark.parametrize("score", ["5.1", "nan", "-0.5"])
def test_scores_out_of_range_are_refused(tmp_path, score):
    (tmp_path / "STS-B-dev.tsv").write_text(f"sentence1\tsentence2\tlabel\na\tb\t{score}\n")
    with pytest.raises(InputError, match="a score from 0 to 5"):
        read_split(TASKS["STS-B"], "dev", tmp_path)


def test_missing_data_says_what_is_there(folder, monkeypatch):
    with pytest.raises(InputError, match=r"no MRPC-test\.tsv .*MRPC-dev\.tsv\.xz, MRPC-train\.tsv"):
        read_split(TASKS["MRPC"], "test", folder)
    with pytest.raises(InputError, match="nothing of CoLA"):
        read_split(TASKS["CoLA"], "dev", folder)
    (folder / "RTE-dev.tsv.xz").write_bytes(b"not xz")
    with pytest.raises(InputError, match="cannot read"):
        read_split(TASKS["RTE"], "dev", folder)
    with pytest.raises(InputError, match="no GLUE task wnli; there are MNLI"):
        find_task("wnli")
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("lutra.data.glue.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"set {FOLDER_VARIABLE}"):
        read_split(TASKS["RTE"], "dev")


def test_datasets_is_used_where_there_is_no_folder(monkeypatch):
    class Table(dict):
        column_names = ("premise", "hypothesis", "label")

    def load_dataset(name, configuration, split):
        assert (name, configuration, split) == ("glue", "mnli", "validation_matched")
        return Table(premise=["a"], hypothesis=["b"], label=[2])

    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("lutra.data.glue.importlib.util.find_spec", lambda name: name == "datasets" or None)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    read = read_split(TASKS["MNLI"], "dev_matched")
    assert read.texts == [("a", "b")] and read.labels.tolist() == [2]


def test_tokens_of_a_pair(folder):
    encoded = encode_split(read_split(TASKS["MRPC"], "dev", folder), load_tokenizer(folder), max_length=32)
    batch = encoded.batch(torch.tensor([0]))
    words = ["[CLS]", "the", "cat", "sat", ".", "[SEP]", "cat", "##s", "sat", "[SEP]"]
    assert batch.tokens.tolist() == [[VOCABULARY.index(word) for word in words]]
    assert batch.token_types.tolist() == [[0] * 6 + [1] * 4]
    both = encoded.batch(torch.tensor([0, 1]))
    assert both.mask.sum(dim=1).tolist() == [10, 9] and both.tokens.shape == (2, 10)
    assert both.tokens[1, 9:].tolist() == [0]
    short = encode_split(read_split(TASKS["MRPC"], "dev", folder), load_tokenizer(folder), max_length=7)
    assert short.tokens.shape == (2, 7) and short.lengths.tolist() == [7, 7]


def test_training_batches_are_random_epochs_that_repeat(folder):
    rows = [f"cat dog\tran\t{index % 2}" for index in range(11)]
    (folder / "RTE-train.tsv").write_text("\n".join(["sentence1\tsentence2\tlabel", *rows]) + "\n")
    encoded = encode_split(read_split(TASKS["RTE"], "train", folder), load_tokenizer(folder), 16)
    encoded.tokens[:, 0] = torch.arange(11)
    epochs = [
        torch.cat([encoded.training_batch(3, 2 * epoch + place, 5).tokens[:, 0] for place in (0, 1)]).tolist()
        for epoch in (0, 1)
    ]
    assert all(len(set(epoch)) == 10 for epoch in epochs) and epochs[0] != epochs[1]
    assert encoded.training_batch(3, 1, 5).tokens[:, 0].tolist() == epochs[0][5:]
    assert torch.cat([batch.tokens[:, 0] for batch in encoded.batches(4)]).tolist() == list(range(11))
    with pytest.raises(InputError, match="less than one batch"):
        encoded.training_batch(3, 0, 12)


@given(st.integers(1, 300), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_batches_are_whole_epochs_of_similar_lengths(count, batch, seed):
    assume(count >= batch)
    lengths = torch.randint(3, 60, (count,), generator=torch.Generator().manual_seed(seed))
    numbers = torch.arange(count, dtype=torch.int32)[:, None].expand(-1, 60).contiguous()
    split = EncodedSplit(TASKS["RTE"], numbers, torch.zeros_like(numbers, dtype=torch.int8), lengths, numbers[:, 0])
    assert split.batches_per_epoch(batch) == count // batch
    batches = [split.training_batch(seed, iteration, batch) for iteration in range(count // batch)]
    seen = torch.cat([each.labels for each in batches])
    assert len(set(seen.tolist())) == len(seen) == count // batch * batch
    padded, real = (
        sum(sizes) for sizes in zip(*((each.mask.numel(), each.mask.sum()) for each in batches), strict=True)
    )
    shuffled = lengths[seen][torch.randperm(len(seen), generator=torch.Generator().manual_seed(1))]
    assert real <= padded <= batch * sum(each.max() for each in shuffled.split(batch)) + 60 * batch


def test_classification_metrics_are_their_formulas():
    predicted, labels = torch.tensor([1, 1, 0, 0, 1, 1, 0, 1]), torch.tensor([1, 0, 0, 1, 1, 1, 0, 0])
    logits = torch.nn.functional.one_hot(predicted, 2).float()
    true_positive, true_negative, false_positive, false_negative = 3, 2, 2, 1
    got = metrics(TASKS["MRPC"], logits, labels)
    assert got["accuracy"] == pytest.approx(100 * 5 / 8)
    assert got["f1"] == pytest.approx(100 * 2 * true_positive / (2 * true_positive + false_positive + false_negative))
    product = true_positive * true_negative - false_positive * false_negative
    assert metrics(TASKS["CoLA"], logits, labels)["matthews"] == pytest.approx(100 * product / (5 * 3 * 4 * 4) ** 0.5)


def test_correlations_are_their_formulas():
    scores, labels = torch.tensor([0.1, 2.0, 1.5, 4.0]), torch.tensor([0.0, 1.0, 3.0, 5.0])
    got = metrics(TASKS["STS-B"], scores[:, None], labels)
    assert got["pearson"] == pytest.approx(100 * torch.corrcoef(torch.stack([scores, labels]))[0, 1].item())
    assert got["spearman"] == pytest.approx(100 * (1 - 6 * 2 / (4 * 15)))
    assert got["pearson_spearman"] == pytest.approx((got["pearson"] + got["spearman"]) / 2)


@pytest.mark.parametrize("name", ["CoLA", "STS-B"])
def test_constant_predictions_have_no_correlation(name):
    logits = torch.ones(4, TASKS[name].outputs)
    assert metrics(TASKS[name], logits, torch.tensor([0, 1, 1, 0]))[TASKS[name].metric] == 0


@pytest.mark.skipif(FOLDER_VARIABLE not in os.environ, reason=f"set {FOLDER_VARIABLE} to a folder of GLUE files")
@pytest.mark.parametrize(
    ("name", "split", "examples", "positive"),
    [
        ("CoLA", "dev", 1043, 721),
        ("MRPC", "train", 3668, 2474),
        ("MRPC", "dev", 408, 279),
        ("RTE", "dev", 277, 131),
        ("STS-B", "dev", 1500, None),
        ("SST-2", "dev", 872, 444),
        ("QNLI", "dev", 5463, None),
        ("MNLI", "dev_mismatched", 9832, None),
    ],
)
def test_real_files(name, split, examples, positive):
    read = read_split(TASKS[name], split)
    assert len(read.texts) == len(read.labels) == examples
    if positive is not None:
        assert (read.labels == 1).sum() == positive
