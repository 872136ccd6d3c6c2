"""BAT's processing element is exact for all its operands, both forms of its dot product unit give the same sums, and
the bench finds faults in each of their parts."""

from __future__ import annotations

import numpy as np
import pytest

import bat_arithmetic
from bat_arithmetic import BITS, COUNTED, DPU_LATENCY, ELEMENTS, FAULTS, FORMS, NUMBERS, SUM_BITS, variants


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    return bat_arithmetic.build("counting", tmp_path_factory.mktemp("counting"))


def run(bench, count, **inputs):
    """Outputs in `count` cycles and a few more; inputs that are not given are 0, those with one value keep it."""
    given = {name: np.zeros(count + DPU_LATENCY, np.int64) for name in bench.inputs.bits}
    for name, values in inputs.items():
        given[name][: count if np.ndim(values) else None] = values
    return bench.run(given)


def assert_found(unit, wrong):
    assert wrong[unit] == 0, f"{unit}: {wrong[unit]} wrong results"
    missed = [fault for fault, name in zip(FAULTS[unit], variants(unit)[1:], strict=True) if not wrong[name]]
    assert missed == []


def code(value, bits, signed):
    """Integers -> the codes that stand for them; one signed bit is -1 or +1."""
    return (value > 0).astype(int) if signed and bits == 1 else value & (1 << bits) - 1


def values_of(bits, signed):
    """Every value of a code."""
    if not signed:
        return np.arange(2**bits)
    return np.array([-1, 1]) if bits == 1 else np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))


def digits_of(y, bits):
    """Signed codes (n,) -> their digits (n, bits), the least significant first, as the bit decoder makes them."""
    if bits == 1:
        return np.where(y > 0, 1, -1)[:, None]
    digits = y[:, None] >> np.arange(bits) & 1
    digits[:, -1] *= -1
    return digits


def test_the_processing_element_is_exact_for_all_operands(tmp_path):
    bench = bat_arithmetic.build("pe", tmp_path)
    wrong = dict.fromkeys(variants("pe"), 0)
    for bits in BITS:
        for signed in (False, True):
            for y_bits in {1, bits}:
                x, y = (each.reshape(-1) for each in np.meshgrid(values_of(bits, signed), values_of(y_bits, True)))
                digits = digits_of(y, y_bits)
                cycles = len(x) * y_bits
                outputs = run(
                    bench,
                    cycles,
                    **{f"x_{bits}": np.repeat(code(x, bits, signed), y_bits)},
                    digit=digits.reshape(-1) & 3,
                    first=np.arange(cycles) % y_bits == 0,
                    signed=signed,
                )
                expected = (x * y << bits - y_bits) + (1 << 2 * bits)
                for name in wrong if bits < 8 else ["pe"]:
                    products = outputs[f"{name}_{bits}"][y_bits : cycles + 1 : y_bits]
                    wrong[name] += np.count_nonzero(products != expected)
    assert_found("pe", wrong)


def test_compressors_keep_the_sum(counting):
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 2**56, 2000)
    outputs = run(counting, len(numbers), numbers=numbers)
    wrong = dict.fromkeys(variants("compressor"), 0)
    for name in wrong:
        for count in NUMBERS:
            total = sum(numbers >> 8 * place & 255 for place in range(count)) & 255
            found = outputs[f"{name}_sum_{count}"] + outputs[f"{name}_{count}"] & 255
            wrong[name] += np.count_nonzero(found[: len(numbers)] != total)
    assert_found("compressor", wrong)


def test_ones_are_counted(counting):
    numbers = np.random.default_rng(4).integers(0, 2**20, 5000)
    outputs = run(counting, len(numbers), bits=numbers)
    wrong = dict.fromkeys(variants("popcount"), 0)
    for name in wrong:
        for inputs in COUNTED:
            expected = np.bitwise_count(numbers & (1 << inputs) - 1)
            wrong[name] += np.count_nonzero(outputs[f"{name}_{inputs}"][: len(numbers)] != expected)
    assert_found("popcount", wrong)


def words(x, bits, signed):
    """Values (n, elements) -> words of x as a dot product unit takes them, plane by plane; of one bit the second plane
    says signed."""
    codes = code(x, bits, signed)
    if bits == 1 and signed:
        codes = codes | 2
    planes = [codes >> bit & 1 for bit in range(max(2, bits))]
    return np.concatenate(planes, axis=1).astype(object).dot([1 << place for place in range(x.shape[1] * max(2, bits))])


def bit_words(bits):
    """Bits (n, elements) -> words."""
    return bits @ (1 << np.arange(bits.shape[1]))


def test_counted_words_add_what_is_selected(counting):
    rng = np.random.default_rng(2)
    wrong = dict.fromkeys(variants("count"), 0)
    for bits in BITS:
        for signed in (False, True):
            x, y = rng.choice(values_of(bits, signed), (500, ELEMENTS)), rng.integers(0, 2, (500, ELEMENTS))
            given = words(x, bits, signed).astype(np.uint64).astype(np.int64)
            outputs = run(counting, 500, **{f"words_{bits}": given}, count_y=bit_words(y), signed=signed)
            expected = (x * y).sum(axis=1)
            if bits == 1 and signed:
                expected = (x == 2 * y - 1).sum(axis=1)
            for name in wrong:
                found = signed_sums(outputs[f"{name}_{bits}"][1:501])
                wrong[name] += np.count_nonzero(found != expected)
    assert_found("count", wrong)


def signed_sums(sums):
    return np.where(sums >> SUM_BITS - 1, sums - (1 << SUM_BITS), sums)


def dot_products(rng, bits, signed, y_bits):
    """Dot products of different lengths: lists of x and y, (chunks, elements) each; extremes among them."""
    x_values, y_values = values_of(bits, signed), values_of(y_bits, True)
    for index in range(60):
        shape = (int(rng.integers(1, 4)), ELEMENTS)
        if index < 4:
            yield np.full(shape, x_values[-(index & 1)]), np.full(shape, y_values[-(index >> 1)])
        else:
            yield rng.choice(x_values, shape), rng.choice(y_values, shape)


def order(form, chunks, y_bits):
    """(chunk, bit of y) of every cycle: counting takes the sign first and all chunks for a bit."""
    if form == "count":
        return [(k, b) for b in reversed(range(y_bits)) for k in range(chunks)]
    return [(k, b) for k in range(chunks) for b in range(y_bits)]


def stimulus(form, products, bits, signed, y_bits):
    """Inputs of every cycle, and the cycles in which sums are taken."""
    inputs = {f"{form}_{name}": [] for name in ("restart", "shift", "negate", "take", "y", f"words_{bits}")}
    inputs["row_sum"] = []
    taken = []
    for x, y in products:
        codes = code(y, y_bits, True)
        steps = order(form, len(x), y_bits)
        inputs["row_sum"] += [0] * (len(steps) - 1) + [
            (x.size if bits == 1 and signed else int(x.sum())) & (1 << SUM_BITS) - 1
        ]
        for place, (k, b) in enumerate(steps):
            first = b == y_bits - 1 if form == "count" else b == 0
            inputs[f"{form}_restart"].append(place == 0 if form == "count" else k == 0)
            inputs[f"{form}_shift"].append(not first and (k == 0 or form == "pe"))
            inputs[f"{form}_negate"].append(y_bits > 1 and b == y_bits - 1)
            inputs[f"{form}_take"].append(place == len(steps) - 1)
            inputs[f"{form}_y"].append(int(bit_words(codes[k : k + 1] >> b & 1)[0]))
            inputs[f"{form}_words_{bits}"].append(words(x[k : k + 1], bits, signed)[0])
        taken.append(len(inputs["row_sum"]) - 1)
    # The sum of the row is read in the second cycle after that of the last word.
    stopped = {name: [0, 0, *values] if name == "row_sum" else [*values, 0, 0] for name, values in inputs.items()}
    return {name: np.array(values, np.uint64).astype(np.int64) for name, values in stopped.items()}, np.array(taken)


def test_both_forms_of_the_dot_product_unit_add_exactly(tmp_path):
    bench = bat_arithmetic.build("dpu", tmp_path)
    rng = np.random.default_rng(3)
    wrong = dict.fromkeys(variants("dpu"), 0)
    for bits in BITS:
        for signed in (False, True):
            for y_bits in {1, bits}:
                products = list(dot_products(rng, bits, signed, y_bits))
                expected = np.array([(x * y).sum() for x, y in products])
                for form in FORMS:
                    inputs, taken = stimulus(form, products, bits, signed, y_bits)
                    outputs = run(bench, taken[-1] + 3, **inputs, signed=signed, binary=y_bits == 1)
                    for name in wrong:
                        if f"{name}_{form}_{bits}" not in outputs:
                            continue
                        found = signed_sums(outputs[f"{name}_{form}_{bits}"][taken + DPU_LATENCY])
                        wrong[name] += np.count_nonzero(found != expected)
    assert_found("dpu", wrong)
