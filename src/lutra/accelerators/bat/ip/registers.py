"""The register map of BAT as an IP core."""

from __future__ import annotations

from collections.abc import Sequence

from lutra.hardware.axi.registers import Field, Register, RegisterMap, config, control, errors, heading, status, word

BAT_MAP = 0x201
"""Version 1 of the map of BAT."""
BASE_BIT = 12
"""A burst never crosses 4 KiB, so that what the machine takes for address 0 is a multiple of it."""


def bat_registers(build_hash: str, programs: Sequence[int]) -> RegisterMap:
    """The registers; `programs` are the addresses of the modules' programs in the memory of this build."""
    return RegisterMap(
        (
            *heading(build_hash, BAT_MAP),
            control(
                "Run the programs",
                "Stop at once, even within a burst: the other ends of the memory's buses must be reset, too.",
            ),
            status("The programs run.", "They have come to their ends", "How far they are."),
            config(),
            Register(
                "memory",
                (Field("base", BASE_BIT, 32 - BASE_BIT, "setting", "Where the machine's address 0 lies."),),
                "Added to every address; while busy it must not change.",
            ),
            *(
                word(f"program_{index}", "setting", f"Address of the program of module {index}, from the base on.", at)
                for index, at in enumerate(programs)
            ),
            errors(
                Field("vector", 0, 1, "sticky", "A number left the range of binary16 in a vector unit."),
                Field("quantise", 1, 1, "sticky", "A number left the range of binary16 in a quantisation unit."),
                Field("norm", 2, 1, "sticky", "A number left the range of binary16 in a layer norm."),
                Field("memory", 3, 1, "sticky", "Memory answered with an error."),
                Field("start", 4, 1, "sticky", "A start while busy; nothing was done."),
            ),
            word("rows", "status", "Rows that the last run has written to memory, of all modules."),
            word("cycles", "status", "Cycles of the last run, from its start to the end of its last module."),
        )
    )
