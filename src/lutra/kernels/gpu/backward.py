"""The backward pass on a GPU, over chunks of rows that bound its memory; partial sums are added in a fixed order."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from lutra.kernels import reference
from lutra.kernels.gpu import kernels
from lutra.kernels.gpu.forward import BLOCK, WORD, LutLayers, unpack

ROW_BLOCK = 128
PLANE_GROUP = 8
PART_ROWS = 4096  # rows that one program adds up
TRANSIENT_BYTES = 2**29
SMALLEST_SHARE = 1e-7  # as in the definition


class Layer:
    """One LUT layer as the backward pass needs it: slopes of its tables, and which slots read which plane below.

    Slot s = l * n + i is input i of table l. Readers of plane p are `slots[starts[p] : starts[p + 1]]`, each with its
    weight in `shares` if candidates share the slot's gradient. A mapping that is learned among all planes has no
    readers but a matrix of shares (planes, slots).
    """

    def __init__(
        self,
        planes: int,
        tables: Tensor,
        connections: Tensor,
        scores: Tensor,
        candidates: Tensor,
        temperature: float,
        efd: reference.EfdForm,
    ) -> None:
        self.planes = planes
        self.luts, self.inputs = connections.shape
        self.slopes = gradient_tables(tables, efd)
        self.candidates = candidates.int().contiguous() if candidates.numel() else None
        self.learned = scores.numel() > 0
        self.matrix: Tensor | None = None
        self.shares: Tensor | None = None
        share = _softmax_shares(scores, temperature) if self.learned else None  # (choices, slots)
        if share is not None and self.candidates is None:
            self.matrix = share
            self.starts = torch.zeros(planes + 1, dtype=torch.int32, device=tables.device)
            self.slots = self.starts
            return
        read = connections.flatten() if self.candidates is None else candidates.flatten()
        by_plane, order = torch.sort(read, stable=True)
        self.starts = torch.searchsorted(by_plane, torch.arange(planes + 1, device=read.device), out_int32=True)
        self.slots = (order % (self.luts * self.inputs)).int()
        if share is not None:
            self.shares = share.flatten()[order]

    def table_gradients(self, grad: Tensor, addresses: Tensor) -> Tensor:
        """(L, rows) float32 and uint8 -> (L, 2^n)."""
        rows, entries = grad.shape[1], 2**self.inputs
        parts = -(-rows // PART_ROWS)
        partial = grad.new_empty(parts, self.luts, entries)
        block = max(WORD, 8192 // entries)
        kernels.table_gradients[(self.luts, parts)](grad, addresses, partial, rows, PART_ROWS, entries, block)
        return partial.sum(dim=0)

    def score_gradients(self, grad: Tensor, addresses: Tensor, below: Tensor, slot_grad: Tensor | None) -> Tensor:
        """(2 * bit - 1) * slot gradient, summed over the rows, for every choice: (choices, slots)."""
        rows = grad.shape[1]
        if slot_grad is not None:
            return unpack(below, rows, -1.0, 1.0).t() @ slot_grad.t()
        assert self.candidates is not None
        choices, slots = self.candidates.shape
        parts = -(-rows // PART_ROWS)
        partial = grad.new_empty(parts, choices, slots)
        kernels.candidate_score_gradients[(slots, parts)](
            grad, addresses, self.slopes, self.candidates, below, below.stride(0), partial,
            rows, PART_ROWS, self.inputs, choices, _power_of_two(choices), BLOCK,
        )  # fmt: skip
        return partial.sum(dim=0)

    def slot_gradients(self, grad: Tensor, addresses: Tensor) -> Tensor:
        """(L, rows) -> (slots, rows)."""
        rows = grad.shape[1]
        slot_grad = grad.new_empty(self.luts * self.inputs, rows)
        grid = (self.luts, -(-rows // ROW_BLOCK))
        kernels.slot_gradients[grid](grad, addresses, self.slopes, slot_grad, rows, self.inputs, ROW_BLOCK)
        return slot_grad

    def plane_gradients(
        self, grad: Tensor, addresses: Tensor, direct: Tensor | None, thermometer: tuple[int, Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the planes below, (planes, rows); `direct` (planes, rows) is added.

        With `thermometer` (bits per feature, packed window bits, scale of the gradient): of x, (rows, features), and
        the sum over the rows for every plane, without the scale.
        """
        rows, planes = grad.shape[1], self.planes
        group, inside, scale = thermometer or (PLANE_GROUP, self.slots, self.slopes)
        blocks = -(-rows // ROW_BLOCK)
        grad_planes = grad.new_empty((0, 0) if thermometer else (planes, rows))
        grad_x = grad.new_empty((rows, planes // group) if thermometer else (0, 0))
        sums = grad.new_empty(blocks if thermometer else 0, planes)
        none = self.slopes  # a pointer that is not read
        kernels.plane_gradients[(-(-planes // group), blocks)](
            grad, addresses, self.slopes, self.starts, self.slots, none if self.shares is None else self.shares,
            none if direct is None else direct, inside, grad_planes, grad_x, sums, rows, scale,
            planes, group, _power_of_two(group), self.inputs, self.shares is not None, direct is not None,
            thermometer is not None, inside.numel() > 0, ROW_BLOCK,
        )  # fmt: skip
        return (grad_x, sums.sum(dim=0)) if thermometer else (grad_planes, sums)


def gradient_tables(tables: Tensor, efd: reference.EfdForm) -> Tensor:
    """`reference.gradient_tables`, in float64: (L, 2^n) -> (L, n, 2^n) float32."""
    inputs = tables.shape[1].bit_length() - 1
    slopes = torch.einsum("lk,iak->lia", tables.double(), _efd_weights(inputs, efd, tables.device))
    return slopes.float().contiguous()


@functools.cache
def _efd_weights(inputs: int, efd: reference.EfdForm, device: torch.device) -> Tensor:
    return reference.efd_weights(inputs, efd).to(device)


def _softmax_shares(scores: Tensor, temperature: float) -> Tensor:
    scores = scores.float()
    share = torch.softmax((scores - scores.amax(dim=0)) / temperature, dim=0)
    return share * (share > SMALLEST_SHARE)


def _power_of_two(at_least: int) -> int:
    return 1 << (at_least - 1).bit_length()


def backward(
    grad_y: Tensor,
    bits: Tensor,
    inside: Tensor,
    thresholds: Tensor,
    window: Tensor,
    tables: list[Tensor],
    connections: list[Tensor],
    scores: list[Tensor],
    candidates: list[Tensor],
    encoded: Tensor,
    temperatures: list[float],
    sum_sources: list[int],
    gradient: str,
    efd: reference.EfdForm,
    centred: bool,
    want_input: bool,
) -> list[Tensor]:
    """Gradients of x, thresholds, encoded values, bias, then of each layer's tables, then of each layer's scores.

    Arguments as those of the operator on a CPU (`kernels/block.py`). N must not be 0. Without `want_input`, the first
    two are empty.
    """
    lut_layers = LutLayers(bits.shape[1], tables, connections)
    widths = (lut_layers.planes, *lut_layers.luts)
    layers = [
        Layer(planes, table, connection, score, candidate, temperature, efd)
        for planes, table, connection, score, candidate, temperature in zip(
            widths[:-1], tables, connections, scores, candidates, temperatures, strict=True
        )
    ]
    T = thresholds.shape[1]
    unit = torch.ones(1, device=bits.device)
    scale = {"identity": unit, "mean": unit / T, "window": 0.5 / (unit * window)}[gradient]
    grads_x: list[Tensor] = []
    totals: list[Tensor] = []
    for first, last in _chunks(len(bits), layers):
        grad_x, sums = _chunk(
            grad_y[first * WORD : last * WORD].float().contiguous(), bits[first:last], inside[first:last],
            lut_layers, layers, encoded.float(), sum_sources, centred, (T, scale) if want_input else None,
        )  # fmt: skip
        grads_x.append(grad_x)
        totals = [total + part for total, part in zip(totals, sums, strict=True)] if totals else sums
    grad_thresholds = -totals.pop(0) * scale if want_input else scale[:0]
    if want_input:
        grad_thresholds = grad_thresholds.view(-1, T).sum_to_size(thresholds.shape)
    return [torch.cat(grads_x), grad_thresholds, *totals]


def _chunks(words: int, layers: list[Layer]) -> Iterator[tuple[int, int]]:
    """First and last word of every chunk of rows; they depend on nothing but shapes."""
    floats = sum(
        2 * layer.luts + layer.planes + (layer.luts * layer.inputs if layer.learned else 0) for layer in layers
    )
    size = max(1, TRANSIENT_BYTES // (4 * floats * WORD))
    return ((first, min(first + size, words)) for first in range(0, words, size))


def _chunk(
    grad_y: Tensor,
    bits: Tensor,
    inside: Tensor,
    lut_layers: LutLayers,
    layers: list[Layer],
    encoded: Tensor,
    sum_sources: list[int],
    centred: bool,
    thermometer: tuple[int, Tensor] | None,
) -> tuple[Tensor, list[Tensor]]:
    """Gradient of x, and this chunk's part of the gradients of planes, encoded values, bias, tables and scores."""
    rows = len(grad_y)
    hidden = bits.new_empty(len(bits), lut_layers.hidden)
    all_addresses = torch.empty(lut_layers.hidden, rows, dtype=torch.uint8, device=bits.device)
    kernels.replay[(len(bits),)](
        bits, lut_layers.tables, lut_layers.connections, hidden, all_addresses, rows,
        lut_layers.planes, lut_layers.luts, lut_layers.inputs, lut_layers.hidden, BLOCK,
    )  # fmt: skip
    addresses = all_addresses.split(lut_layers.luts)
    grad_encoded = lut_layers.read(sum_sources, bits, hidden, rows, centred).t() @ grad_y
    widths = [(lut_layers.planes, *lut_layers.luts)[source] for source in sum_sources]
    summed = dict(zip(sum_sources, (encoded @ grad_y.t()).split(widths), strict=True))  # (planes or LUTs, rows) each
    grad = summed.get(len(layers))
    grad_tables, grad_scores = [], []
    grad_x = sums = grad_y.new_empty(0)
    for k in reversed(range(len(layers))):
        layer, direct = layers[k], summed.get(k)
        if grad is None:  # nothing reads the last layer
            grad = grad_y.new_zeros(layer.luts, rows)
        grad_tables.append(layer.table_gradients(grad, addresses[k]))
        slot_grad = layer.slot_gradients(grad, addresses[k]) if layer.matrix is not None else None
        below = lut_layers.source(k, bits, hidden)
        grad_scores.append(
            layer.score_gradients(grad, addresses[k], below, slot_grad) if layer.learned else grad.new_empty(0)
        )
        if k == 0 and thermometer is None:
            break
        if layer.matrix is not None and slot_grad is not None:
            spread = layer.matrix @ slot_grad
            direct = spread if direct is None else direct + spread
        if k > 0:
            grad, _ = layer.plane_gradients(grad, addresses[k], direct, None)
        elif thermometer is not None:
            T, scale = thermometer
            grad_x, sums = layer.plane_gradients(grad, addresses[k], direct, (T, inside, scale))
    per_layer = [*reversed(grad_tables), *reversed(grad_scores)]
    return grad_x, [*([sums] if thermometer else []), grad_encoded, grad_y.sum(dim=0), *per_layer]
