<% c = core.config %>\
"""Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}.

It needs NumPy; on a PYNQ board:

    from pynq import Overlay
    import ${core.name}
    accelerator = ${core.name}.on_pynq(Overlay("design.bit"))
    accelerator.load("image/${core.name}.bin")
% if core.tokens:
    logits = accelerator.run(tokens)  # (T,) token numbers -> (T, ${core.logit_columns}) int16
    logits = accelerator.feed([next_token])  # the same sequence goes on
% else:
    logits = accelerator.run(image)  # (${core.patches.height}, ${core.patches.width}, ${core.image.program.input_width}) uint8 -> (${core.logit_columns},) int16
% endif

Elsewhere, `Accelerator` takes whatever reads and writes registers and moves packets.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np

<%include file="device.py.mako"/>

SCALE = ${repr(core.image.program.output_type.scale)}
"""Of logits: a value is its integer times this."""
% if core.tokens:
TOKENS = ${core.tokens}
"""Token numbers that the model knows, from 0 on."""
INPUT_WIDTH, INPUT_TYPE = 1, np.dtype("<u2")
% else:
HEIGHT, WIDTH, CHANNELS, PATCH = ${core.patches.height}, ${core.patches.width}, ${core.image.program.input_width}, ${core.patches.patch}
"""Of an image, in pixels; and the side of a patch."""
PATCH_WIDTH, PIXEL_TYPE, PATCHES = ${core.row_beats * c.lanes}, np.dtype("<u${core.pixel_bytes}"), ${core.input_rows}
"""Of a patch as the machine takes it, and how many there are."""
INPUT_WIDTH, INPUT_TYPE = HEIGHT * WIDTH * CHANNELS, np.dtype("<u1")
% endif
ROWS = ${core.rows}
"""Of the longest sequence."""
SIZE, COLUMNS = ${c.size}, ${core.logits.column_tiles * c.size}
"""Rows and columns of the machine's array, columns of its logits with their padding."""
OUTPUT_WIDTH, OUTPUT_TYPE = ${core.logit_columns}, np.dtype("<i2")
IMAGE_SUM = 0x${f"{image_sum:08x}"}
"""Of the words of the image, modulo 2^32."""
IMAGE_HEADER = struct.Struct("<8s16sI")
<%include file="vectors.py.mako"/>

class Accelerator(Device):
    """The machine behind `registers` and `transfer`; `load` comes first.

    `registers` has read(offset) and write(offset, value), as pynq.MMIO has. `transfer(array, outputs)` sends an array as
    one packet, and fills the array `outputs` from the packet that comes back, unless it is None.

    Raises DriverError if something else, or another build, is there.
    """

    def __init__(self, registers, transfer, seconds=10.0):
        super().__init__(registers, seconds)
        self._transfer = transfer
% if core.tokens:
        self.past = 0
        """Tokens of the sequence so far."""
% endif

    def load(self, path):
        """Fill the machine's memories from the image of this build.

        Raises DriverError for an image of another build, or one that did not arrive whole.
        """
        content = Path(path).read_bytes()
        if len(content) < IMAGE_HEADER.size or content[:8] != b"LUTRAIMG":
            raise DriverError(f"{path}: not an image of a machine")
        _, build, size = IMAGE_HEADER.unpack_from(content)
        if build.decode("ascii", "replace") != BUILD_HASH:
            raise DriverError(f"{path}: an image of build {build.decode('ascii', 'replace')}, this driver is of {BUILD_HASH}")
        words = np.frombuffer(content, "<u4", offset=IMAGE_HEADER.size)
        if words.nbytes != size:
            raise DriverError(f"{path}: {words.nbytes} bytes of {size}")
        self.write("control", MASKS["control.load"])
        self._raise_errors()
        self._transfer(words, None)
        self._wait()
        arrived = self.read("image_sum")
        if not self.read("status.loaded") or arrived != IMAGE_SUM:
            raise DriverError(f"{NAME}: the image did not arrive whole (sum 0x{arrived:08x}, not 0x{IMAGE_SUM:08x}); load it again")

% if core.tokens:
    def run(self, tokens):
        """The logits (T, ${core.logit_columns}) int16 after each of the tokens (T,) of a new sequence."""
        self.past = 0
        return self.feed(tokens)

    def feed(self, tokens):
        """The same for the next tokens of the sequence that was begun."""
        given = np.asarray(tokens)
        if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.integer):
            raise DriverError(f"{NAME}: tokens must be integers of shape (T,), got {given.dtype} {given.shape}")
        if given.min() < 0 or given.max() >= TOKENS:
            raise DriverError(f"{NAME}: the model knows tokens 0 to {TOKENS - 1}")
        if self.past + len(given) > ROWS:
            raise DriverError(f"{NAME}: {self.past + len(given)} tokens are more than a sequence has, {ROWS}")
        self.write("call", len(given) | self.past << 16)
        logits = self._call(given.astype(INPUT_TYPE), len(given), ${f"{core.logits.rows}" if core.logits.rows else "len(given)"})
        self.past += len(given)
        return logits
% else:
    def run(self, image):
        """The logits (${core.logit_columns},) int16 of an image (${core.patches.height}, ${core.patches.width}, ${core.image.program.input_width}) uint8."""
        given = np.asarray(image)
        if given.shape != (HEIGHT, WIDTH, CHANNELS) or given.dtype != np.uint8:
            raise DriverError(f"{NAME}: an image must be uint8 of shape ({HEIGHT}, {WIDTH}, {CHANNELS}), got {given.dtype} {given.shape}")
        lines, columns = HEIGHT // PATCH, WIDTH // PATCH
        parts = given.reshape(lines, PATCH, columns, PATCH, CHANNELS).transpose(0, 2, 4, 1, 3)
        rows = np.zeros((PATCHES, PATCH_WIDTH), PIXEL_TYPE)
        rows[:, : CHANNELS * PATCH * PATCH] = parts.reshape(PATCHES, -1)
        return self._call(rows.reshape(-1), PATCHES, ${core.logits.rows or core.rows})[0]
% endif

    def _call(self, data, rows, logit_rows):
        """Logits (logit_rows, ${core.logit_columns}) of a packet."""
        outputs = np.empty(logit_rows * COLUMNS, OUTPUT_TYPE)
        self.write("control", MASKS["control.start"])
        self._raise_errors()
        self._transfer(data, outputs)
        self._wait()
        taken = self.read("rows")
        if taken != rows:
            raise DriverError(f"{NAME}: {taken} of {rows} rows were taken; reset() starts afresh")
        # Row tile by row tile, in it SIZE columns after SIZE columns, in them row by row.
        tiles = [
            outputs[first * COLUMNS : min(first + SIZE, logit_rows) * COLUMNS]
            .reshape(COLUMNS // SIZE, -1, SIZE)
            .transpose(1, 0, 2)
            .reshape(-1, COLUMNS)
            for first in range(0, logit_rows, SIZE)
        ]
        return np.concatenate(tiles)[:, :OUTPUT_WIDTH]

    def counters(self):
        """Rows, cycles and stalled cycles of the last call."""
        return {name: self.read(name) for name in ("rows", "cycles", "input_stalls", "output_stalls")}

    def self_test(self, folder):
        """Run the golden vectors in `folder` and return how many rows of logits were compared.

        Raises DriverError with the first logit that differs, or for vectors of another build.
        """
        compared = 0
        for path in sorted(Path(folder).glob(f"{NAME}_*.bin")):
            number, rows, golden = read_vectors(path)
% if core.tokens:
            half = len(rows) // 2
            pieces = [rows[:half], *(rows[place : place + 1] for place in range(half, len(rows)))]
            self.past = 0
            one_by_one = [self.feed(piece[:, 0]) for piece in pieces if len(piece)]
            for said, found in (("at once", self.run(rows[:, 0])), ("in pieces", np.concatenate(one_by_one))):
                self._compare(f"text {number} {said}", found, golden)
                compared += len(golden)
% else:
            found = [self.run(pixels.reshape(HEIGHT, WIDTH, CHANNELS)) for pixels in rows]
            self._compare(f"images {number}", np.stack(found), golden)
            compared += len(golden)
% endif
        if not compared:
            raise DriverError(f"{NAME}: no golden vectors in {folder}")
        return compared

    def _compare(self, what, found, golden):
        wrong = np.argwhere(found != golden)
        if len(wrong):
            row, column = (int(place) for place in wrong[0])
            raise DriverError(
                f"{NAME}: {what}, row {row}, logit {column}: hardware {found[row, column]}, golden {golden[row, column]}; "
                f"{len(wrong)} of {golden.size} differ"
            )


<%include file="pynq.py.mako"/>\
