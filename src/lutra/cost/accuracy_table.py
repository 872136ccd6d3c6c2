"""QuWeiT's Table 2, accuracy: the paper's values, ours where measured, and the model with no MLP at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lutra.cost.table import Row, Table
from lutra.errors import InputError

RECORDED_EXPLORATION = "gpt-mini-recovery"
"""The record in `results/explore` that the rows of ours come from."""

_NOT_RUN = "not run: needs a GPU; recipes/gpt-baby*.toml"


def quweit_2(results: Path) -> Table:
    """The table; rows of ours come from the exploration recorded below `results`, if it is there.

    Raises:
        InputError: the recorded exploration is not one.
    """
    rows = [
        Row("nanoGPT-baby, MLP", "nats", 1.469, None, _NOT_RUN),
        Row("nanoGPT-baby, no MLP at all", "nats", None, None, f"not in the paper; {_NOT_RUN}"),
        Row("nanoGPT-baby, QuWeiT", "nats", 1.465, None, f"within the noise of 200 random batches; {_NOT_RUN}"),
        Row("I-ViT-T on CIFAR-10, MLP", "%", 94.8, None, "a float DeiT-T of another group, not this recipe; not run"),
        Row("I-ViT-T on CIFAR-10, QuWeiT", "%", 95.5, None, "95.64 in the paper's abstract; not run"),
        Row("I-ViT-T on CIFAR-100, MLP", "%", 79.2, None, "not run"),
        Row("I-ViT-T on CIFAR-100, QuWeiT", "%", 78.8, None, "not run"),
    ]
    path = results / "explore" / f"{RECORDED_EXPLORATION}.json"
    if path.exists():
        try:
            rows += _our_rows(json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a recorded exploration ({error!r}); record it again") from None
    notes = (
        "gpt-mini is nanoGPT's setting for a CPU: 4 layers, width 128, context 64, 2,000 iterations; a smaller model "
        "than the paper's, so its losses stand beside each other, not beside the paper's.",
        "Losses of ours: whole validation text, blocks in integers; mean ± sample standard deviation over seeds. "
        "Recovery: 0 where the block does nothing, 1 where it replaces the MLP.",
    )
    return Table("quweit-2", "QuWeiT Table 2: accuracy and loss", tuple(rows), notes)


def _our_rows(record: dict[str, Any]) -> list[Row]:
    rows = []
    for ffn, label in (("mlp", "MLP"), ("none", "no MLP at all")):
        trained = [run for run in record["baselines"] if run["ffn"] == ffn and run["used"] and run["error"] is None]
        losses = [run["validation_loss"]["float"] for run in trained]
        if losses:
            mean = sum(losses) / len(losses)
            remark = f"{len(losses)} seeds, {min(losses):.4f} to {max(losses):.4f}"
            rows.append(Row(f"gpt-mini, {label}", "nats", None, mean, remark))
    for variant in record["variants"]:
        loss, recovered, cost = variant["loss"], variant["recovery"], variant["cost"]
        if loss and recovered and cost:
            remark = (
                f"{loss['count']} seeds, {_deviation(loss)}; "
                f"recovery {recovered['mean']:.2f} {_deviation(recovered, 2)}; "
                f"{cost['luts']:,.0f} LUTs, {cost['additions_per_token']:,.0f} additions per token"
            )
            rows.append(Row(f"gpt-mini, {variant['variant']}", "nats", None, loss["mean"], remark))
    return rows


def _deviation(values: dict[str, Any], digits: int = 4) -> str:
    deviation = values["standard_deviation"]
    return "one seed" if deviation is None else f"± {deviation:.{digits}f}"
