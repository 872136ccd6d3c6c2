"""How many physical LUT6 a netlist of LUT1 to LUT6 needs when each may hold two small functions.

A Xilinx LUT6 has two outputs: it computes two functions that together read at most five nets. Vendor tools pack this
way after synthesis; open tools do not, so their raw count is too high. This is an estimate: it knows nothing of
placement, and of the carry chain's claim to one of the two outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

SHARED_INPUTS = 5
CANDIDATES_PER_NET = 48
"""Enough to find a good partner; nets of control signals reach thousands of LUTs."""


def packed_luts(inputs: Sequence[frozenset[int]]) -> int:
    """Number of physical LUT6 for functions that read the nets `inputs[i]` each.

    Greedy: functions of the same nets pair first; then each function, from the widest to the narrowest, takes the
    partner with which it shares most nets; what is left pairs without shared nets (4 + 1, 3 + 2, and so on).
    """
    single = [index for index, nets in enumerate(inputs) if len(nets) > SHARED_INPUTS]
    small = [index for index, nets in enumerate(inputs) if len(nets) <= SHARED_INPUTS]
    small.sort(key=lambda index: (-len(inputs[index]), sorted(inputs[index]), index))
    free = _pair_equal(small, inputs)
    free = _pair_sharing(free, inputs)
    pairs_and_rest = _count_unrelated([len(inputs[index]) for index in free])
    paired = (len(small) - len(free)) // 2
    return len(single) + paired + pairs_and_rest


def _pair_equal(order: list[int], inputs: Sequence[frozenset[int]]) -> list[int]:
    """Pair functions of equal nets; returns those that are left over, in the same order."""
    waiting: dict[frozenset[int], int] = {}
    for index in order:
        if waiting.pop(inputs[index], None) is None:
            waiting[inputs[index]] = index
    left = set(waiting.values())
    return [index for index in order if index in left]


def _pair_sharing(order: list[int], inputs: Sequence[frozenset[int]]) -> list[int]:
    """Pair functions that share nets and read at most five together; returns those that are left over."""
    readers: dict[int, list[int]] = defaultdict(list)
    for index in reversed(order):  # the widest last, so that the end of each list holds the best candidates
        for net in inputs[index]:
            readers[net].append(index)
    free = set(order)
    for index in order:
        if index not in free:
            continue
        free.remove(index)
        partner = _best_partner(inputs[index], inputs, readers, free)
        if partner is None:
            free.add(index)
        else:
            free.remove(partner)
    return [index for index in order if index in free]


def _best_partner(
    nets: frozenset[int], inputs: Sequence[frozenset[int]], readers: dict[int, list[int]], free: set[int]
) -> int | None:
    best, best_shared = None, 0
    for net in sorted(nets):
        candidates = readers[net]
        while candidates and candidates[-1] not in free:
            candidates.pop()
        for candidate in candidates[-CANDIDATES_PER_NET:]:
            shared = len(nets & inputs[candidate])
            fits = len(nets) + len(inputs[candidate]) - shared <= SHARED_INPUTS
            if candidate in free and fits and shared > best_shared:
                best, best_shared = candidate, shared
    return best


def _count_unrelated(sizes: list[int]) -> int:
    """Physical LUTs when the widest function takes the widest partner that still fits beside it."""
    count = [sizes.count(size) for size in range(SHARED_INPUTS + 1)]
    luts = 0
    for size in range(SHARED_INPUTS, -1, -1):
        while count[size]:
            count[size] -= 1
            luts += 1
            partner = next((other for other in range(SHARED_INPUTS - size, -1, -1) if count[other]), None)
            if partner is not None:
                count[partner] -= 1
    return luts
