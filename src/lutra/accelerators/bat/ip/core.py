"""BAT of a model beside its memory: what its ports, its registers and its driver are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.bat.compiler import Image, compile_sentences, row_bytes, step_names
from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.emit import TOP, top_ports
from lutra.accelerators.bat.program import BYTES
from lutra.accelerators.bat.weights import BEAT_BYTES
from lutra.hardware.axi.ports import Interface, Port, ports_of
from lutra.hardware.axi.registers import RegisterMap

DATA_BITS = 8 * BEAT_BYTES


@dataclass(frozen=True, eq=False)
class BatCore:
    """A model on BAT, as an IP core."""

    name: str
    """Of the IP core and of its top module."""
    image: Image
    machine: str = TOP
    """Its machine's module."""

    @property
    def config(self) -> BatConfig:
        return self.image.config

    @property
    def positions(self) -> int:
        """Tokens of the longest sentence."""
        return min(self.config.positions, self.image.model.positions)

    @property
    def row_beats(self) -> int:
        """Beats of a row in memory."""
        return row_bytes(self.image.model.width) // BEAT_BYTES

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Two masters for each module."""
        return tuple(
            interface
            for module in range(len(self.config.modules))
            for interface in (
                Interface(f"m_axi_load_{module}", "memory to read", DATA_BITS),
                Interface(f"m_axi_rows_{module}", "memory", DATA_BITS),
            )
        )

    @property
    def description(self) -> str:
        """What it is, in a line."""
        count = len(self.config.modules)
        return f"BAT, a binarized BERT on {count} module{'s' if count > 1 else ''} behind AXI4"

    def memory_ports(self, registers: RegisterMap) -> list[tuple[str, Port]]:
        """The wrapper's ports of the masters, each with its interface."""
        names = {interface.name for interface in self.interfaces}
        ports = ports_of(self.interfaces, registers)
        return [(port.interface, port) for port in ports if port.interface in names and port.inner]

    @property
    def connections(self) -> list[tuple[str, str]]:
        """Ports of the machine, and the wrapper's signals at them."""
        return [(port.name, _signal(port.name)) for port in top_ports(self.config) if port.name[0] == "m"]

    def programs(self) -> np.ndarray:
        """Instructions of every sentence of every length, uint8 (sentences, lengths from 1, steps, bytes).

        In the order of `step_names`. No program's last step is marked, as it depends on the sentences beside.
        """
        steps = step_names(self.image.model.layers)
        found = np.zeros((self.image.sentences, self.positions, len(steps), BYTES), np.uint8)
        for sentence in range(self.image.sentences):
            for tokens in range(1, self.positions + 1):
                every = dict(self._encoded(sentence, tokens))
                for place, name in enumerate(steps):
                    found[sentence, tokens - 1, place] = every[name]
        return found

    def _encoded(self, sentence: int, tokens: int) -> Iterator[tuple[str, np.ndarray]]:
        """Steps of the sentence of this number by name; those before it have one token."""
        for program in compile_sentences(self.image, [1] * sentence + [tokens]):
            for step in program:
                if step.sentence == sentence:
                    plain = type(step)(step.name, step.flags - {"last"}, step.numbers, step.sentence)
                    yield step.name, np.frombuffer(plain.encode(), np.uint8)


def _signal(port: str) -> str:
    """Such as m1_rows_rdata_i -> m_axi_rows_1_rdata_i; m1_rows_araddr_o -> rows_araddr_1, as it gets the base added."""
    module, _, name = port.partition("_")
    number = module[1:]
    plain = {"program_i": f"program_{number}", "done_o": f"finished[{number}]", "errors_o": f"errors_{number}"}
    if name in plain:
        return plain[name]
    bus, signal = name.split("_", 1)
    if signal in ("araddr_o", "awaddr_o"):
        return f"{bus}_{signal[:-2]}_{number}"
    return f"m_axi_{bus}_{number}_{signal}"
