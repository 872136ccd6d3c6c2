"""A frozen BERT at full speed: compiled kernels that equal the golden model bit for bit, from tokens to logits.

Without a C++ compiler `bert_runtime` takes the golden model itself; one notice says so.
"""

from __future__ import annotations

import ctypes

import numpy as np

from lutra.errors import LutraError
from lutra.frozen.bert import FrozenBert
from lutra.frozen.bert_golden import check_input, classify_pooled, golden_logits
from lutra.frozen.binary16 import Binary16Array
from lutra.runtime.bert.layout import LANES, BertLayout, Rows
from lutra.runtime.library import INSTRUCTION_SETS, compiled
from lutra.runtime.structure import pad
from lutra.runtime.threads import checked_threads

_OUT_OF_MEMORY, _OUT_OF_RANGE = 1, 2


class BertRuntime:
    """A frozen BERT. Calls may come from several threads at once; results never depend on their number.

    Attributes:
        isa: "amx", "avx512", "avx2" or "scalar".

    Raises:
        FrozenModelError: sums beyond those of the kernels.
        InputError: see `compiled`; LutraError: there are no compiled kernels (see `bert_runtime`).
    """

    def __init__(self, model: FrozenBert, threads: int = 1) -> None:
        self.model, self.threads = model, checked_threads(threads)
        self._layout = BertLayout(model)
        found = compiled()
        if found is None:
            raise LutraError("no compiled kernels; bert_runtime takes the golden model then")
        self._kernels, self.isa = found
        self._isa = INSTRUCTION_SETS.index(self.isa)

    def logits(
        self, tokens: np.ndarray, token_types: np.ndarray, mask: np.ndarray, noise: Binary16Array | None = None
    ) -> Binary16Array:
        """Logits (B, C) of sentences, integers (B, T) each; `mask` is 1 for tokens and 0 for padding.

        `noise` (N, D) is added to the embeddings of all real tokens, one sentence after the other.

        Raises:
            InputError: shapes, tokens, types, masks or noise that the model cannot take.
            LutraError: an activation leaves the range of a binary16.
        """
        check_input(self.model, tokens, token_types, mask, noise)
        real = mask != 0
        kept = [np.ascontiguousarray(each, np.int32) for each in (tokens[real], token_types[real], np.nonzero(real)[1])]
        kept.append(np.concatenate([[0], np.cumsum(real.sum(axis=1))]).astype(np.int64))
        added = None if noise is None else np.ascontiguousarray(pad(noise, 1, LANES), np.float32)
        rows = Rows(*(each.ctypes.data for each in kept), len(tokens), None if added is None else added.ctypes.data)
        pooled = np.empty((len(tokens), self.model.config.width), np.float32)
        status = self._kernels.lutra_bert_run(
            self._layout.address, self._isa, ctypes.addressof(rows), pooled.ctypes.data, self.threads
        )
        if status == _OUT_OF_MEMORY:
            raise LutraError("out of memory; run fewer threads or sentences")
        if status == _OUT_OF_RANGE:
            golden_logits(self.model, tokens, token_types, mask, noise=noise)  # says where
            raise LutraError("the kernels found an activation out of range, and the golden model none: report this")
        return classify_pooled(self.model, pooled.astype(np.float16))

    def __reduce__(self) -> tuple[type[BertRuntime], tuple[FrozenBert, int]]:
        return BertRuntime, (self.model, self.threads)  # a copy lays its own memory out


class GoldenBert:
    """The golden model in the place of the kernels."""

    isa = "golden"

    def __init__(self, model: FrozenBert) -> None:
        self.model = model

    def logits(
        self, tokens: np.ndarray, token_types: np.ndarray, mask: np.ndarray, noise: Binary16Array | None = None
    ) -> Binary16Array:
        """See `BertRuntime.logits`."""
        return golden_logits(self.model, tokens, token_types, mask, noise=noise)


def bert_runtime(model: FrozenBert, threads: int = 1) -> BertRuntime | GoldenBert:
    """The kernels for a frozen BERT, or the golden model where there is no compiler.

    Raises:
        FrozenModelError, InputError: see `BertRuntime`.
    """
    return GoldenBert(model) if compiled() is None else BertRuntime(model, threads)
