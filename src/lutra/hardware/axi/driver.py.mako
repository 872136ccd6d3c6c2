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

NAME = "${core.name}"
BUILD_HASH = "${build_hash}"
IDENTITY = 0x${f"{identity:08x}"}
MAP_VERSION = ${map_version}
REGISTERS = {
% for offset, register in map:
    "${register.name}": 0x${f"{offset:02x}"},
% endfor
}
"""Byte offsets."""
MASKS = {
% for offset, register in map:
%     for field in register.fields:
%         if field.name != "value":
    "${register.name}.${field.name}": 0x${f"{field.mask:x}"},
%         endif
%     endfor
% endfor
}
"""Bits of the fields."""
ERRORS = {
% for field in next(register for _, register in map if register.name == "errors").fields:
    "${field.name}": ${quoted(field.what)},
% endfor
}
"""What the bits of `errors` mean."""
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
LARGEST_TRANSFER = (1 << 26) - 1
"""Bytes that the DMA engine of block_design.tcl moves at once."""
VECTORS_HEADER = struct.Struct("<8s16sIIII")


class DriverError(RuntimeError):
    """The hardware is not what this driver is for, or reports an error; one line."""


class Accelerator:
    """The core behind `registers` and `transfer`.

    `registers` has read(offset) and write(offset, value), as pynq.MMIO has. `transfer(rows, outputs)` sends the array
    `rows` as one packet, and fills the array `outputs` from the packet that comes back.

    Raises DriverError if something else, or another build, is there.
    """

    def __init__(self, registers, transfer, seconds=10.0):
        self._registers, self._transfer, self._seconds = registers, transfer, seconds
        self.check()

    def read(self, name):
        """The value of a register, or of a field such as "status.done"."""
        value = int(self._registers.read(REGISTERS[name.partition(".")[0]]))
        mask = MASKS.get(name, 0xFFFFFFFF)
        return (value & mask) // (mask & -mask)

    def write(self, name, value):
        """Write a register."""
        self._registers.write(REGISTERS[name], int(value))

    def check(self):
        """Make sure that this driver was made with the hardware that is there."""
        identity = self.read("identity")
        if identity != IDENTITY:
            raise DriverError(f"{NAME}: no accelerator of Lutra at this address (identity 0x{identity:08x})")
        version = self.read("map_version")
        if version != MAP_VERSION:
            raise DriverError(f"{NAME}: the hardware's register map is version {version}, this driver's {MAP_VERSION}")
        build = f"{self.read('build_hash_high'):08x}{self.read('build_hash_low'):08x}"
        if build != BUILD_HASH:
            raise DriverError(
                f"{NAME}: the hardware is of build {build}, this driver of {BUILD_HASH}; take the driver that came with it"
            )

    def reset(self):
        """Forget everything inside the core, and its errors. A transfer that is under way must be given up, too."""
        self.write("control", MASKS["control.reset"])
        self.write("errors", 0xFFFFFFFF)

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
        deadline = time.monotonic() + self._seconds
        while not self.read("status.done"):
            if time.monotonic() > deadline:
                raise DriverError(f"{NAME}: not done after {self._seconds} seconds; reset() starts afresh")
        self._raise_errors()
        passed = self.read("rows")
        if passed != len(rows):
            raise DriverError(f"{NAME}: {passed} of {len(rows)} rows passed; reset() starts afresh")

    def _raise_errors(self):
        errors = self.read("errors")
        if errors:
            self.write("errors", errors)
            said = " ".join(what for name, what in ERRORS.items() if errors & MASKS[f"errors.{name}"])
            raise DriverError(f"{NAME}: {said}")

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


def read_vectors(path):
    """Block, rows and golden outputs of a file of vectors."""
    content = Path(path).read_bytes()
    if len(content) < VECTORS_HEADER.size:
        raise DriverError(f"{path}: not a file of vectors")
    magic, build, block, count, row_bytes, output_bytes = VECTORS_HEADER.unpack_from(content)
    if magic != b"LUTRAVEC":
        raise DriverError(f"{path}: not a file of vectors")
    if build.decode("ascii", "replace") != BUILD_HASH:
        raise DriverError(f"{path}: vectors of build {build.decode('ascii', 'replace')}, this driver is of {BUILD_HASH}")
    middle = VECTORS_HEADER.size + count * row_bytes
    if len(content) != middle + count * output_bytes:
        raise DriverError(f"{path}: {len(content)} bytes are not {count} rows and their outputs")
    rows = np.frombuffer(content[VECTORS_HEADER.size : middle], INPUT_TYPE).reshape(count, INPUT_WIDTH)
    return block, rows, np.frombuffer(content[middle:], OUTPUT_TYPE).reshape(count, OUTPUT_WIDTH)


def on_pynq(overlay, ip=f"{NAME}_0", dma="axi_dma_0"):
    """The accelerator in a loaded overlay of PYNQ, behind its DMA engine; the names are those of the block design."""
    from pynq import MMIO, allocate

    if ip not in overlay.ip_dict:
        raise DriverError(f"{NAME}: no {ip} in this overlay; it has {', '.join(sorted(overlay.ip_dict))}")
    place = overlay.ip_dict[ip]
    engine = getattr(overlay, dma)

    def transfer(rows, outputs):
        sent, received = allocate(rows.shape, rows.dtype), allocate(outputs.shape, outputs.dtype)
        try:
            sent[:] = rows
            engine.recvchannel.transfer(received)
            engine.sendchannel.transfer(sent)
            engine.sendchannel.wait()
            engine.recvchannel.wait()
            outputs[:] = received
        finally:
            sent.freebuffer()
            received.freebuffer()

    return Accelerator(MMIO(place["phys_addr"], place["addr_range"]), transfer)


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
