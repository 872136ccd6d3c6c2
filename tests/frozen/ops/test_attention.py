"""attention and shiftmax_attention: spec.md's constraints and meaning, extreme scores, and any cut of a sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen_ops import INT8, INT16, Broken, clamp, recip, round_shift
from lutra.errors import InputError
from lutra.frozen.ops import Attention, Past, ShiftmaxAttention
from lutra.frozen.ops.attention import exponential_table
from lutra.frozen.types import TensorType, Value

TOKENS = Value(INT8, 6, context=16)
NAMES = ("q", "k", "v")


def attention(**changes):
    arguments = {"heads": 2, "causal": True, "multiplier": 900, "shift": 8, "gain": 1, "type": INT8}
    return Attention(NAMES, "y", exponentials=exponential_table(), **{**arguments, **changes})


def shiftmax(**changes):
    arguments = {"heads": 2, "causal": True, "multiplier": 2**20, "shift": 24, "unit": 40, "type": INT8}
    return ShiftmaxAttention(NAMES, "y", **{**arguments, "context_multiplier": 2**24, "context_shift": 39, **changes})


SHARED = [
    ({}, [TOKENS, TOKENS], "inputs must be 3 values"),
    ({}, [TOKENS, TOKENS, Value(INT16, 6, context=16)], "inputs must be int8"),
    ({}, [TOKENS, TOKENS, Value(INT8, 8, context=16)], "inputs differ in width"),
    ({}, [TOKENS, TOKENS, Value(INT8, 6, context=8)], "inputs keys and values differ in their rows"),
    ({}, [Value(INT8, 6, rows=4), TOKENS, TOKENS], "inputs must have queries and keys of the same tokens"),
    ({"causal": False}, None, "inputs must have a fixed number of keys"),
    ({"causal": 1}, None, "causal must be true or false"),
]
SIZES = [
    ({}, [Value(INT8, 6, context=1025)] * 3, "inputs must have at most 1024 keys, found 1025"),
    ({}, [Value(INT8, 6)] * 3, "inputs must have at most 1024 keys, found None"),
    ({"heads": 4}, None, "heads must divide the width of 6"),
    ({"heads": 0}, None, r"heads must lie in \[1, 6\]"),
    ({"heads": 1}, [Value(INT8, 1025, context=16)] * 3, "heads leave more than 1024 columns"),
]


def test_attention():
    rising = exponential_table().copy()
    rising[0] = 0
    Broken(
        attention(),
        [TOKENS] * 3,
        {
            1: SHARED,
            2: SIZES,
            3: [({"multiplier": 2**16}, None, "multiplier must lie in"), ({"shift": 41}, None, "shift must lie in")],
            4: [
                ({"exponentials": np.zeros(255, int)}, None, "exponentials must have 256 entries"),
                ({"exponentials": np.full(256, 128)}, None, r"exponentials must lie in \[0, 127\]"),
                ({"exponentials": rising}, None, "exponentials must begin with a positive entry"),
            ],
            5: [({"gain": 9}, None, "gain must lie in")],
            6: [({"type": INT16}, None, "type must be int8")],
        },
    ).check()


def test_shiftmax_attention():
    Broken(
        shiftmax(),
        [TOKENS] * 3,
        {
            1: [*SHARED, *SIZES],
            2: [({"multiplier": 2**31}, None, "multiplier must lie in"), ({"shift": 63}, None, "shift must lie in")],
            3: [({"unit": 0}, None, "unit must lie in"), ({"unit": 4096}, None, r"unit must lie in \[1, 4095\]")],
            4: [
                ({"context_multiplier": 0}, None, "context_multiplier must lie in"),
                ({"context_shift": 63}, None, "context_shift must lie in"),
                ({"context_multiplier": 2**31 - 1, "unit": 1}, [Value(INT8, 6, context=1024)] * 3, "overflows 64"),
            ],
            5: [({"type": TensorType(True, 9)}, None, "type must be int8")],
        },
    ).check()


def heads_by_hand(op, q, k, v, one_query):
    """(T, D) integers of one sequence -> the output, `one_query` doing one query of one head."""
    width = q.shape[1] // op.heads
    out = np.zeros_like(q)
    for head in range(op.heads):
        columns = slice(head * width, (head + 1) * width)
        for i in range(len(q)):
            seen = range(i + 1) if op.causal else range(len(k))
            keys, values = ([array[j, columns].tolist() for j in seen] for array in (k, v))
            out[i, columns] = one_query(op, q[i, columns].tolist(), keys, values)
    return out


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def lutra_query(op, query, keys, values):
    scores = [clamp(round_shift(dot(query, key) * op.multiplier, op.shift), 16) for key in keys]
    table, largest = op.exponentials.tolist(), max(scores)
    weights = [table[largest - s] if largest - s < 256 else 0 for s in scores]
    factor, exponent = recip(sum(weights))
    sums = [dot(weights, column) for column in zip(*values, strict=True)]
    return [clamp(round_shift(total * factor, 16 + exponent - op.gain), 8) for total in sums]


def shift_exp(d, unit):
    p = max(d + (d >> 1) - (d >> 4), -15 * unit)
    q = -p // unit
    return ((p + unit * q + 2 * unit) * 2 ** (15 - q)) // 2


def shiftmax_query(op, query, keys, values):
    scores = [clamp(round_shift(dot(query, key) * op.multiplier, op.shift), 8) for key in keys]
    weights = [shift_exp(s - max(scores), op.unit) for s in scores]
    factor = (2**31 - 1) // sum(weights)
    probabilities = [(weight * factor) >> 16 for weight in weights]
    sums = [dot(probabilities, column) for column in zip(*values, strict=True)]
    return [clamp(round_shift(total * op.context_multiplier, op.context_shift), 8) for total in sums]


@pytest.mark.parametrize(("create", "one_query"), [(attention, lutra_query), (shiftmax, shiftmax_query)])
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.booleans(), st.sampled_from([1, 2, 3, 6]), st.integers(0, 12), st.integers(0, 2**32))
def test_follows_the_specification(create, one_query, tokens, causal, heads, shift, seed):
    rng = np.random.default_rng(seed)
    q, k, v = rng.integers(-128, 128, (3, 2, tokens, 6))
    op = create(causal=causal, heads=heads)
    op = replace(op, shift=shift + 1 if create is attention else 16 + shift)
    y = op.meaning_at(Past(), q, k, v)
    for sequence in range(2):
        expected = heads_by_hand(op, q[sequence], k[sequence], v[sequence], one_query)
        assert (y[sequence] == expected).all()


@pytest.mark.parametrize("create", [attention, shiftmax])
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 2**32))
def test_any_cut_gives_the_same_bits(create, lengths, seed):
    op, total = create(), sum(lengths)
    rows = np.random.default_rng(seed).integers(-128, 128, (3, 2, total, 6))
    whole = op.meaning_at(Past(), *rows)
    past, parts = Past(), []
    for length in lengths:
        part = rows[:, :, past.tokens : past.tokens + length]
        parts.append(op.meaning_at(past, *part))
        past.tokens += length
    assert (np.concatenate(parts, axis=1) == whole).all()


def test_hidden_keys_never_matter():
    rng = np.random.default_rng(1)
    q, k, v = rng.integers(-128, 128, (3, 1, 8, 6))
    y = attention().meaning_at(Past(), q, k, v)
    k[:, 5:], v[:, 5:] = 127, -128
    assert (attention().meaning_at(Past(), q, k, v)[:, :5] == y[:, :5]).all()


def softmax_of(scores):
    op = attention()
    exponentials, sums = op.softmax(np.array(scores), True)
    return exponentials.tolist(), sums[..., 0].tolist()


def test_extreme_scores():
    assert softmax_of([7] * 1024) == ([127] * 1024, 127 * 1024), "all equal"
    assert softmax_of([-32768]) == ([127], 127), "one key"
    assert softmax_of([-32768, 32767]) == ([0, 127], 127), "the largest last, saturated both ways"
    assert softmax_of([0, -255, -256]) == ([127, 1, 0], 128), "the table's last entry, and one beyond it"


def test_the_table_over_every_distance():
    op = attention()
    distances = np.arange(65536)
    exponentials, _ = op.softmax(np.stack([np.full(65536, 32767), 32767 - distances], axis=1), True)
    expected = np.floor(127 * 2.0 ** (-distances / 32) + 0.5)
    assert (exponentials[:, 1] == np.where(distances < 256, expected, 0)).all()
    assert (expected[256:] == 0).all(), "what the table leaves out is 0 anyway"


def test_largest_context_is_exact():
    """1,024 equal keys with values of one sign: the sums reach 127 * 128 * 1024."""
    op = attention(heads=1, causal=False, gain=0)
    keys = np.zeros((1, 1024, 6), int)
    for value in (-128, 127):
        y = op.meaning_at(Past(), keys[:, :1], keys, np.full((1, 1024, 6), value))
        assert (y == value).all()


def test_whole_sequences_have_no_past():
    x = np.zeros((1, 2, 6), int)
    with pytest.raises(InputError, match="whole sequences"):
        attention(causal=False).meaning_at(Past(tokens=1), x, x, x)


@pytest.mark.parametrize(("std", "error"), [(1, 0.02), (2, 0.05), (5, 0.02)])
def test_error_of_the_context_at_197_keys(std, error):
    """Against real softmax of the same scores: the 7-bit table costs 1.5 to 4.6 % of the context's rms."""
    rng = np.random.default_rng(0)
    real = rng.normal(0, std, (400, 197))
    values = rng.integers(-127, 128, (197, 64))
    exponentials, sums = attention().softmax(np.rint(real * 32 / np.log(2)).astype(np.int64), True)
    ours = exponentials / sums @ values
    weights = np.exp(real - real.max(axis=1, keepdims=True))
    theirs = weights / weights.sum(axis=1, keepdims=True) @ values
    assert np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean()) < error
