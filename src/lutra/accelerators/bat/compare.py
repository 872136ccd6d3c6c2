"""Compares what BAT's units hand over in every step with golden, bit for bit, and names the first difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.bat.config import ModuleConfig
from lutra.accelerators.bat.layout import chunks
from lutra.accelerators.bat.program import Step
from lutra.frozen import bert_golden
from lutra.frozen.bert import FrozenBert
from lutra.frozen.binary16 import Binary16Array

Trace = dict[str, np.ndarray]
"""Every value inside the layers under its golden name; what is per head is (heads, tokens, ...)."""
UNITS = {"vector": "vector unit", "softmax": "softmax", "norm": "layer norm", "codes": "quantisation unit"}
"""Taps that are compared, in the order in which rows pass them."""
NOTHING = -1
"""Where no value came."""


@dataclass(frozen=True)
class Difference:
    """One value that is not golden's."""

    step: str
    sentence: int
    unit: str
    row: int
    element: int
    rtl: str
    """binary16 numbers as numbers, codes as their bits; "nothing" if the value did not come."""
    golden: str

    def __str__(self) -> str:
        return (
            f"step {self.step} of sentence {self.sentence}, {self.unit}, row {self.row}, element {self.element}: "
            f"RTL {self.rtl}, golden {self.golden}"
        )


@dataclass(frozen=True)
class StepVerdict:
    """How one step compared."""

    step: str
    sentence: int
    values: int
    differing: int
    first: Difference | None


def golden_trace(model: FrozenBert, x: Binary16Array) -> tuple[Trace, Binary16Array]:
    """Every value inside the layers for one sentence of embedded rows (tokens, width), and the rows behind the last.

    Raises:
        LutraError: an activation leaves the range of binary16.
    """
    trace: Trace = {}
    sentence = [slice(0, len(x))]
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(model.config.layers):
            block = f"layers.{index}"
            x = bert_golden.attention(model, f"{block}.attention", x, sentence, trace.__setitem__)
            x = bert_golden.feed_forward(model, f"{block}.feed_forward", x, trace.__setitem__)
    return trace, x


def compare_steps(
    steps: Sequence[Step], taps: Mapping[str, np.ndarray], module: ModuleConfig, model: FrozenBert, traces: list[Trace]
) -> list[StepVerdict]:
    """Compare what a module handed over in its steps, beats (beats, words) per tap, with the traces of sentences."""
    lanes = {"vector": module.p_vu, "softmax": module.p_softmax, "norm": module.p_ln, "codes": module.p_quan}
    bits = {**dict.fromkeys(lanes, 16), "codes": model.config.quantisation.activation_bits}
    places = dict.fromkeys(lanes, 0)
    verdicts = []
    for step in steps:
        values = differing = 0
        first = None
        for tap, wanted in expected_values(step.name, traces[step.sentence], model).items():
            segments = wanted.reshape(-1, wanted.shape[-1])  # (rows and segments, elements)
            count = len(segments) * chunks(segments.shape[1], lanes[tap])
            words = taps[tap][places[tap] : places[tap] + count]
            places[tap] += count
            found = np.full((count, lanes[tap]), NOTHING, np.int64)
            found[: len(words)] = _elements(words, lanes[tap], bits[tap])
            actual = found.reshape(len(segments), -1)[:, : segments.shape[1]]
            golden = _bits_of(segments, bits[tap])
            different = actual != golden
            values += golden.size
            differing += int(different.sum())
            if first is None and different.any():
                row, element = (int(place) for place in np.argwhere(different)[0])
                show = _code if tap == "codes" else _number
                rtl, right = show(int(actual[row, element])), show(int(golden[row, element]))
                first = Difference(step.name, step.sentence, UNITS[tap], row, element, rtl, right)
        verdicts.append(StepVerdict(step.name, step.sentence, values, differing, first))
    return verdicts


def expected_values(name: str, trace: Trace, model: FrozenBert) -> dict[str, np.ndarray]:
    """What leaves each unit in a step, (..., elements), in its order; segments of a row are an axis of their own."""
    block, kind = name.rsplit(".", 1)
    heads = model.config.heads
    match kind:
        case "quantise":
            return {"codes": trace[f"{block}.input_quantiser"]}
        case "query_key_value":
            parts = [f"{block}.{part}" for part in ("query", "key", "value")]
            return {
                "vector": np.concatenate([trace[part] for part in parts], axis=1),
                "codes": np.stack([trace[f"{part}_quantiser"] for part in parts], axis=1),
            }
        case "scores":
            return {
                "vector": trace[f"{block}.scores"],
                "softmax": trace[f"{block}.probabilities"],
                "codes": trace[f"{block}.probability_quantiser"],
            }
        case "contexts":
            codes = trace[f"{block}.output_quantiser"]  # (tokens, attention width)
            by_head = codes.reshape(len(codes), heads, -1).transpose(1, 0, 2)
            return {"vector": trace[f"{block}.contexts"], "codes": by_head}
        case "hidden":
            return {"vector": trace[f"{block}.hidden"], "codes": trace[f"{block}.hidden_quantiser"]}
        case _:
            found = {"vector": trace[f"{block}.residual"], "norm": trace[f"{block}.norm"]}
            following = _following(name)
            return {**found, "codes": trace[following]} if following in trace else found


def _following(name: str) -> str:
    """The quantiser of the rows that an output step leaves."""
    _, index, block, _ = name.split(".")
    if block == "attention":
        return f"layers.{index}.feed_forward.input_quantiser"
    return f"layers.{int(index) + 1}.attention.input_quantiser"


def _elements(words: np.ndarray, lanes: int, bits: int) -> np.ndarray:
    """Beats, uint32 (beats, words), as unsigned elements (beats, lanes)."""
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8)
    if bits == 16:
        return octets.view("<u2")[:, :lanes].astype(np.int64)
    each = np.unpackbits(octets, axis=1, count=lanes * bits, bitorder="little").reshape(len(words), lanes, bits)
    elements: np.ndarray = each.astype(np.int64) @ (1 << np.arange(bits))
    return elements


def _bits_of(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers or codes as unsigned integers of so many bits."""
    if bits == 16:
        return np.ascontiguousarray(values).view(np.uint16).astype(np.int64)
    if bits == 1:
        return (values > 0).astype(np.int64)
    codes: np.ndarray = values.astype(np.int64) & (2**bits - 1)
    return codes


def _number(bits: int) -> str:
    if bits == NOTHING:
        return "nothing"
    return f"{np.array(bits, np.uint16).view(np.float16)} ({bits:#06x})"


def _code(bits: int) -> str:
    return "nothing" if bits == NOTHING else f"{bits:#b}"
