<% image, sentences = core.image, core.image.sentences %>\
"""Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}.

It needs NumPy; on a PYNQ board:

    from pynq import Overlay
    import ${core.name}
    accelerator = ${core.name}.on_pynq(Overlay("design.bit"))
    accelerator.load("image")
    outputs = accelerator.run([rows])  # embedded sentences (tokens, ${image.model.width}) float16 -> the same of the last layer

Embedding, pooler and classifier are the host's. Elsewhere, `Accelerator` takes whatever reads and writes registers, and a
piece of the memory that the machine reaches.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np

<%include file="device.py.mako"/>

SENTENCES, POSITIONS, LAYERS, WIDTH = ${sentences}, ${core.positions}, ${image.model.layers}, ${image.model.width}
"""At the same time; tokens of the longest one; of the model."""
MEMORY_BYTES = ${image.bytes_of_memory}
"""That the machine needs, from its base on."""
PROGRAMS = ${tuple(image.program_addresses)}
"""Addresses of the modules' programs, from the base on."""
ROWS = ${tuple(image.row_addresses(s)[0] for s in range(sentences))}
"""Of each sentence's rows."""
ROW_BYTES = ${row_bytes}
INSTRUCTIONS = ${tuple(programs)}
"""Sentences, lengths from 1, steps, bytes."""
LAST_BYTE, LAST_BIT = ${last_flag[0]}, ${last_flag[1]}
"""Of an instruction: marks the last one of a program."""
IMAGE_HEADER = struct.Struct("<8s16sI")
INPUT_WIDTH, INPUT_TYPE = WIDTH, np.dtype("<f2")
OUTPUT_WIDTH, OUTPUT_TYPE = WIDTH, np.dtype("<f2")
<%include file="vectors.py.mako"/>

class Accelerator(Device):
    """The machine behind `registers`, beside `memory`; `load` comes first.

    `registers` has read(offset) and write(offset, value), as pynq.MMIO has. `memory` is an array of MEMORY_BYTES uint8 which
    the machine sees at `address`, a multiple of 4096; if it has flush() and invalidate(), as pynq's buffers have, they are
    called around a run.

    Raises DriverError if something else, or another build, is there.
    """

    def __init__(self, registers, memory, address, seconds=10.0):
        super().__init__(registers, seconds)
        if memory.dtype != np.uint8 or memory.shape != (MEMORY_BYTES,):
            raise DriverError(f"{NAME}: memory must be {MEMORY_BYTES} bytes, got {memory.dtype} {memory.shape}")
        if address % 4096 or not 0 <= address <= 2**32 - MEMORY_BYTES:
            raise DriverError(f"{NAME}: memory must lie at a multiple of 4096 below 4 GiB, got 0x{address:x}")
        self._memory, self._address, self._instructions = memory, address, None

    def load(self, folder):
        """Put the weights of this build into memory, and read its programs.

        Raises DriverError for files of another build.
        """
        weights = _image(Path(folder) / f"{NAME}_weights.bin")
        self._memory[: len(weights)] = weights
        self._instructions = _image(Path(folder) / f"{NAME}_programs.bin").reshape(INSTRUCTIONS)

    def run(self, sentences):
        """Rows of the last layer, (tokens, WIDTH) float16 each, of up to SENTENCES embedded sentences (tokens, WIDTH).

        Raises DriverError where a number left the range of binary16, or the machine did not come to an end.
        """
        if self._instructions is None:
            raise DriverError(f"{NAME}: its memory is empty; load(folder) comes first")
        if not 1 <= len(sentences) <= SENTENCES:
            raise DriverError(f"{NAME}: 1 to {SENTENCES} sentences run at the same time, got {len(sentences)}")
        given = [np.asarray(rows) for rows in sentences]
        for rows in given:
            if rows.ndim != 2 or rows.shape[1] != WIDTH or rows.dtype != np.float16 or not 1 <= len(rows) <= POSITIONS:
                raise DriverError(
                    f"{NAME}: a sentence must be float16 of shape (1 to {POSITIONS}, {WIDTH}), got {rows.dtype} {rows.shape}"
                )
        for start, program in zip(PROGRAMS, self._programs([len(rows) for rows in given])):
            self._memory[start : start + program.size] = program.reshape(-1)
        for start, rows in zip(ROWS, given):
            padded = np.zeros((len(rows), ROW_BYTES // 2), INPUT_TYPE)
            padded[:, :WIDTH] = rows
            self._memory[start : start + padded.nbytes] = padded.view(np.uint8).reshape(-1)
        getattr(self._memory, "flush", _nothing)()
        self.write("memory", self._address)
        for number, start in enumerate(PROGRAMS):
            self.write(f"program_{number}", start)
        self.write("control", MASKS["control.start"])
        self._raise_errors()
        self._wait()
        getattr(self._memory, "invalidate", _nothing)()
        outputs = []
        for start, rows in zip(ROWS, given):
            content = bytes(self._memory[start : start + len(rows) * ROW_BYTES])
            outputs.append(np.frombuffer(content, OUTPUT_TYPE).reshape(len(rows), -1)[:, :WIDTH])
        return outputs

    def _programs(self, lengths):
        """The modules' programs, (steps, bytes) each: the sentences take turns, layer by layer."""
        every = [self._instructions[place, tokens - 1] for place, tokens in enumerate(lengths)]
        first = [steps[0] for steps in every]
        layers = [steps[1:].reshape(LAYERS, -1, steps.shape[1]) for steps in every]
% if len(core.config.modules) == 1:
        programs = [[*first, *(step for layer in range(LAYERS) for each in layers for step in each[layer])]]
% else:
        attention = [step for layer in range(LAYERS) for each in layers for step in each[layer][:${attention_steps}]]
        feed_forward = [step for layer in range(LAYERS) for each in layers for step in each[layer][${attention_steps}:]]
        programs = [[*first, *attention], feed_forward]
% endif
        stacked = [np.array(program) for program in programs]
        for program in stacked:
            program[-1, LAST_BYTE] |= 1 << LAST_BIT
        return stacked

    def counters(self):
        """Rows and cycles of the last run."""
        return {name: self.read(name) for name in ("rows", "cycles")}

    def self_test(self, folder):
        """Run the golden vectors in `folder`, as many sentences at a time as there is room for, and return how many rows
        were compared.

        Raises DriverError with the first number that differs, or for vectors of another build.
        """
        vectors = [read_vectors(path) for path in sorted(Path(folder).glob(f"{NAME}_*.bin"))]
        if not vectors:
            raise DriverError(f"{NAME}: no golden vectors in {folder}")
        for first in range(0, len(vectors), SENTENCES):
            group = vectors[first : first + SENTENCES]
            for (number, _, golden), found in zip(group, self.run([rows for _, rows, _ in group])):
                wrong = np.argwhere(found.view(np.uint16) != golden.view(np.uint16))
                if len(wrong):
                    row, column = (int(place) for place in wrong[0])
                    raise DriverError(
                        f"{NAME}: sentence {number}, row {row}, number {column}: hardware {found[row, column]}, golden "
                        f"{golden[row, column]}; {len(wrong)} of {golden.size} differ"
                    )
        return sum(len(golden) for _, _, golden in vectors)


def _nothing():
    pass


def _image(path):
    """The bytes of a file of this build."""
    content = path.read_bytes()
    if len(content) < IMAGE_HEADER.size or content[:8] != b"LUTRAIMG":
        raise DriverError(f"{path}: not an image of a machine")
    _, build, size = IMAGE_HEADER.unpack_from(content)
    if build.decode("ascii", "replace") != BUILD_HASH:
        raise DriverError(f"{path}: an image of build {build.decode('ascii', 'replace')}, this driver is of {BUILD_HASH}")
    if len(content) - IMAGE_HEADER.size != size:
        raise DriverError(f"{path}: {len(content) - IMAGE_HEADER.size} bytes of {size}")
    return np.frombuffer(content, np.uint8, offset=IMAGE_HEADER.size)


def on_pynq(overlay, ip=f"{NAME}_0", seconds=10.0):
    """The accelerator in a loaded overlay of PYNQ, with memory of its own; the name is that of the block design.

    A run may take so many seconds.
    """
    from pynq import MMIO, allocate

    if ip not in overlay.ip_dict:
        raise DriverError(f"{NAME}: no {ip} in this overlay; it has {', '.join(sorted(overlay.ip_dict))}")
    place = overlay.ip_dict[ip]
    memory = allocate((MEMORY_BYTES,), np.dtype("u1"))
    return Accelerator(MMIO(place["phys_addr"], place["addr_range"]), memory, memory.device_address, seconds)
