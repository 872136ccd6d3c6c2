"""The one place that decides which instruction set compiled code uses.

Both C++ libraries call them scalar, avx2, avx512 and amx, the best last, and a file whose name ends in one of these
holds what is for it alone; scalar is C++ for any processor, and serves those that have no file of their own. The
training kernels are compiled once for each of the first three, with its flags, because most of what they gain the
compiler finds; AMX is in what is compiled for AVX-512. The runtime is one library, whose files turn their instruction
set on themselves. The two need different extensions, so each says by `lutra_best_isa` what this processor can run of
it; LUTRA_ISA chooses among that.
"""

from __future__ import annotations

from collections.abc import Sequence

from lutra import settings
from lutra.errors import InputError

REFERENCE = "reference"
"""As LUTRA_ISA: no compiled code, what defines it instead (plain PyTorch, the golden model)."""
ELSEWHERE = ("triton",)
"""Values that mean kernels which are not compiled here; compiled code then takes its best."""


def chosen_isa(available: Sequence[str]) -> str:
    """What LUTRA_ISA names, else the last of `available`, which are ordered from the plainest to the best.

    Raises:
        InputError: LUTRA_ISA names nothing that this machine has.
    """
    forced = settings.ISA.text
    if forced is None or forced in ELSEWHERE:
        return available[-1]
    if forced not in available and forced != REFERENCE:
        allowed = ", ".join((*available, *ELSEWHERE, REFERENCE))
        raise InputError(f"LUTRA_ISA={forced}: this machine runs {allowed}; set one of them or none")
    return forced
