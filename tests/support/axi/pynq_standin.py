"""As much of PYNQ as a driver of ours uses: Overlay, MMIO, allocate, and a DMA engine; behind it is a simulation."""

from __future__ import annotations

import types

import numpy as np
from cocotb.task import resume
from cocotbext.axi import AxiStreamFrame

PLACE, SIZE = 0x4000_0000, 0x1000


class Buffer(np.ndarray):
    """Memory that a DMA engine reaches."""

    def freebuffer(self):
        """Give it back."""


def allocate(shape, dtype):
    """Memory of a shape, as PYNQ gives it."""
    return np.zeros(shape, dtype).view(Buffer)


def engine(source, sink):
    """A DMA engine between memory and two streams."""
    return types.SimpleNamespace(sendchannel=SendChannel(source), recvchannel=ReceiveChannel(sink))


class SendChannel:
    """MM2S of an AXI DMA engine."""

    def __init__(self, source):
        self._source = source

    def transfer(self, array):
        """Begin to send an array as one packet."""
        assert isinstance(array, Buffer) and array.flags["C_CONTIGUOUS"]
        resume(self._source.send)(AxiStreamFrame(array.tobytes()))

    def wait(self):
        """Until it is sent."""
        resume(self._source.wait)()


class ReceiveChannel:
    """S2MM of an AXI DMA engine."""

    def __init__(self, sink):
        self._sink, self._array = sink, None

    def transfer(self, array):
        """Say where the next packet goes."""
        assert isinstance(array, Buffer) and self._array is None
        self._array = array

    def wait(self):
        """Until it is there."""
        received = bytes(resume(self._sink.recv)().tdata)
        assert len(received) <= self._array.nbytes, "the engine would stop with an error"
        self._array.view(np.uint8).reshape(-1)[: len(received)] = np.frombuffer(received, np.uint8)
        self._array = None


def pynq_module(registers, ip, memory=allocate, **engines):
    """A module with the names of PYNQ, whose overlay holds the core `ip` and `engines` by name; `memory` allocates."""

    class MMIO:
        def __init__(self, base, length):
            assert (base, length) == (PLACE, SIZE)

        def read(self, offset):
            return resume(registers.read_dword)(offset)

        def write(self, offset, value):
            resume(registers.write_dword)(offset, value)

    class Overlay:
        def __init__(self, bitfile):
            assert bitfile.endswith(".bit")
            self.ip_dict = {ip: {"phys_addr": PLACE, "addr_range": SIZE}}
            vars(self).update(engines)

    module = types.ModuleType("pynq")
    module.MMIO, module.Overlay, module.allocate = MMIO, Overlay, memory
    return module


def what_is_said(attempts):
    """The message of the one-line error that each attempt ends with, by name; None where it does not fail."""
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = None
        except RuntimeError as error:
            assert type(error).__name__ == "DriverError"
            found[name] = str(error)
    return found
