NAME = "${core.name}"
BUILD_HASH = "${build_hash}"
IDENTITY = 0x${f"{identity:08x}"}
MAP_VERSION = 0x${f"{map.version:x}"}
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
LARGEST_TRANSFER = (1 << 26) - 1
"""Bytes that the DMA engine of block_design.tcl moves at once."""


class DriverError(RuntimeError):
    """The hardware is not what this driver is for, or reports an error; one line."""


class Device:
    """The core's `registers`, which have read(offset) and write(offset, value), as pynq.MMIO has.

    Raises DriverError if something else, or another build, is there.
    """

    def __init__(self, registers, seconds=10.0):
        self._registers, self._seconds = registers, seconds
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

    def _wait(self):
        """Until status.done."""
        deadline = time.monotonic() + self._seconds
        while not self.read("status.done"):
            if time.monotonic() > deadline:
                raise DriverError(f"{NAME}: not done after {self._seconds} seconds; reset() starts afresh")
        self._raise_errors()

    def _raise_errors(self):
        errors = self.read("errors")
        if errors:
            self.write("errors", errors)
            said = " ".join(what for name, what in ERRORS.items() if errors & MASKS[f"errors.{name}"])
            raise DriverError(f"{NAME}: {said}")
