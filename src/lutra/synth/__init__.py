"""Area, timing and power: what synthesis tools make of the generated RTL."""

from lutra.synth.step import synthesise_run

__all__ = ["synthesise_run"]
