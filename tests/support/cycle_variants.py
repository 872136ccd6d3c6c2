"""Modules without back pressure in several forms, right and with faults, in one bench of words per cycle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hardware_variants
from hardware_variants import PORT, Variant
from lutra.hardware.bench import cycles, streams
from lutra.hardware.bench.cycles import CycleBench, Fields

RESET_CYCLES = 2
WIDEST = 64
"""Bits of a port that is one field; a wider one is as many fields of 32 bits as it needs."""


@dataclass(frozen=True)
class VariantBench:
    """Modules that each get inputs of their own, among them `variant_i`: which form of the module is seen."""

    bench: CycleBench
    inputs: dict[str, dict[str, int]]
    """Module -> port -> its bits."""
    outputs: dict[str, dict[str, int]]

    def run(self, module: str, late: int, **ports: np.ndarray | int) -> dict[str, np.ndarray]:
        """What the outputs of a module show `late` cycles after each of n inputs.

        A port has the values (n,), or one that it keeps, or words as `streams.pack` makes them, (n, words). Ports that
        are not given are 0, but rst_ni is 1. What ports of more than `WIDEST` bits show comes as words. A reset comes
        first, because registers start with random values.
        """
        count = max(len(values) for values in ports.values() if np.ndim(values))
        given = {name: np.zeros(count + late, np.int64) for name in self.bench.inputs.bits}
        for port, bits in self.inputs[module].items():
            values = ports.pop(port, int(port == "rst_ni"))
            if np.ndim(values) > 1 and bits <= WIDEST:
                values = sum(words.astype(np.int64) << 32 * place for place, words in enumerate(values.T))
            for name, part in zip(
                _fields(module, port, bits), values.T if np.ndim(values) > 1 else [values], strict=False
            ):
                given[name][: count if np.ndim(values) else None] = part
        assert not ports, f"{module} has no {', '.join(ports)}"
        shown = self.bench.run({name: _after_a_reset(name, values) for name, values in given.items()})
        shown = {name: values[RESET_CYCLES:] for name, values in shown.items()}
        return {
            port: _together(shown, _fields(module, port, bits), late) for port, bits in self.outputs[module].items()
        }


def _after_a_reset(name: str, values: np.ndarray) -> np.ndarray:
    kept = values[0] if name.endswith("__variant_i") else 0
    return np.concatenate([np.full(RESET_CYCLES, kept, np.int64), values])


def _together(shown: dict[str, np.ndarray], names: list[str], late: int) -> np.ndarray:
    """One port's values (n,), or its words (n, words)."""
    parts = [shown[name][late:] for name in names]
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=1).astype("<u4")


def _fields(module: str, port: str, bits: int) -> list[str]:
    if bits <= WIDEST:
        return [f"{module}__{port}"]
    return [f"{module}__{port}__{index}" for index in range(streams.words_of_bits(bits))]


def build(modules: dict[str, list[Variant]], sources: dict[str, str], folder: Path) -> VariantBench:
    """Compile modules in their variants; `sources` is all text that there is, module -> text."""
    files: dict[str, Path] = {}
    ports: dict[str, dict[str, dict[str, int]]] = {"input": {}, "output": {}}
    lines = []
    for module, variants in modules.items():
        written = hardware_variants.write(variants, module, sources, folder / module, gate_clocks=True)
        files |= {path.name: path for path in written}
        ports["input"][module], ports["output"][module] = {}, {}
        connected = []
        for direction, range_, port in PORT.findall(written[-1].read_text()):
            if port != "clk_i":
                ports[direction][module][port] = int(range_.split(":")[0]) + 1
            connected.append(f".{port}" if port == "clk_i" else f".{port}({module}__{port})")
        lines.append(f"  {module}_variants u_{module} ({', '.join(connected)});")
    fields = {
        direction: Fields(
            {
                name: min(32, bits - 32 * index) if bits > WIDEST else bits
                for module, own in of_direction.items()
                for port, bits in own.items()
                for index, name in enumerate(_fields(module, port, bits))
            }
        )
        for direction, of_direction in ports.items()
    }
    given, shown = fields["input"], fields["output"]
    top = [
        f"module side_by_side (input logic clk_i, input logic [{32 * given.words - 1}:0] inputs_i,",
        f"  output logic [{32 * shown.words - 1}:0] outputs_o);",
        *_wires(ports["input"], given, "  wire [{last}:0] {wire} = inputs_i[{first} +: {bits}];"),
        *_wires(
            ports["output"],
            shown,
            "  wire [{last}:0] {wire}; assign outputs_o[{first} +: {padded}] = {padded}'({wire});",
        ),
        *lines,
        "endmodule",
        "",
    ]
    path = folder / "side_by_side.sv"
    path.write_text("\n".join(top))
    bench = cycles.build([*files.values(), path], "side_by_side", given, shown, folder / "build")
    return VariantBench(bench, ports["input"], ports["output"])


def _wires(ports: dict[str, dict[str, int]], fields: Fields, line: str) -> list[str]:
    """A wire per port; the fields of a wide one follow each other without a gap, and fill words of 32 bits."""
    return [
        line.format(
            last=bits - 1,
            wire=f"{module}__{port}",
            first=fields.offsets[_fields(module, port, bits)[0]],
            bits=bits,
            padded=32 * streams.words_of_bits(bits),
        )
        for module, own in ports.items()
        for port, bits in own.items()
    ]


def unpack(shown: np.ndarray, lanes: int, bits: int, signed: bool = False) -> np.ndarray:
    """What a port shows, values (n,) or words (n, words) -> its elements (n, lanes)."""
    words = shown if shown.ndim > 1 else np.stack([shown, shown >> 32], axis=1) & 0xFFFFFFFF
    return streams.unpack(words.astype("<u4"), lanes, bits, signed)
