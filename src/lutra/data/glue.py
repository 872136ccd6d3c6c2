"""GLUE: tasks, files, tokens and metrics (Wang et al. 2019; the metrics are those of BMT's Table 4).

A task is read from a folder of TSV files, plain or packed with xz, named TASK-SPLIT.tsv(.xz), such as MRPC-dev.tsv.xz:
UTF-8, one header line, no quoting. Columns, labels and order are those of the `glue` data set of Hugging Face.
"""

from __future__ import annotations

import importlib.util
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torchmetrics.functional.classification import binary_f1_score, binary_matthews_corrcoef, multiclass_accuracy
from torchmetrics.functional.regression import pearson_corrcoef, spearman_corrcoef

from lutra import settings
from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import TABLE_BYTES
from lutra.reading import read_bytes

FOLDER_VARIABLE = settings.GLUE.name
_BATCH_STREAM = 2
"""Keeps the draws of batches apart from other draws of the same seed."""
_UNPACKING_BYTES = 1 << 30
"""What xz may take beside the table itself."""
_BATCHES_PER_CHUNK = 16
"""Batches whose examples are sorted by length together."""


@dataclass(frozen=True)
class Task:
    """What distinguishes one task from another."""

    name: str
    columns: tuple[str, ...]
    """One or two sentences."""
    labels: tuple[str, ...]
    """Names of the classes 0, 1, ...; empty for a score from 0 to 5."""
    metric: str
    """The one that is reported and that selects a checkpoint."""
    dev_splits: tuple[str, ...] = ("dev",)
    label_column: str = "label"

    @property
    def outputs(self) -> int:
        """Outputs of a model of this task."""
        return max(1, len(self.labels))


_ENTAILMENT = ("entailment", "not_entailment")
_PARAPHRASE = ("not_equivalent", "equivalent")
_SENTENCES = ("sentence1", "sentence2")
TASKS = {
    task.name: task
    for task in (
        Task(
            "MNLI",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            "accuracy",
            ("dev_matched", "dev_mismatched"),
        ),
        Task("QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), "accuracy"),
        Task("QNLI", ("question", "sentence"), _ENTAILMENT, "accuracy"),
        Task("SST-2", ("sentence",), ("negative", "positive"), "accuracy"),
        Task("CoLA", ("sentence",), ("unacceptable", "acceptable"), "matthews"),
        Task("STS-B", _SENTENCES, (), "pearson_spearman"),
        Task("MRPC", _SENTENCES, _PARAPHRASE, "accuracy"),
        Task("RTE", _SENTENCES, _ENTAILMENT, "accuracy"),
    )
}


@dataclass(frozen=True)
class Split:
    """Sentences and labels of one split; `texts` holds one or two strings per example."""

    task: Task
    texts: list[tuple[str, ...]]
    labels: Tensor  # (N,) int64, float32 for a regression


class Batch(NamedTuple):
    """Examples padded to the longest of them; the first three are the arguments of a `Bert`."""

    tokens: Tensor  # (B, T) int64
    token_types: Tensor  # (B, T) int64
    mask: Tensor  # (B, T) int64, 1 for tokens
    labels: Tensor  # (B,)


@dataclass(frozen=True)
class EncodedSplit:
    """A split as token numbers, padded to the longest example."""

    task: Task
    tokens: Tensor  # (N, T) int32
    token_types: Tensor  # (N, T) int8
    lengths: Tensor  # (N,) int64
    labels: Tensor  # (N,)

    def batch(self, index: Tensor) -> Batch:
        """The examples `index` (B,) int64."""
        lengths = self.lengths[index]
        longest = int(lengths.max())
        mask = (torch.arange(longest) < lengths[:, None]).long()
        tokens, types = (table[index, :longest].long() for table in (self.tokens, self.token_types))
        return Batch(tokens, types, mask, self.labels[index])

    def batches(self, batch: int) -> Iterator[Batch]:
        """Every example once, in order, `batch` at a time."""
        for index in torch.arange(len(self.labels)).split(batch):
            yield self.batch(index)

    def training_batch(self, seed: int, iteration: int, batch: int) -> Batch:
        """The batch of an iteration: epochs of random order, a pure function of the arguments.

        Examples of about the same length come together, which saves padding: random chunks of a few batches are sorted
        by length and cut into batches, whose order is random again.

        Raises:
            InputError: fewer examples than one batch.
        """
        epoch, place = divmod(iteration, self.batches_per_epoch(batch))
        generator = np.random.default_rng((seed, _BATCH_STREAM, epoch))
        order = generator.permutation(len(self.labels))
        place = int(generator.permutation(self.batches_per_epoch(batch))[place])
        first = place - place % _BATCHES_PER_CHUNK
        chunk = order[first * batch : (first + _BATCHES_PER_CHUNK) * batch]
        chunk = chunk[: len(chunk) // batch * batch]  # what is left over at the end of an epoch is drawn at random
        chunk = chunk[np.argsort(self.lengths.numpy()[chunk], kind="stable")]
        return self.batch(torch.from_numpy(chunk[(place - first) * batch :][:batch]))

    def batches_per_epoch(self, batch: int) -> int:
        """Whole training batches in one pass.

        Raises:
            InputError: fewer examples than one batch.
        """
        if len(self.labels) < batch:
            raise InputError(f"{len(self.labels)} examples of {self.task.name} are less than one batch of {batch}")
        return len(self.labels) // batch


def find_task(name: str) -> Task:
    """The task called `name`, in any case.

    Raises:
        InputError: there is no such task.
    """
    for task in TASKS.values():
        if task.name.lower() == name.lower():
            return task
    raise InputError(f"no GLUE task {name}; there are {', '.join(TASKS)}")


def read_split(task: Task, split: str, folder: Path | None = None) -> Split:
    """A split, such as "train" or one of `task.dev_splits`, of `folder`, else of the folder that LUTRA_GLUE names.

    Without a folder the `glue` data set is taken with Hugging Face's `datasets`, where that is installed.

    Raises:
        InputError: no source of data, no such file, a damaged file, a column that is missing, a label out of range.
    """
    folder = folder or settings.GLUE.path
    if folder is not None:
        path = _find_file(task, split, folder)
        columns, source = _read_tsv(path), str(path)
    elif importlib.util.find_spec("datasets"):
        columns, source = _read_hugging_face(task, split), f"Hugging Face glue, {task.name} {split}"
    else:
        raise InputError(
            f"no GLUE data: set {FOLDER_VARIABLE} to a folder with {task.name}-{split}.tsv(.xz), or install `datasets`"
        )
    missing = [name for name in (*task.columns, task.label_column) if name not in columns]
    if task.name == "QQP" and missing == ["label"] and "is_duplicate" in columns:  # the name in the original files
        columns, missing = {**columns, "label": columns["is_duplicate"]}, []
    if missing:
        raise InputError(f"{source}: column {missing[0]} is missing; there are {', '.join(columns)}")
    texts = list(zip(*(columns[name] for name in task.columns), strict=True))
    return Split(task, texts, _parse_labels(task, columns[task.label_column], source))


def _find_file(task: Task, split: str, folder: Path) -> Path:
    for path in (folder / f"{task.name}-{split}.tsv", folder / f"{task.name}-{split}.tsv.xz"):
        if path.is_file():
            return path
    there = sorted(path.name for path in folder.glob(f"{task.name}-*.tsv*"))
    found = f"of {task.name} there are {', '.join(there)}" if there else f"there is nothing of {task.name}"
    raise InputError(f"{folder}: no {task.name}-{split}.tsv or .tsv.xz; {found}")


def _read_tsv(path: Path) -> dict[str, list[str]]:
    try:
        content = read_bytes(path, TABLE_BYTES)
        text = (_unpacked(content) if path.suffix == ".xz" else content).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot read it ({brief(str(error))})") from None
    # Editors of Windows put a mark first and a carriage return before every line end.
    lines = text.removesuffix("\n").split("\n")
    head, *rows = [line.removesuffix("\r").split("\t") for line in lines]
    if len(set(head)) != len(head):
        raise InputError(f"{path}: a column's name comes twice in {brief(', '.join(head))}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(head):
            raise InputError(f"{path}: line {number} has {len(row)} fields, the header has {len(head)}")
    if not rows:
        raise InputError(f"{path}: no examples in it")
    return {name: list(values) for name, values in zip(head, zip(*rows, strict=True), strict=True)}


def _unpacked(content: bytes) -> bytes:
    """The content of an xz file, up to the limit.

    Raises:
        ValueError: it is larger, or does not end.
    """
    unpacker = lzma.LZMADecompressor(memlimit=_UNPACKING_BYTES)
    unpacked = unpacker.decompress(content, max_length=TABLE_BYTES + 1)
    if len(unpacked) > TABLE_BYTES:
        raise ValueError(f"more than {TABLE_BYTES:,} bytes when unpacked")
    if not unpacker.eof:
        raise ValueError("the file is cut off")
    return unpacked


def _read_hugging_face(task: Task, split: str) -> dict[str, list[Any]]:
    from datasets import load_dataset

    # datasets has no common base for "no such split", "no network" and its parsing errors.
    try:
        table = load_dataset("glue", task.name.replace("-", "").lower(), split=split.replace("dev", "validation"))
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"Hugging Face glue, {task.name} {split}: cannot be loaded ({reason})") from None
    return {name: table[name] for name in table.column_names}


def _parse_labels(task: Task, values: list[Any], source: str) -> Tensor:
    allowed = f"0 to {len(task.labels) - 1}" if task.labels else "a score from 0 to 5"
    labels = []
    for number, value in enumerate(values, start=1):
        try:
            label = int(value) if task.labels else float(value)
        except ValueError:
            label = -1
        if not 0 <= label <= (len(task.labels) - 1 if task.labels else 5):  # also refuses NaN
            raise InputError(
                f"{source}: example {number} has the label {brief(str(value), 40)!r}; {task.name} has {allowed}"
            )
        labels.append(label)
    return torch.tensor(labels, dtype=torch.int64 if task.labels else torch.float32)


def encode_split(split: Split, tokenizer: Tokenizer, max_length: int) -> EncodedSplit:
    """[CLS] first [SEP], or [CLS] first [SEP] second [SEP].

    Beyond `max_length` tokens the longer sentence gives way.
    """
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    pairs = [text if len(text) == 2 else text[0] for text in split.texts]
    encoded = tokenizer.encode_batch(pairs)
    tokenizer.no_truncation()
    lengths = torch.tensor([len(example.ids) for example in encoded])
    tokens = torch.zeros(len(encoded), int(lengths.max()), dtype=torch.int32)  # [PAD] is 0 in every BERT
    token_types = torch.zeros_like(tokens, dtype=torch.int8)
    for row, example in enumerate(encoded):
        tokens[row, : len(example.ids)] = torch.tensor(example.ids, dtype=torch.int32)
        token_types[row, : len(example.ids)] = torch.tensor(example.type_ids, dtype=torch.int8)
    return EncodedSplit(split.task, tokens, token_types, lengths, split.labels)


def metrics(task: Task, logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Metrics of a whole split, in points (100 is perfect): logits (N, outputs), labels (N,).

    A correlation with predictions that are all the same counts as 0.
    """
    if not task.labels:
        predicted, labels = logits[:, 0].double(), labels.double()
        constant = bool((predicted == predicted[0]).all())
        pearson = 0.0 if constant else 100 * float(pearson_corrcoef(predicted, labels))
        spearman = 0.0 if constant else 100 * float(spearman_corrcoef(predicted, labels))
        return {"pearson": pearson, "spearman": spearman, "pearson_spearman": (pearson + spearman) / 2}
    predicted = logits.argmax(dim=1)
    classes = len(task.labels)
    values = {"accuracy": 100 * float(multiclass_accuracy(predicted, labels, classes, average="micro"))}
    if task.name in ("MRPC", "QQP"):
        values["f1"] = 100 * float(binary_f1_score(predicted, labels))
    if task.metric == "matthews":
        values["matthews"] = 100 * float(binary_matthews_corrcoef(predicted, labels))
    return values
