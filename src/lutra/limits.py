"""How large anything may be that a file describes: checked before memory is taken; imports nothing.

docs/limits.md lists these numbers with their reasons, and a test compares the two.
"""

from __future__ import annotations

JSON_BYTES = 256 << 20
"""Of one JSON file; the largest that we write are records of a few MB."""
JSON_DEPTH = 64
"""Objects and lists inside each other."""
JSON_DIGITS = 100
"""Of one number in JSON or TOML."""
TOML_BYTES = 1 << 20
LOG_BYTES = 256 << 20
TENSOR_BYTES = 16 << 30
"""Of one safetensors file."""
TABLE_BYTES = 4 << 30
"""Of one TSV file, unpacked."""

TYPE_BITS = 32
"""Of a value in a frozen graph: products with 31-bit multipliers then stay below 2^63."""
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-126, 2.0**126
"""Of a value in a frozen graph: it and its inverse are normal numbers in float32."""
WIDTH = 1 << 20
"""Elements of a row: of a value in a frozen graph, of the features of a model."""
THRESHOLDS = 255
"""Per feature of a thermometer."""
LUT_INPUTS = 8
GRAPHS = 4096
OPERATIONS = 4096
"""Of one graph."""
ELEMENTS = 1 << 30
"""Of one tensor in memory."""

LAYERS = 1024
HEADS = 1024
VOCABULARY = 1 << 22
IMAGE = 1 << 12
"""Pixels of an image's side."""
POSITIONS = 1 << 20
PARAMETERS = 1 << 34
"""Of a model that is built from a configuration."""
ITERATIONS = 1 << 40
EPOCHS = 1e6
ROWS = 1 << 24
"""Captured rows that a simulation compares."""
FOLD_FACTOR = 1 << 20
SEED = (1 << 63) - 1
THREADS = 4096
LARGEST_COUNT = (1 << 63) - 1
"""Of rows, cycles, bytes and whatever else results count."""
LARGEST_REAL = 2.0**100
"""Of a loss, a score, an energy in a result: its square is still a number."""
