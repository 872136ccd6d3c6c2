"""Everything that a run directory holds, read once; what has not run is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipes.sections import Experiment
from lutra.report.figures import Curve
from lutra.runs.files import RunFiles
from lutra.runs.record import failed_steps, finished_steps
from lutra.runs.schemas.training import LogLine
from lutra.runs.typed import EVIDENCE, read_evidence, read_lines, read_text


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
        name: read_evidence(files, recipe, name) if name not in failed and getattr(files, name).exists() else None
        for name in EVIDENCE
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
        sample=read_text(files.sample, "run `lutra evaluate` again") if files.sample.exists() else None,
        steps=finished_steps(files),
        failed=failed,
        stale=frozenset(name for name, made_from in hashes.items() if made_from != current),
        **written,
    )


def _validation_curve(files: RunFiles) -> Curve:
    lines = read_lines(files.train_log, LogLine, "run `lutra train` again")
    return [(line["iteration"], line["validation_loss"]) for line in lines]
