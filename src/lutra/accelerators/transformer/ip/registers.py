"""The register map of the transformer machine as an IP core."""

from __future__ import annotations

from lutra.hardware.axi.registers import (
    Field,
    Register,
    RegisterMap,
    config,
    control,
    errors,
    heading,
    holes,
    stalls,
    status,
    word,
)

TRANSFORMER_MAP = 0x101
"""Version 1 of the map of machines for a whole transformer."""


def transformer_registers(build_hash: str, rows: int, whole: bool) -> RegisterMap:
    """The registers; a call takes up to `rows` rows, or with `whole` just so many."""
    call = () if whole else (_call(),)
    unknown = () if whole else (Field("token", 3, 1, "sticky", "A token is none that the model knows."),)
    refused = () if whole else (Field("call", 5, 1, "sticky", "A start with no rows, or too many; nothing was done."),)
    return RegisterMap(
        (
            *heading(build_hash, TRANSFORMER_MAP),
            control(
                "Take the next packet as a call's input",
                "Forget everything inside but what the memories hold.",
                Field("load", 2, 1, "command", "Take the next packet for the memories; only while not busy."),
            ),
            status(
                "A packet is expected, or inside.",
                "The memories are filled, or a call's last logits were taken",
                "How far the packet is.",
                Field("loaded", 2, 1, "status", "The memories hold a model."),
            ),
            config(),
            *call,
            errors(
                Field("short", 0, 1, "sticky", "A packet ended before its call had all rows; zeros came for them."),
                Field("long", 1, 1, "sticky", "A packet had more than its call takes; the rest was dropped."),
                holes(2),
                *unknown,
                Field("start", 4, 1, "sticky", "A start or load while busy; nothing was done."),
                *refused,
                Field("unloaded", 6, 1, "sticky", "A start before the memories were filled; nothing was done."),
                Field("image", 7, 1, "sticky", "A packet for the memories does not fit; load the right one."),
            ),
            word("most_rows", "constant", "Rows of the longest sequence.", rows),
            word("image_sum", "status", "Sum of the 32-bit words of the last packet for the memories, modulo 2^32."),
            word("step", "status", "The step of its program that the machine is at."),
            word("rows", "status", "Rows of input that the last call has taken."),
            word("cycles", "status", "Cycles of the last call, from its first step to its end."),
            *stalls(),
        )
    )


def _call() -> Register:
    return Register(
        "call",
        (
            Field("rows", 0, 16, "setting", "Tokens of the next call.", 1),
            Field("past", 16, 16, "setting", "Tokens of the calls before whose keys and values it goes on from."),
        ),
        "Looked at when a call is started.",
    )
