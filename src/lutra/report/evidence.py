"""Everything that a run directory holds, read once; what has not run is None."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lutra.errors import RunDirectoryError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipes.sections import Experiment
from lutra.report.figures import Curve
from lutra.runs.files import RunFiles, read_json
from lutra.runs.record import failed_steps, finished_steps


@dataclass(frozen=True)
class Evidence:
    """What the steps of a run wrote. `stale` names the files that were made from an earlier frozen model."""

    files: RunFiles
    recipe: Experiment
    curves: dict[str, Curve]
    """(iteration, validation loss) by model: "ours", "mlp", "none"."""
    frozen: FrozenModel | None
    frozen_hash: str | None
    evaluate: dict[str, Any] | None
    simulate: dict[str, Any] | None
    synth: dict[str, Any] | None
    cost: dict[str, Any] | None
    sample: str | None
    steps: dict[str, dict[str, Any]]
    failed: dict[str, str]
    """Steps that did not come to their end, with the reason; what they have left is None here."""
    stale: frozenset[str]


def read_run(files: RunFiles, recipe: Experiment) -> Evidence:
    """Read a run directory.

    Raises:
        RunDirectoryError, FrozenModelError: a file that is there cannot be read.
    """
    logs = {"ours": files, "mlp": files.baseline("mlp"), "none": files.baseline("none")}
    curves = {name: curve for name, run in logs.items() if (curve := _validation_curve(run))}
    failed = failed_steps(files)
    written = {
        name: None if name in failed else _optional(files, name) for name in ("evaluate", "simulate", "synth", "cost")
    }
    frozen = store.load(files.frozen) if files.frozen.exists() else None
    current = store.content_hash(files.frozen) if frozen else None
    hashes = {name: value.get("frozen_hash", current) for name, value in written.items() if value}
    return Evidence(
        files=files,
        recipe=recipe,
        curves=curves,
        frozen=frozen,
        frozen_hash=current,
        sample=files.sample.read_text(encoding="utf-8") if files.sample.exists() else None,
        steps=finished_steps(files),
        failed=failed,
        stale=frozenset(name for name, made_from in hashes.items() if made_from != current),
        **written,
    )


def _optional(files: RunFiles, name: str) -> dict[str, Any] | None:
    path = getattr(files, name)
    return dict(read_json(path, name)) if path.exists() else None


def _validation_curve(run: RunFiles) -> Curve:
    if not run.train_log.exists():
        return []
    try:
        lines = [json.loads(line) for line in run.train_log.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [(line["iteration"], line["validation_loss"]) for line in lines if "validation_loss" in line]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{run.train_log}: not a training log ({error!r}); run `lutra train` again") from None
