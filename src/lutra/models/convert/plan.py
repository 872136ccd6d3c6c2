"""What a conversion will do, as a value that can be printed, edited and stored; changes nothing by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from lutra.errors import ConversionError
from lutra.escape import brief

Form = Literal["module", "sequential", "pair", "inline", "experts", "fused_experts", "none"]
"""How the block takes the place of the original: of a module of its own; of the first linear layer, with activation and
last linear layer passed through; the same inside one `nn.Sequential`; carried past functions that cannot be passed
through; of a module in a list of experts; of all experts whose weights are slices of one parameter."""
Role = Literal["feed-forward", "inner", "head"]
"""What becomes of the result: added to what was read; read by further layers; the model's output."""


@dataclass(frozen=True)
class Places:
    """Which modules change, by path. Paths are the first ones of modules that have several."""

    block: str = ""
    passed: tuple[str, ...] = ()
    """Modules that become identities."""
    silent: tuple[str, ...] = ()
    """Linear layers beside the first that give zeros (form inline)."""
    end: str = ""
    """The last linear layer, where the block's result comes out again (form inline)."""


@dataclass(frozen=True)
class Found:
    """One feed-forward part, or something that looks like one."""

    path: str
    """Of the module whose place the block takes, or would take."""
    kind: str
    """Class of the module that holds it."""
    form: Form
    inputs: int
    hidden: int
    outputs: int
    gated: bool
    calls: int
    """Passes through it in one forward pass of the example."""
    rows: int
    """Rows (tokens) that these passes had together."""
    weights: int
    macs: int
    role: Role
    convert: bool
    reason: str
    aliases: tuple[str, ...] = ()
    """Other paths of the same module."""
    places: Places = Places()
    channels_first: bool = False
    block_paths: tuple[str, ...] = ()
    """Where the weightless blocks will stand: one, or one for each expert."""
    parameters: tuple[str, ...] = ()
    """Names of the parameters that it holds."""
    adds_to_input: bool = False
    """Whether its result is added to the very rows that it read, as where norms come after (BERT)."""

    @property
    def block_path(self) -> str:
        return self.block_paths[0] if self.block_paths else self.path

    @property
    def is_feedforward(self) -> bool:
        """Whether its weights count as the model's feed-forward weights."""
        return self.role == "feed-forward" or self.convert


@dataclass(frozen=True)
class Dense:
    """Linear weights that stay as they are."""

    path: str
    weights: int
    macs: int
    kind: Literal["feed-forward", "other"]
    reason: str


@dataclass(frozen=True)
class Plan:
    """Every feed-forward part of a model, what happens to it and why; see `find_mlps`."""

    model: str
    found: tuple[Found, ...]
    left_dense: tuple[Dense, ...]
    exact: bool | None = None
    """Whether the model with its own functions in the blocks' places was found equal to the original, every value."""
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def converted(self) -> tuple[Found, ...]:
        return tuple(row for row in self.found if row.convert)

    @property
    def feedforward_weights(self) -> int:
        """Weights of everything that is a feed-forward part, converted or not."""
        return sum(row.weights for row in self.converted) + sum(d.weights for d in self._dense())

    @property
    def feedforward_macs(self) -> int:
        return sum(row.macs for row in self.converted) + sum(d.macs for d in self._dense())

    @property
    def share_left_dense(self) -> float:
        """Fraction of the feed-forward weights that stay dense; 0 for a model without any."""
        return sum(d.weights for d in self._dense()) / max(1, self.feedforward_weights)

    @property
    def macs_left_dense(self) -> float:
        """The same of multiply-accumulates of the example."""
        return sum(d.macs for d in self._dense()) / max(1, self.feedforward_macs)

    def _dense(self) -> list[Dense]:
        return [dense for dense in self.left_dense if dense.kind == "feed-forward"]

    def __getitem__(self, path: str) -> Found:
        for row in self.found:
            if path == row.path or path in row.aliases:
                return row
        raise ConversionError(f"nothing was found at {path}; there are {', '.join(row.path for row in self.found)}")

    def without(self, *patterns: str) -> Plan:
        """The same plan, leaving alone what the patterns name (a path, or `re:` and a regular expression).

        Raises:
            ConversionError: a pattern names nothing that would be converted.
        """
        dropped = {row.path for pattern in patterns for row in self.matching(pattern)}
        rows = tuple(
            replace(row, convert=False, reason="left alone as asked") if row.path in dropped else row
            for row in self.found
        )
        dense = [
            Dense(row.path, row.weights, row.macs, "feed-forward", "left alone as asked")
            for row in self.converted
            if row.path in dropped
        ]
        return replace(self, found=rows, left_dense=(*self.left_dense, *dense))

    def matching(self, pattern: str) -> list[Found]:
        """The converted rows that a pattern names.

        Raises:
            ConversionError: there is none, or the expression is not one.
        """
        rows = [row for row in self.converted if any(matches(pattern, path) for path in (row.path, *row.aliases))]
        if not rows:
            paths = ", ".join(row.path for row in self.converted) or "nothing"
            raise ConversionError(f"{pattern!r} matches nothing that is converted; converted are {paths}")
        return rows

    def to_json(self) -> dict[str, Any]:
        """Plain values, in a fixed order."""
        rows = [asdict(row) for row in self.found]
        return {
            "model": self.model,
            "feedforward_weights": self.feedforward_weights,
            "feedforward_macs": self.feedforward_macs,
            "weights_left_dense": self.share_left_dense,
            "macs_left_dense": self.macs_left_dense,
            "exact": self.exact,
            "found": json.loads(json.dumps(rows)),
            "left_dense": [asdict(dense) for dense in self.left_dense],
            "notes": list(self.notes),
        }

    @staticmethod
    def from_json(tree: dict[str, Any], source: str = "plan") -> Plan:
        """Read back `to_json`.

        Raises:
            ConversionError: it is no plan; names `source`.
        """
        try:
            rows = tuple(found_from_json(row) for row in tree["found"])
            dense = tuple(Dense(**row) for row in tree["left_dense"])
            return Plan(str(tree["model"]), rows, dense, tree["exact"], tuple(tree["notes"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ConversionError(
                f"{source}: not a plan of a conversion ({brief(repr(error))}); make it again"
            ) from None

    def __str__(self) -> str:
        lines = [f"{self.model}: {len(self.converted)} of {len(self.found)} places found become weightless blocks"]
        head = ("path", "class", "form", "widths", "calls", "what happens")
        body = [
            (
                row.path + (f" (+{len(row.aliases)})" if row.aliases else ""),
                row.kind,
                row.form if row.convert else "-",
                f"{row.inputs}>{row.hidden}>{row.outputs}" + (" gated" if row.gated else ""),
                str(row.calls),
                ("block: " if row.convert else "stays: ") + row.reason,
            )
            for row in self.found
        ]
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head) - 1)]
        for line in [head, *body]:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
            lines.append("  ".join([*cells, line[-1]]).rstrip())
        lines.append(
            f"feed-forward weights left dense: {100 * self.share_left_dense:.1f} % of {self.feedforward_weights:,}; "
            f"multiply-accumulates: {100 * self.macs_left_dense:.1f} %"
        )
        lines += [f"left dense: {d.path}, {d.weights:,} weights: {d.reason}" for d in self._dense()]
        return "\n".join([*lines, *self.notes])


def found_from_json(tree: dict[str, Any]) -> Found:
    """One row of a plan as `asdict` and JSON leave it."""
    names = {each.name for each in fields(Found)}
    if set(tree) != names:
        raise KeyError(", ".join(sorted(set(tree) ^ names)))

    def read(values: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}

    return Found(**{**read(tree), "places": Places(**read(tree["places"]))})


def matches(pattern: str, path: str) -> bool:
    """Whether a path is the pattern, or matches it as a whole if it begins with `re:`.

    Raises:
        ConversionError: not a regular expression.
    """
    if not pattern.startswith("re:"):
        return pattern == path
    try:
        return re.fullmatch(pattern[3:], path) is not None
    except re.error as error:
        raise ConversionError(f"{pattern!r}: not a regular expression ({error})") from None


def any_matches(patterns: Iterable[str], paths: Iterable[str]) -> bool:
    found = list(paths)
    return any(matches(pattern, path) for pattern in patterns for path in found)


def _as_stored(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
