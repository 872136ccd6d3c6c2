"""QuWeiT's Table 2, accuracy: the paper's values, ours where measured, and the model with no MLP at all."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import JSON_BYTES
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row
from lutra.reading import parse_json, read_bytes
from lutra.runs.exploration import baseline_groups, of_latest_stage, our_loss, whole_in_integers
from lutra.runs.schemas.exploration import ExplorationRecord
from lutra.runs.schemas.recorded import IntegersRecord, VisionRecord
from lutra.runs.typed import checked, read_record

PAPERS_MODEL = "gpt-baby"
SMALLER_MODELS = {
    "gpt-baby-quarter": "nanoGPT-baby, 1,250 iterations",
    "gpt-mini-recovery": "gpt-mini",
    "binary-attention": "gpt-mini, binary attention",
}
"""Recorded explorations that are not of the paper's model and training, and what to call them."""

_VISION = (
    ("CIFAR-10", "ivit-t-cifar10", 94.8, 95.5, "95.64 in the paper's abstract; "),
    ("CIFAR-100", "ivit-t-cifar100", 79.2, 78.8, ""),
)
"""Data set, the recipe that would run it, the paper's accuracies, and what is odd about them."""

SMALLER_VISION = {"vit-mini-cifar10": "vit-mini on CIFAR-10", "vit-mini-cifar100": "vit-mini on CIFAR-100"}
"""Recorded runs of a vision model that is not the paper's, and what to call them."""

INTEGERS = "gpt-mini-integers"
"""The record of models whole in integers: losses of the same checkpoints in float and in integers."""

_NOT_RUN = "not run: needs a GPU; spaces/gpt-baby.toml"


def quweit_2(records: Records) -> PaperTable:
    """The table; rows of ours come from the explorations recorded in `records`, where they are.

    Raises:
        InputError: a recorded exploration is not one.
    """
    rows = _rows_of_record(records, PAPERS_MODEL, "nanoGPT-baby") or [
        Row("nanoGPT-baby, MLP", "nats", 1.469, None, _NOT_RUN),
        Row("nanoGPT-baby, no MLP at all", "nats", None, None, f"not in the paper; {_NOT_RUN}"),
        Row("nanoGPT-baby, QuWeiT", "nats", 1.465, None, f"within the noise of 200 random batches; {_NOT_RUN}"),
    ]
    rows = [replace(row, paper=1.469) if row.quantity == "nanoGPT-baby, MLP" else row for row in rows]
    for data, name, mlp, quweit, remark in _VISION:
        recipe = f"not run: needs a GPU; recipe {name}"
        rows += [
            Row(
                f"I-ViT-T on {data}, MLP", "%", mlp, None, f"a float DeiT-T of another group, not this recipe; {recipe}"
            ),
            Row(f"I-ViT-T on {data}, no MLP at all", "%", None, None, f"not in the paper; {recipe}"),
            Row(f"I-ViT-T on {data}, QuWeiT", "%", quweit, None, f"{remark}{recipe}"),
        ]
    for name, model in SMALLER_MODELS.items():
        rows += _rows_of_record(records, name, model)
    rows += _rows_of_integers(records)
    for name, model in SMALLER_VISION.items():
        rows += _rows_of_vision(records, name, model)
    notes = (
        "Binary attention: its matrices in one bit (BMT's linear layers), 8 or 4 bits of activations; float: as ever.",
        "gpt-mini is nanoGPT's setting for a CPU: 4 layers, width 128, context 64, 2,000 iterations. Losses of models "
        "smaller than the paper's stand beside each other, not beside the paper's.",
        "The paper trains nanoGPT-baby for 5,000 iterations; in 1,250 the learning rate falls to its end, too.",
        "Losses of ours: best checkpoint, whole validation text; blocks in integers, and all else too where nothing "
        "beside them lacks that form; mean ± sample standard deviation over seeds. Recovery: 0 where the block does "
        "nothing, 1 where it replaces the MLP.",
        "vit-mini is a vision transformer for 32 x 32 pixels: 6 layers, width 128, patches of 4 x 4. Its accuracies: "
        "whole in integers, after the last iteration, all 10,000 test images.",
    )
    return PaperTable("quweit-2", "QuWeiT Table 2: accuracy and loss", tuple(rows), notes)


def _rows_of_record(records: Records, name: str, model: str) -> list[Row]:
    path = records.file("explore", name)
    if path is None:
        return []
    try:
        return _rows_of_exploration(model, read_record(path, ExplorationRecord, "results add"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a recorded exploration ({brief(repr(error))}); record it again") from None


_WHOLE = {"weightless": "weightless blocks", "mlp": "MLP", "none": "no MLP at all"}


def _rows_of_integers(records: Records) -> list[Row]:
    """Losses of gpt-mini whole in integers, beside the same checkpoints in floating point."""
    path = records.file("integers", INTEGERS)
    if path is None:
        return []
    try:
        content = parse_json(read_bytes(path, JSON_BYTES))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); record it again") from None
    rows = []
    for name, runs in checked(content, IntegersRecord, path, "record it again")["models"].items():
        losses, gaps = [run["integers"] for run in runs], [run["integers"] - run["float"] for run in runs]
        seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds, gaps {min(gaps):+.4f} to {max(gaps):+.4f}"
        remark = f"{seeds}; {sum(gaps) / len(gaps):+.4f} against the same checkpoints in float"
        rows.append(Row(f"gpt-mini whole in integers, {_WHOLE[name]}", "nats", None, sum(losses) / len(losses), remark))
    return rows


def _rows_of_vision(records: Records, name: str, model: str) -> list[Row]:
    """Accuracies whole in integers of recorded runs, of each recipe over its seeds; float and recovery beside."""
    path = records.file("vision", name)
    if path is None:
        return []
    groups: dict[tuple[int, str], list[tuple[dict[str, float], dict[str, float], float | None]]] = {}
    for entry in read_record(path, VisionRecord, "results add")["results"]:
        evaluate, recipe = entry["evaluate"], entry["recipe"]
        iterations, settings = recipe.get("iterations"), recipe.get("settings") or recipe["hash"]
        if evaluate is None or iterations is None or evaluate["engine"] == "torch":
            continue
        accuracy = evaluate["accuracy"]
        integers = {"weightless": accuracy["ours"][evaluate["engine"]], **accuracy["frozen_baselines"]}
        floats = {"weightless": accuracy["ours"]["float"], **accuracy["baselines"]}
        groups.setdefault((iterations, settings), []).append((integers, floats, evaluate["recovery"]))
    rows = []
    for (iterations, _), runs in groups.items():
        known = [recovered for *_, recovered in runs if recovered is not None]
        for ffn, label in _WHOLE.items():
            if not (percent := [100 * integers[ffn] for integers, *_ in runs if ffn in integers]):
                continue
            spread = f"{len(percent)} seeds, {min(percent):.2f} to {max(percent):.2f}"
            real = fmean(100 * floats[ffn] for integers, floats, _ in runs if ffn in integers)
            remark = f"{spread if len(percent) > 1 else 'one seed'}; in float {real:.2f}; {iterations:,} iterations"
            if ffn == "weightless" and known:
                remark += f"; recovery {', '.join(f'{each:.2f}' for each in known)}"
            rows.append(Row(f"{model}, {label}", "%", None, fmean(percent), remark))
    return rows


def _rows_of_exploration(model: str, record: dict[str, Any]) -> list[Row]:
    rows, whole = [], whole_in_integers(of_latest_stage(record))
    for group in sorted(baseline_groups(record), key=lambda group: group.ffn):
        losses = [our_loss(loss, whole) for loss in group.losses]
        name = _WHOLE[group.ffn] + ("" if group.shared else f" beside {', '.join(group.variants)}")
        seeds = f"{len(losses)} seeds, {min(losses):.4f} to {max(losses):.4f}" if len(losses) > 1 else "one seed"
        rows.append(Row(f"{model}, {name}", "nats", None, fmean(losses), seeds))
    for variant in record["variants"]:
        loss, recovered, cost = variant["loss"], variant["recovery"], variant["cost"]
        if loss and recovered and cost:
            remark = "; ".join(
                (
                    "one seed" if loss["count"] == 1 else f"{loss['count']} seeds, {_deviation(loss)}",
                    f"recovery {recovered['mean']:.2f} {_deviation(recovered, 2)}".rstrip(),
                    f"{cost['luts']:,.0f} LUTs, {cost['additions_per_token']:,.0f} additions per token",
                )
            )
            rows.append(Row(f"{model}, {variant['variant']}", "nats", None, loss["mean"], remark))
    return rows


def _deviation(values: dict[str, Any], digits: int = 4) -> str:
    deviation = values["standard_deviation"]
    return "" if deviation is None else f"± {deviation:.{digits}f}"
