"""Triton kernels of the weightless block. Nothing is added with atomics, so results are the same bits in every run.

Bits lie in words of 32 rows (tokens): `bits[word, plane]`, row 32 * word + j in bit j. Rows after the last one are
padding: their bits are arbitrary, and what is summed over rows masks them. Row-wise float arrays of the backward pass
are feature-major, (planes or LUTs, rows), so that the lanes of a warp read neighbouring rows.

Numbers of layers, tables, inputs and planes are compile-time constants: a model has one or two shapes of blocks.
"""

from __future__ import annotations

import triton
import triton.language as tl

WORD = tl.constexpr(32)


@triton.jit
def _encode(
    x,
    compared,
    thresholds,
    limits,
    window,
    bits,
    inside,
    word,
    rows,
    FEATURES: tl.constexpr,
    T: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Thermometer bits, and which inputs lie inside the gradient's window, of one word of rows."""
    bit = tl.arange(0, WORD)
    row = word * WORD + bit
    for first in range(0, FEATURES, BLOCK):
        feature = first + tl.arange(0, BLOCK)
        exists = feature < FEATURES
        loaded = (row < rows)[:, None] & exists[None, :]
        at = row[:, None] * FEATURES + feature[None, :]
        value = tl.load(compared + at, loaded, other=0.0).to(tl.float32)
        for t in range(T):
            plane = feature * T + t
            limit = tl.load(limits + plane, exists, other=0.0)
            is_set = (value >= limit[None, :]).to(tl.int32) << bit[:, None]
            tl.store(bits + word * FEATURES * T + plane, tl.sum(is_set, axis=0), exists)
        if WINDOW:
            half_width = tl.load(window)
            real = tl.load(x + at, loaded, other=0.0).to(tl.float32)
            for t in range(T):
                plane = feature * T + t
                threshold = tl.load(thresholds + plane, exists, other=0.0)
                is_near = (tl.abs(real - threshold[None, :]) < half_width).to(tl.int32) << bit[:, None]
                tl.store(inside + word * FEATURES * T + plane, tl.sum(is_near, axis=0), exists)


@triton.jit
def _look_up(
    below,
    tables,
    connections,
    out,
    addresses,
    word,
    rows,
    LUTS: tl.constexpr,
    INPUTS: tl.constexpr,
    KEEP_ADDRESSES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One LUT layer for one word of rows: from the word's planes at `below` to its LUTs at `out`."""
    bit = tl.arange(0, WORD)
    for first in range(0, LUTS, BLOCK):
        lut = first + tl.arange(0, BLOCK)
        exists = lut < LUTS
        address = tl.full([BLOCK, WORD], 0, tl.int32)
        for i in tl.static_range(INPUTS):
            plane = tl.load(connections + lut * INPUTS + i, exists, other=0)
            read = tl.load(below + plane, exists, other=0)
            address |= ((read[:, None] >> bit[None, :]) & 1) << i
        entry = tl.load(tables + (lut[:, None] << INPUTS) + address, exists[:, None], other=0.0)
        is_set = (entry > 0).to(tl.int32) << bit[None, :]
        tl.store(out + lut, tl.sum(is_set, axis=1), exists)
        if KEEP_ADDRESSES:
            row = (word * WORD + bit)[None, :]
            at = lut.to(tl.int64)[:, None] * rows + row
            tl.store(addresses + at, address.to(tl.uint8), exists[:, None] & (row < rows))


@triton.jit
def _look_up_layers(
    bits,
    tables,
    connections,
    hidden,
    addresses,
    word,
    rows,
    PLANES: tl.constexpr,
    LUTS: tl.constexpr,
    INPUTS: tl.constexpr,
    HIDDEN: tl.constexpr,
    KEEP_ADDRESSES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """All LUT layers for one word of rows; a layer reads what this same program wrote, still in its L1 cache."""
    below = bits + word * PLANES
    out = hidden + word * HIDDEN
    for k in tl.static_range(len(LUTS)):
        tl.debug_barrier()  # the planes were written by other threads of this program
        _look_up(below, tables, connections, out, addresses, word, rows, LUTS[k], INPUTS[k], KEEP_ADDRESSES, BLOCK)
        below = out
        out += LUTS[k]
        tables += LUTS[k] << INPUTS[k]
        connections += LUTS[k] * INPUTS[k]
        if KEEP_ADDRESSES:
            addresses += LUTS[k] * rows


@triton.jit
def forward(
    x,
    compared,
    thresholds,
    limits,
    window,
    bits,
    inside,
    tables,
    connections,
    hidden,
    rows,
    FEATURES: tl.constexpr,
    T: tl.constexpr,
    WINDOW: tl.constexpr,
    LUTS: tl.constexpr,
    INPUTS: tl.constexpr,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Thermometer and LUT layers, one program per word of rows.

    `limits` (FEATURES, T) are compared with `compared` (rows, FEATURES); `x`, `thresholds` and `window` decide about
    the gradient's window. `tables` and `connections` hold all layers, one after the other; `hidden` (words, HIDDEN)
    their bits.
    """
    word = tl.program_id(0).to(tl.int64)
    _encode(x, compared, thresholds, limits, window, bits, inside, word, rows, FEATURES, T, WINDOW, BLOCK)
    _look_up_layers(
        bits, tables, connections, hidden, hidden, word, rows, FEATURES * T, LUTS, INPUTS, HIDDEN, False, BLOCK
    )  # fmt: skip


@triton.jit
def replay(
    bits,
    tables,
    connections,
    hidden,
    addresses,
    rows,
    PLANES: tl.constexpr,
    LUTS: tl.constexpr,
    INPUTS: tl.constexpr,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """LUT layers again in the backward pass, with the address of every table: uint8 (HIDDEN, rows)."""
    word = tl.program_id(0).to(tl.int64)
    _look_up_layers(
        bits, tables, connections, hidden, addresses, word, rows, PLANES, LUTS, INPUTS, HIDDEN, True, BLOCK
    )  # fmt: skip


@triton.jit
def unpack(words, values, stride, rows, low, high, PLANES: tl.constexpr, BLOCK: tl.constexpr):
    """Bits (words, PLANES, row stride `stride`) to numbers (rows, PLANES): `low` where 0, `high` where 1."""
    word = tl.program_id(0).to(tl.int64)
    bit = tl.arange(0, WORD)
    row = word * WORD + bit
    plane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    exists = plane < PLANES
    read = tl.load(words + word * stride + plane, exists, other=0)
    value = tl.where(((read[None, :] >> bit[:, None]) & 1) != 0, high, low)
    tl.store(values + row[:, None] * PLANES + plane[None, :], value, (row < rows)[:, None] & exists[None, :])


@triton.jit
def table_gradients(grad, addresses, partial, rows, part_rows, ENTRIES: tl.constexpr, BLOCK: tl.constexpr):
    """Gradient of the addressed entries, summed over a part of the rows: partial[part, lut, entry]."""
    lut = tl.program_id(0)
    part = tl.program_id(1)
    entry = tl.arange(0, ENTRIES)
    total = tl.full([ENTRIES], 0, tl.float32)
    base = lut.to(tl.int64) * rows
    for first in range(part * part_rows, tl.minimum(rows, (part + 1) * part_rows), BLOCK):
        row = first + tl.arange(0, BLOCK)
        g = tl.load(grad + base + row, row < rows, other=0.0)
        address = tl.load(addresses + base + row, row < rows, other=0).to(tl.int32)
        total += tl.sum(tl.where(entry[:, None] == address[None, :], g[None, :], 0.0), axis=1)
    tl.store(partial + (part * tl.num_programs(0) + lut) * ENTRIES + entry, total)


@triton.jit
def plane_gradients(
    grad,
    addresses,
    slopes,
    starts,
    slots,
    shares,
    direct,
    inside,
    grad_planes,
    grad_x,
    plane_sums,
    rows,
    scale,
    PLANES: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_BLOCK: tl.constexpr,
    INPUTS: tl.constexpr,
    SHARED: tl.constexpr,
    DIRECT: tl.constexpr,
    THERMOMETER: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradient of the planes that a LUT layer reads, for GROUP planes and BLOCK rows per program.

    The slots (table inputs) that read plane p are `slots[starts[p] : starts[p + 1]]`, so every sum has one owner and a
    fixed order; slot s receives grad[lut] * slopes[s, address]. With SHARED, each counts with its weight in `shares`;
    with DIRECT, `direct` (PLANES, rows) is added. The planes of a thermometer (GROUP = bits per feature) go on to
    `grad_x` (rows, features), and to `plane_sums` (blocks of rows, PLANES) for the thresholds.
    """
    group = tl.program_id(0)
    member = tl.arange(0, GROUP_BLOCK)
    plane = group * GROUP + member
    is_plane = (member < GROUP) & (plane < PLANES)
    row = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    exists = is_plane[:, None] & (row < rows)[None, :]
    at = plane.to(tl.int64)[:, None] * rows + row[None, :]
    total = tl.full([GROUP_BLOCK, BLOCK], 0, tl.float32)
    if DIRECT:
        total += tl.load(direct + at, exists, other=0.0)
    start = tl.load(starts + plane, is_plane, other=0)
    readers = tl.load(starts + plane + 1, is_plane, other=0) - start
    for reader in range(0, tl.max(readers, axis=0)):
        is_read = reader < readers
        slot = tl.load(slots + start + reader, is_read, other=0)
        lut_at = (slot // INPUTS).to(tl.int64)[:, None] * rows + row[None, :]
        counts = is_read[:, None] & exists
        g = tl.load(grad + lut_at, counts, other=0.0)
        address = tl.load(addresses + lut_at, counts, other=0).to(tl.int32)
        g *= tl.load(slopes + (slot << INPUTS)[:, None] + address, counts, other=0.0)
        if SHARED:
            g *= tl.load(shares + start + reader, is_read, other=0.0)[:, None]
        total += g
    if THERMOMETER:
        if WINDOW:
            near_at = (row // WORD).to(tl.int64)[None, :] * PLANES + plane[:, None]
            near = tl.load(inside + near_at, exists, other=0)
            total = tl.where(((near >> (row % WORD)[None, :]) & 1) != 0, total, 0.0)
        tl.store(plane_sums + tl.program_id(1) * PLANES + plane, tl.sum(total, axis=1), is_plane)
        grad_at = row.to(tl.int64) * (PLANES // GROUP) + group
        tl.store(grad_x + grad_at, tl.sum(total, axis=0) * tl.load(scale), row < rows)
    else:
        tl.store(grad_planes + at, total, exists)


@triton.jit
def slot_gradients(grad, addresses, slopes, grad_slots, rows, INPUTS: tl.constexpr, BLOCK: tl.constexpr):
    """Gradient of every slot before any mapping: grad[lut] * slopes[slot, address], (slots, rows)."""
    lut = tl.program_id(0)
    row = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    exists = row < rows
    at = lut.to(tl.int64) * rows + row
    g = tl.load(grad + at, exists, other=0.0)
    address = tl.load(addresses + at, exists, other=0).to(tl.int32)
    for i in tl.static_range(INPUTS):
        slot = lut * INPUTS + i
        slope = tl.load(slopes + (slot << INPUTS) + address)
        tl.store(grad_slots + slot.to(tl.int64) * rows + row, g * slope, exists)


@triton.jit
def candidate_score_gradients(
    grad,
    addresses,
    slopes,
    candidates,
    below,
    stride,
    partial,
    rows,
    part_rows,
    INPUTS: tl.constexpr,
    CHOICES: tl.constexpr,
    CHOICES_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sum over a part of the rows of (2 * bit - 1) * slot gradient for every candidate: partial[part, choice, slot]."""
    slot = tl.program_id(0)
    part = tl.program_id(1)
    slot_count = tl.num_programs(0)
    choice = tl.arange(0, CHOICES_BLOCK)
    exists = choice < CHOICES
    plane = tl.load(candidates + choice * slot_count + slot, exists, other=0)
    total = tl.full([CHOICES_BLOCK], 0, tl.float32)
    base = (slot // INPUTS).to(tl.int64) * rows
    for first in range(part * part_rows, tl.minimum(rows, (part + 1) * part_rows), BLOCK):
        row = first + tl.arange(0, BLOCK)
        inside_rows = row < rows
        g = tl.load(grad + base + row, inside_rows, other=0.0)
        address = tl.load(addresses + base + row, inside_rows, other=0).to(tl.int32)
        g *= tl.load(slopes + (slot << INPUTS) + address)
        word_at = (row // WORD).to(tl.int64) * stride
        read = tl.load(below + plane[:, None] + word_at[None, :], exists[:, None] & inside_rows[None, :], other=0)
        is_set = ((read >> (row % WORD)[None, :]) & 1) != 0
        total += tl.sum(tl.where(is_set, g[None, :], -g[None, :]), axis=1)
    tl.store(partial + (part * CHOICES + choice) * slot_count + slot, total, exists)
