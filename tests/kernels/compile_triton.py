"""Compile every Triton kernel to machine code for an NVIDIA GPU, without one: prints the names of the kernels.

A process of its own, because Triton decides at its import whether kernels are interpreted.
"""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lutra.kernels.gpu import kernels

ARGUMENT_TYPES = {
    **dict.fromkeys(("rows", "part_rows", "stride"), "i32"),
    **dict.fromkeys(("low", "high"), "fp32"),
    **dict.fromkeys(("bits", "inside", "hidden", "connections", "words", "below"), "*i32"),
    **dict.fromkeys(("starts", "slots", "candidates"), "*i32"),
    "addresses": "*u8",
}
"""By argument name; all others point to float32."""

WIDTH, LUTS, INPUTS = 192, (768, 192), (6, 6)
LAYERS = {"LUTS": LUTS, "INPUTS": INPUTS, "HIDDEN": sum(LUTS), "BLOCK": 64}
PLANES = {"PLANES": 8 * WIDTH, "GROUP": 8, "GROUP_BLOCK": 8, "INPUTS": 6, "WINDOW": True, "BLOCK": 128}
CONSTANTS = {
    "forward": [{"FEATURES": WIDTH, "T": 8, "WINDOW": True, **LAYERS}],
    "replay": [{"PLANES": 8 * WIDTH, **LAYERS}],
    "unpack": [{"PLANES": WIDTH, "BLOCK": 64}],
    "table_gradients": [{"ENTRIES": 64, "BLOCK": 128}],
    "plane_gradients": [
        {**PLANES, "SHARED": False, "DIRECT": False, "THERMOMETER": True},
        {**PLANES, "SHARED": True, "DIRECT": True, "THERMOMETER": False},
    ],
    "slot_gradients": [{"INPUTS": 6, "BLOCK": 128}],
    "candidate_score_gradients": [{"INPUTS": 6, "CHOICES": 32, "CHOICES_BLOCK": 32, "BLOCK": 64}],
}

for name, variants in CONSTANTS.items():
    kernel = getattr(kernels, name)
    for constants in variants:
        types = {a: "constexpr" if a in constants else ARGUMENT_TYPES.get(a, "*fp32") for a in kernel.arg_names}
        values = {(kernel.arg_names.index(argument),): value for argument, value in constants.items()}
        source = ASTSource(kernel, types, constexprs=values)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        assert compiled.asm["cubin"]
    print(name)
