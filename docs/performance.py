"""Write docs/performance.md from the recorded benchmarks: `python docs/performance.py`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lutra.runs.files import write_text

RECORDED = Path(__file__).parents[1] / "results" / "benchmarks"

MACHINE_FEATURES = ("avx2", "avx512f", "avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_int8")

INTRODUCTION = """\
# Performance

Written by `python docs/performance.py` from `results/benchmarks/*.json`; do not edit it. A ratio says how many times
longer the baseline takes. Medians of runs that take turns in one process: CPU time with one thread, wall time with
two. The MLP is Linear, GELU, Linear of PyTorch, four times as wide inside; unless a table says otherwise, the block has
8 bits a feature, 4 D and D tables of six inputs and a dense summation.

Nothing here was measured on a GPU. The Triton kernels for GPUs give the values and gradients of the definition in
Triton's interpreter and compile for NVIDIA's sm_90, but no figure of their speed exists.
"""

TRAINING = """\
## Training: one forward and backward pass of a block

Gradients of the input and of all parameters. *Reference* is the definition in plain PyTorch; *published, C++* is the
published algorithm, ported; *torch-dwn* is the published CUDA kernel, for GPUs only. *Saved* is what the forward pass
keeps for the backward pass: the reference keeps a byte for a bit, and floats where a mapping is learned; the published
layers keep floats.
"""

TRAINING_BOUND = """\
What bounds it. For every token the MLP does 48 D² floating point operations. The tables are cheap: the gradient of a
table with respect to an input depends on the token only through its address, so it is one read for each of 30 D table
inputs instead of a loop over all entries. What is left are three products with the D x D encoded values, 6 D²
operations, two of them with bits that select what to add, and the traffic of the bits' gradients through the cache. A
mapping that is learned among all bits adds 8 D x 24 D terms for the scores of the first layer, more arithmetic
than the whole MLP; among C candidates it is C x 24 D, and a fixed mapping costs nothing. The 8 bits of a feature are
nested, so one addition for each row, feature and table input serves all of them, and rows in which none is set need
none: about 21 D² additions of float32 a token, each with a value from the L1 cache. {learnable_floor}AMX multiplies
bfloat16, whose 8 bits of precision are too few for the gradients promised here (1e-6); three such terms for a float32
would be 1,152 D² operations a token.
"""

TRAINING_DEFAULT = """\
## Training: the block of the recipes

The same for the block of recipes that ask for no other: 8 D tables in one layer, 32 candidates for each of their
inputs, a summation in 8 groups. It has more than twice the table inputs of the block above, and a score for each
candidate.
"""

TRAINING_MODEL = """\
## Training: a whole model

Short trainings of one recipe with weightless blocks, with MLPs and with neither, in CPU seconds with one thread, one
evaluation of all validation text at the end included: each a process of its own. These are one or two trainings each,
while other work ran on the same cores, so that only the ratios tell something. The last column is the time beyond
that of the model with neither, beside the same of the MLPs.
*Before* is the same recipe without the optimiser's fused step and the summation in tiles that fit the groups.
"""

TRAINING_STEP = """\
## Training: one iteration of a whole model

CPU seconds from one batch to the next with one thread, optimiser included, evaluations not; each training a process of
its own, while other work ran on the same cores, so that only ratios tell something. *Mappings frozen* is an iteration
after `train.mapping_fraction` of the training, when no connection is chosen any more. *Before* is the same without the
kernels for attention with dropout and for attention in bfloat16: PyTorch draws and keeps a mask of dropout element by
element, and the gradient of its attention takes five times as long in bfloat16 as in float32. All of it is
from before attention in bfloat16 used AMX. The last column is what would be left if blocks took no time at all.
"""
INFERENCE = """\
## Inference: one frozen block on a CPU

int8 in, int16 out, exactly the golden model. *int8 products* are the two products of the MLP with `torch._int_mm`,
without bias, GELU or requantisation; it takes at least 17 rows. For a large result PyTorch takes fresh memory from the
system in every call, which costs much of its time; the block takes the memory of an earlier result that nobody reads
any more. *Into old memory* are the same products with results that are there already.
"""

INFERENCE_BOUND = """\
What bounds it. For every token the MLP does 16 D² floating point operations; the block compares 8 D times, looks 5 D
bits up and adds D² int8 values where a bit is set. At D = 192 that is {d192}; at D = 384, {d384}. Comparisons and
lookups handle 64 tokens an instruction. The sum holds tables of the sums of six values in registers, addressed by six
bits: with AVX-512, one permute does 192 additions, and D² / 192 permutes a token bound the sum. {split}{floor}The
result, 2 D bytes a token, goes past the caches while the next sums are made. AMX would do 16,384 int8 multiply-and-add
of the sum an instruction, D² / 16,384 a token, but wants its bits spread to bytes. The encoded values are D² bytes and
stay in the cache; the MLP's weights are 32 D² bytes in float32. A single token costs one pass over the encoded values,
and the call itself.
"""

BERT = """\
## Inference: a whole binarized BERT on a CPU

From tokens to logits, every bit the golden model's: embeddings, attention, norms, pooler and classifier included. The
shape is the paper's, half-width BERT-base with two binary copies of every weight. The others compute the float model of
the same shape, with half as many products. GOPS are the paper's: two operations for each weight of both copies and
each product of attention. The paper measured 196.73 GOPS on ten cores of an i9-9900X, at batch 2 and 128 tokens.
The virtual machine of this table changes its speed by nearly two within minutes (the same call alone took 57 to 110
ms); the ratios are of runs in turns.
"""

WHOLE = """\
## Inference: a whole quasi-weightless transformer on a CPU

Integers throughout, every bit the golden model's, against the model with its MLP as others run it. *block tokens* is
one block alone (D = 192, 4 D and D tables). *Best int8* is the fastest of ONNX Runtime (dynamic, QDQ) and OpenVINO.
"""

PEAKS = """\
## What the machine does at best

One thread, 512 bits an instruction, the best of several tries: the ceilings that the paragraphs above compare with.
"""

LINEAR = """\
## 1-bit linear layers

Quantising the activations, the product with 1-bit weights and dequantising, against `torch.nn.Linear` and the int8
product alone.
"""

LINEAR_BOUND = """\
What bounds it. Weights take one bit in memory, 32 times fewer bytes than float32, which decides for few tokens. For
many, the activations of six inputs become a table of 64 subset sums in one register, and six weight bits of a column
address it: one byte permute does 384 products, and permutes and additions of their results are the limit. Activations
of more than four bits are two digits, hence twice the work. Building tables, quantising and dequantising weigh most
where there are few outputs.
"""


def page(folder: Path = RECORDED) -> str:
    """The whole page; a benchmark without a recorded run is named with the command that records one."""
    inference_bound = INFERENCE_BOUND.format(
        d192=_operations(192),
        d384=_operations(384),
        split=_time_of_the_sum(_rows(folder, "infer_block")),
        floor=_floor_of_inference(folder),
    )
    training_bound = TRAINING_BOUND.format(learnable_floor=_floor_of_learnable(folder))
    return "\n".join(
        [
            _wrapped(INTRODUCTION),
            _wrapped(TRAINING),
            _table(folder, "train_block", _training_table),
            _wrapped(training_bound),
            _wrapped(TRAINING_DEFAULT),
            _table(folder, "train_default", _training_table),
            _wrapped(TRAINING_MODEL),
            _table(folder, "train_model", _model_table),
            _wrapped(TRAINING_STEP),
            _table(folder, "train_step", _step_table),
            _wrapped(INFERENCE),
            _table(folder, "infer_block", _inference_table),
            _wrapped(inference_bound),
            _wrapped(LINEAR),
            _table(folder, "binary_linear", _linear_table),
            _wrapped(LINEAR_BOUND),
            _wrapped(BERT),
            _table(folder, "infer_bert", _bert_table),
            _wrapped(WHOLE),
            _table(folder, "infer_whole", _whole_table),
            _wrapped(PEAKS),
            _peaks_table(folder),
            _regenerate(),
        ]
    )


def _wrapped(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(textwrap.fill(paragraph, 120, break_on_hyphens=False) for paragraph in paragraphs) + "\n"


def _operations(width: int) -> str:
    return f"{16 * width**2:,} against {8 * width:,} comparisons, {5 * width:,} lookups and {width**2:,} additions"


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    file = folder / f"{name}.json"
    return json.loads(file.read_text())["rows"] if file.exists() else []


def _table(folder: Path, name: str, table: Callable[[list[dict[str, Any]]], str]) -> str:
    file = folder / f"{name}.json"
    if not file.exists():
        return f"No run is recorded; the command is `{_command(name)}`.\n"
    return f"{_machine(json.loads(file.read_text())['machine'])}\n\n{table(_rows(folder, name))}\n"


_OPTIONS = {
    "train_default": "train_block.py --block default",
    "train_model": "train_model.py --tree now=.",
    "train_step": "train_step.py --tree now=.",
}


def _command(name: str) -> str:
    return f"python benchmarks/{_OPTIONS.get(name, f'{name}.py')} --json > results/benchmarks/{name}.json"


def _time_of_the_sum(rows: list[dict[str, Any]]) -> str:
    """How much of the time grows with D^2, if the rest grows with D: from the two sizes with most tokens."""
    time_of: dict[int, float] = {}
    for row in sorted((row for row in rows if row["threads"] == 1), key=lambda row: row["tokens"]):
        time_of[int(row["size"][1:])] = row["ours_ms"] / row["tokens"]
    if len(time_of) < 2:
        return ""
    (small, short), (large, long) = min(time_of.items()), max(time_of.items())
    square = (long / large - short / small) / (large - small)  # of one D^2
    shares = [
        f"{square * width**2 / time:.0%} of the time at D = {width}" for width, time in ((small, short), (large, long))
    ]
    return f"If all else grows with D, the sum is {' and '.join(shares)}, from the two sizes with most tokens. "


def _peaks(folder: Path) -> dict[str, float]:
    file = folder / "peaks.json"
    return json.loads(file.read_text())["peaks"] if file.exists() else {}


def _ns_per_token(folder: Path, name: str, size: str, **wanted: object) -> float:
    """Ours, one thread, with most tokens."""
    rows = [row for row in _rows(folder, name) if row["size"] == size and row["threads"] == 1]
    rows = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    last = max(rows, key=lambda row: row["tokens"])
    return 1e6 * last["ours_ms"] / last["tokens"]


def _floor_of_inference(folder: Path) -> str:
    """How long the permutes and the writing of the result take at the machine's best."""
    peaks = _peaks(folder)
    if not peaks or not _rows(folder, "infer_block"):
        return ""
    parts = []
    for width in (192, 384):
        sum_ns = 1e9 * width**2 / 192 / peaks["permutes_and_additions_per_s"]
        write_ns = 1e9 * 2 * width / peaks["memory_stream_bytes_per_s"]
        whole_ns = _ns_per_token(folder, "infer_block", f"D{width}")
        parts.append(
            f"{sum_ns:.0f} ns for the sum and {write_ns:.0f} ns for the result of {whole_ns:.0f} at D = {width}"
        )
    return f"At this machine's best that is {' and '.join(parts)}. "


def _floor_of_learnable(folder: Path) -> str:
    """How long the additions for the scores' gradient take at the machine's best."""
    peaks = _peaks(folder)
    if not peaks or not _rows(folder, "train_block"):
        return ""
    additions = 24 * 192**2 * 8 / 9 / 16
    floor_us = 1e6 * additions / peaks["float_additions_per_s"]
    whole_us = 1e-3 * _ns_per_token(folder, "train_block", "D192", mapping="learnable")
    return f"At this machine's best these take {floor_us:.1f} of the {whole_us:.1f} us a token at D = 192. "


def _peaks_table(folder: Path) -> str:
    peaks = _peaks(folder)
    if not peaks:
        return f"No run is recorded; the command is `{_command('peaks')}`.\n"
    rows = [
        [name.removesuffix("_per_s").removesuffix("_bytes").replace("_", " "), f"{rate / 1e9:.3g} {unit}"]
        for name, rate in peaks.items()
        for unit in ["GB/s" if "bytes" in name else "G/s"]
    ]
    machine = _machine(json.loads((folder / "peaks.json").read_text())["machine"])
    return f"{machine}\n\n{_markdown(('what', 'at best'), rows)}\n"


def _machine(machine: dict[str, Any]) -> str:
    features = [name for name in MACHINE_FEATURES if name in machine["cpu_flags"]]
    return (
        f"Machine: {machine['cpu']}, {machine['cores']} cores ({', '.join(features)}), PyTorch {machine['torch']}, "
        f"Python {machine['python']}."
    )


def _training_table(rows: list[dict[str, Any]]) -> str:
    head = ("block", "tokens", "mapping", "threads", "ours, ms", "ns a token", "MLP float32", "MLP bf16", "reference")
    lines = [
        [
            row["size"],
            f"{row['tokens']:,}",
            row["mapping"],
            str(row["threads"]),
            *_ours(row),
            *(_ratio(row, key) for key in ("mlp_fp32_ms", "mlp_bf16_ms", "reference_ms")),
            *(_ratio(row, key) for key in ("reference_cpp_ms", "torch_dwn_ms")),
            *(_saved(row, key) for key in ("saved_bytes_reference", "saved_bytes_published")),
        ]
        for row in rows
    ]
    saved = ("saved, times less than the reference", "than published")
    return _markdown((*head, "published, C++", "torch-dwn", *saved), lines)


def _model_table(rows: list[dict[str, Any]]) -> str:
    times = ("blocks, s", "MLPs, s", "neither, s")
    head = ("recipe", "iterations", "sources", *times, "blocks to MLPs", "blocks' own part")
    lines = []
    for tree in dict.fromkeys(row["tree"] for row in rows):
        of_tree = {row["model"]: row for row in rows if row["tree"] == tree}
        blocks, mlp, none = (of_tree[model]["cpu_s"] for model in ("weightless", "mlp", "none"))
        any_row = of_tree["weightless"]
        own = f"{_three_digits((blocks - none) / (mlp - none))}x"
        seconds = [_three_digits(each) for each in (blocks, mlp, none)]
        lines.append([any_row["recipe"], str(any_row["iterations"]), tree, *seconds, f"{blocks / mlp:.2f}x", own])
    return _markdown(head, lines)


def _step_table(rows: list[dict[str, Any]]) -> str:
    times = ("blocks, s", "mappings frozen, s", "MLPs, s", "neither, s")
    head = ("recipe", "batch", "precision", "sources", *times, "blocks to MLPs", "mappings frozen", "neither")
    lines = []
    for key in dict.fromkeys((row["recipe"], row["precision"], row["tree"]) for row in rows):
        models = {row["model"]: row for row in rows if (row["recipe"], row["precision"], row["tree"]) == key}
        blocks, mlp, none = (models[model]["step_s"] for model in ("weightless", "mlp", "none"))
        frozen = models["weightless"]["frozen_step_s"]
        seconds = [_three_digits(each) for each in (blocks, frozen, mlp, none)]
        ratios = [f"{each / mlp:.2f}x" for each in (blocks, frozen, none)]
        lines.append([key[0], str(models["mlp"]["batch"]), *key[1:], *seconds, *ratios])
    return _markdown(head, lines)


def _inference_table(rows: list[dict[str, Any]]) -> str:
    engines = ("MLP float32", "MLP bf16", "int8 products", "into old memory")
    head = ("block", "tokens", "threads", "ours, ms", "ns a token", *engines)
    lines = [
        [
            row["size"],
            f"{row['tokens']:,}",
            str(row["threads"]),
            *_ours(row),
            *(_ratio(row, key) for key in ("mlp_fp32_ms", "mlp_bf16_ms", "int_mm_ms", "int_mm_reused_out_ms")),
            _rate(row, 16, "mlp_fp32_ms"),
            _rate(row, 1, "ours_ms"),
        ]
        for row in rows
    ]
    return _markdown((*head, "MLP float32, Gflop/s", "summation, G terms/s"), lines)


def _linear_table(rows: list[dict[str, Any]]) -> str:
    head = ("tokens x in x out", "activations", "ours, ms", "Gop/s", "float32", "bf16", "int8 product")
    lines = [
        [
            row["size"].replace("x", " x "),
            f"{row['activation_bits']} bit",
            _three_digits(row["ours_ms"]),
            f"{row['ours_gops']:.0f}",
            *(_ratio(row, key) for key in ("linear_fp32_ms", "linear_bf16_ms", "int_mm_ms")),
        ]
        for row in rows
    ]
    return _markdown(head, lines)


_OTHERS = (
    "torch_fp32", "torch_bf16", "onnxruntime_fp32", "onnxruntime_dynamic", "onnxruntime_qdq", "openvino_fp",
    "openvino_int8",
)  # fmt: skip
_INT8 = ("onnxruntime_dynamic", "onnxruntime_qdq", "openvino_int8")


def _bert_table(rows: list[dict[str, Any]]) -> str:
    head = ("sentences x tokens", "method", "threads", "ours, ms", "GOPS", "tokens/s")
    lines = [
        [
            f"{row['batch']} x {row['tokens']}",
            f"W1A{row['bits']}",
            str(row["threads"]),
            _three_digits(row["ours_ms"]),
            f"{1e3 * row['giga_operations'] / row['ours_ms']:,.0f}",
            f"{1e3 * row['batch'] * row['tokens'] / row['ours_ms']:,.0f}",
            *(_ratio(row, f"{name}_ms") for name in _OTHERS),
        ]
        for row in rows
    ]
    return _markdown((*head, *(name.replace("_", " ") for name in _OTHERS)), lines)


def _whole_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        int8 = [row[f"{name}_ms"] for name in _INT8 if f"{name}_ms" in row]
        lines.append(
            [
                row["case"],
                str(row["threads"]),
                _three_digits(row["ours_ms"]),
                _ratio(row, "ours_mlp_ms"),
                *(_ratio(row, f"{name}_ms") for name in _OTHERS),
                f"{_three_digits(min(int8) / row['ours_ms'])}x" if int8 else "-",
            ]
        )
    names = [name.replace("_", " ") for name in _OTHERS]
    return _markdown(("work", "threads", "ours, ms", "our MLP", *names, "best int8"), lines)


def _ours(row: dict[str, Any]) -> tuple[str, str]:
    return _three_digits(row["ours_ms"]), _three_digits(1e6 * row["ours_ms"] / row["tokens"])


def _ratio(row: dict[str, Any], baseline: str) -> str:
    milliseconds = row.get(baseline)
    return "-" if milliseconds is None else f"{_three_digits(milliseconds / row['ours_ms'])}x"


def _rate(row: dict[str, Any], operations_per_square: int, key: str) -> str:
    """10^9 operations per second when one token needs `operations_per_square` D^2 of them."""
    return _three_digits(1e-6 * operations_per_square * int(row["size"][1:]) ** 2 * row["tokens"] / row[key])


def _saved(row: dict[str, Any], key: str) -> str:
    if not row.get("saved_bytes_ours") or not row.get(key):
        return "-"
    return f"{_three_digits(row[key] / row['saved_bytes_ours'])}x"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _markdown(head: tuple[str, ...], rows: list[list[str]]) -> str:
    alignment = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, alignment, *rows))


_RECORDS = (
    "train_block", "train_default", "train_model", "train_step",
    "infer_block", "binary_linear", "infer_bert", "infer_whole", "peaks",
)  # fmt: skip


def _regenerate() -> str:
    commands = [_command(name) for name in _RECORDS]
    return "\n".join(["## Again", "", "```sh", *commands, "python docs/performance.py", "```", ""])


if __name__ == "__main__":
    write_text(Path(__file__).with_suffix(".md"), page())
