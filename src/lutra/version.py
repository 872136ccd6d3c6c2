"""The version of the package; imports nothing, so that everything may name it."""

__version__ = "0.1.0"
