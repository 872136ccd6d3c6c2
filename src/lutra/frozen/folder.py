"""A frozen model and real rows for it in one folder: what everything from RTL on needs, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save as dump_tensors

from lutra.errors import InputError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.runs.files import RunFiles, replacing


def save_frozen(model: FrozenModel, folder: str | Path, rows: Mapping[str, np.ndarray]) -> None:
    """Write `folder`/frozen: the model, and integer input rows (N, width) of every block by name (`lutra.capture`).

    The steps from `lutra rtl FOLDER` on take such a folder: rtl, simulate, synth, cost, report.

    Raises:
        FrozenModelError: see `store.save`.
        InputError: rows are missing, belong to no block, or do not fit.
    """
    files = RunFiles(Path(folder))
    graphs = {graph.name: graph for graph in model.graphs}
    if odd := sorted(rows.keys() ^ graphs.keys()):
        raise InputError(f"rows and blocks differ in {', '.join(odd[:3])}")
    tensors = {name: _checked(graph, rows[name]) for name, graph in graphs.items()}
    store.save(model, files.frozen)
    with replacing(files.samples) as temporary:
        temporary.write_bytes(dump_tensors(tensors))


def _checked(graph: Graph, rows: np.ndarray) -> np.ndarray:
    type_, width = graph.input_type, graph.input_width
    if not np.issubdtype(rows.dtype, np.integer) or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise InputError(
            f"{graph.name}: rows must be integers of shape (1 or more, {width}), got {rows.dtype} {rows.shape}"
        )
    if rows.min() < type_.minimum or rows.max() > type_.maximum:
        raise InputError(f"{graph.name}: rows must lie in [{type_.minimum}, {type_.maximum}]")
    return rows.astype(np.int8)
