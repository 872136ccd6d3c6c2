"""What may become a row of a plan: segments of the same layers, and the forms in which they can be converted."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from lutra.models.convert import fused
from lutra.models.convert.contract import adds_to_input, role_of
from lutra.models.convert.forms import Fit
from lutra.models.convert.places import block_path
from lutra.models.convert.plan import Found, Places
from lutra.models.convert.record import (
    Recording,
)
from lutra.models.convert.segment import Segment


@dataclass(eq=False, repr=False)
class Candidate:
    """Segments of the same layers, and what is to become of them."""

    recording: Recording
    segments: list[Segment]
    reason: str = ""
    """Why it is not converted; empty if it is."""
    possible: list[Fit] = field(default_factory=list)
    fit: Fit | None = None
    note: str = ""
    experts: fused.Experts | None = None

    @property
    def first(self) -> Segment:
        return self.segments[0]

    def next_fit(self, reason: str) -> None:
        """Give up the present form, and take the next one or none."""
        self.possible = self.possible[1:]
        self.fit = self.possible[0] if self.possible else None
        if self.fit is None:
            self.reason = reason

    def row(self) -> Found:
        segment, recording = self.first, self.recording
        shown = self.fit or (self.possible[0] if self.possible else None)
        home = shown.block if shown is not None else segment.down.op.call.module
        paths = recording.paths.get(home) or [segment.down.op.call.path]
        kind = type(holder(segment)).__name__ if self.fit is None or self.fit.form != "module" else type(home).__name__
        places, blocks = Places(), tuple[str, ...]()
        if self.fit is not None:
            first = {module: recording.paths[module][0] for module in self.fit.modules}
            end = first[self.fit.end] if self.fit.end is not None else ""
            passed, silent = (tuple(first[m] for m in part) for part in (self.fit.passed, self.fit.silent))
            places = Places(first[self.fit.block], passed, silent, end)
            blocks = (block_path(self.fit.form, places.block, segment.channels_first),)
        if self.experts is not None:
            blocks = tuple(f"{paths[0]}.experts.{index}" for index in range(self.experts.count))
            places = Places(paths[0])
        convert = not self.reason
        form = "none" if not convert else "fused_experts" if self.experts else self.fit.form  # type: ignore[union-attr]
        names = linear_parameters(self.segments)
        return Found(
            path=paths[0],
            kind=kind,
            form=form,
            inputs=segment.inputs,
            hidden=segment.hidden,
            outputs=segment.outputs,
            gated=len(segment.ups) > 1 or sum(up.outputs for up in segment.ups) > segment.hidden,
            calls=len(self.segments),
            rows=sum(each.rows for each in self.segments),
            weights=weights_of(recording, names),
            macs=sum(each.macs for each in self.segments),
            role=role_of(segment),
            convert=convert,
            reason=self.reason or self._what(),
            aliases=tuple(paths[1:]),
            places=places,
            channels_first=segment.channels_first,
            block_paths=blocks,
            parameters=tuple(sorted(names)),
            adds_to_input=adds_to_input(segment),
        )

    def _what(self) -> str:
        text = f"{self.first.inputs} to {self.first.outputs} features"
        if self.experts is not None:
            text += f", {self.experts.count} experts"
        elif self.fit is not None and self.fit.form in ("pair", "sequential", "inline"):
            end = self.fit.end or self.fit.passed[-1]
            text += f", in place of everything up to {self.recording.paths[end][0]}"
        return text + (f"; {self.note}" if self.note else "")


def holder(segment: Segment) -> nn.Module:
    """The innermost module in which all of a segment runs."""
    for call in segment.down.op.call.enclosing():
        if all(up.op in call.ops for up in segment.ups):
            return call.module
    return segment.recording.model


def linear_parameters(segments: list[Segment]) -> frozenset[str]:
    linears = [linear for segment in segments for linear in (*segment.ups, segment.down)]
    return frozenset().union(*(linear.parameters for linear in linears))


def weights_of(recording: Recording, names: frozenset[str]) -> int:
    """Number of weights in matrices: biases and scales are no weights of a product."""
    return sum(t.numel() for name in names if (t := recording.named(name)).dim() >= 2)
