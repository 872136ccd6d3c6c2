"""Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}.

It needs NumPy; on a PYNQ board:

    from pynq import Overlay
    import ${core.name}
    accelerator = ${core.name}.on_pynq(Overlay("design.bit"))
    outputs = accelerator.run(rows, block=0)  # rows: (N, ${core.input.width}) ${core.input.numpy_type} -> (N, ${core.output.width}) ${core.output.numpy_type}

Behind a serial line (`lutra bitstream`): ${core.name}.on_serial("/dev/ttyUSB0", baud). Elsewhere, `Accelerator` takes whatever
reads and writes registers and moves packets.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np

<%include file="device.py.mako"/>

BLOCKS = (
% for member in core.members:
    ${quoted(member.title)},
% endfor
)
"""What the frozen model calls each block."""
SCALES = (
% for member in core.members:
    (${repr(member.input_scale)}, ${repr(member.output_scale)}),
% endfor
)
"""Of each block's inputs and outputs: a value is its integer times its scale."""
INPUT_WIDTH, INPUT_TYPE = ${core.input.width}, np.dtype("<${core.input.dtype}")
INPUT_RANGE = (${core.input.type.minimum}, ${core.input.type.maximum})
OUTPUT_WIDTH, OUTPUT_TYPE = ${core.output.width}, np.dtype("<${core.output.dtype}")


class Accelerator(Device):
    """The core behind `registers` and `transfer`.

    `registers` has read(offset) and write(offset, value), as pynq.MMIO has. `transfer(rows, outputs)` sends the array
    `rows` as one packet, and fills the array `outputs` from the packet that comes back.

    Raises DriverError if something else, or another build, is there.
    """

    def __init__(self, registers, transfer, seconds=10.0):
        super().__init__(registers, seconds)
        self._transfer = transfer

    def run(self, rows, block=0):
        """The outputs of a block, (N, ${core.output.width}) ${core.output.numpy_type}, for integer rows (N, ${core.input.width}) within the range of ${core.input.numpy_type}."""
        given = np.asarray(rows)
        if given.ndim != 2 or given.shape[1] != INPUT_WIDTH or not np.issubdtype(given.dtype, np.integer):
            raise DriverError(f"{NAME}: rows must be integers of shape (N, {INPUT_WIDTH}), got {given.dtype} {given.shape}")
        if given.size and (given.min() < INPUT_RANGE[0] or given.max() > INPUT_RANGE[1]):
            raise DriverError(f"{NAME}: rows must lie in {INPUT_RANGE[0]} to {INPUT_RANGE[1]}")
        if not 0 <= block < len(BLOCKS):
            raise DriverError(f"{NAME}: block {block} is not there; there are {len(BLOCKS)}")
        outputs = np.empty((len(given), OUTPUT_WIDTH), OUTPUT_TYPE)
        at_once = max(1, LARGEST_TRANSFER // max(INPUT_WIDTH * INPUT_TYPE.itemsize, OUTPUT_WIDTH * OUTPUT_TYPE.itemsize))
        for first in range(0, len(given), at_once):
            part = np.ascontiguousarray(given[first : first + at_once], INPUT_TYPE)
            self._run_packet(part, outputs[first : first + at_once], block)
        return outputs

    def _run_packet(self, rows, outputs, block):
        self.write("block", block)
        self.write("control", MASKS["control.start"])
        self._raise_errors()
        self._transfer(rows, outputs)
        self._wait()
        passed = self.read("rows")
        if passed != len(rows):
            raise DriverError(f"{NAME}: {passed} of {len(rows)} rows passed; reset() starts afresh")

    def counters(self):
        """Rows, cycles and stalled cycles of the last packet."""
        return {name: self.read(name) for name in ("rows", "cycles", "input_stalls", "output_stalls")}

    def self_test(self, folder):
        """Run the golden vectors in `folder` and return how many rows were compared.

        Raises DriverError with the first element that differs, or for vectors of another build.
        """
        compared = 0
        for path in sorted(Path(folder).glob(f"{NAME}_block_*.bin")):
            block, rows, golden = read_vectors(path)
            outputs = self.run(rows, block)
            wrong = np.argwhere(outputs != golden)
            if len(wrong):
                row, element = (int(place) for place in wrong[0])
                raise DriverError(
                    f"{NAME}: block {block} ({BLOCKS[block]}), row {row}, element {element}: hardware "
                    f"{outputs[row, element]}, golden {golden[row, element]}; {len(wrong)} of {golden.size} differ"
                )
            compared += len(rows)
        if not compared:
            raise DriverError(f"{NAME}: no golden vectors in {folder}")
        return compared


<%include file="vectors.py.mako"/>

<%include file="pynq.py.mako"/>

class SerialLine:
    """Registers and packets over the serial line of a bitstream of Lutra.

    `port` has write(bytes) and read(count), as serial.Serial of pyserial has; a short read means that nothing came in time.
    """

    def __init__(self, port):
        self._port = port

    def _exactly(self, count):
        found = self._port.read(count)
        if len(found) != count:
            raise DriverError(f"{NAME}: the board does not answer ({len(found)} of {count} bytes came)")
        return found

    def read(self, offset):
        """A register."""
        self._port.write(b"R" + bytes([offset // 4]))
        return int.from_bytes(self._exactly(4), "little")

    def write(self, offset, value):
        """Write a register."""
        self._port.write(b"W" + bytes([offset // 4]) + int(value).to_bytes(4, "little"))
        answer = self._exactly(1)
        if answer != b"w":
            raise DriverError(f"{NAME}: the board answers {answer!r}; bytes of the last packet were lost")

    def transfer(self, rows, outputs):
        """Send rows as one packet, one at a time, because a serial line cannot be stalled.

        The core keeps a byte back until it knows whether it is the packet's last.
        """
        self._port.write(b"P" + rows.nbytes.to_bytes(4, "little"))
        answer = b""
        for number, row in enumerate(rows, 1):
            self._port.write(row.tobytes())
            kept_back = 1 if number < len(rows) else 0
            answer += self._exactly(number * outputs[0].nbytes - kept_back - len(answer))
        outputs[:] = np.frombuffer(answer, OUTPUT_TYPE).reshape(outputs.shape)


def on_serial(path, baud):
    """The accelerator of a bitstream, behind a serial port such as /dev/ttyUSB0; needs pyserial."""
    import serial

    port = serial.Serial(path, baud, timeout=2)
    port.send_break(0.05)
    port.reset_input_buffer()
    line = SerialLine(port)
    accelerator = Accelerator(line, line.transfer)
    accelerator.reset()  # of what another program may have left
    return accelerator
