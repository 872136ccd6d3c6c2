"""Every exception that Lutra raises on purpose; imports nothing.

The command line prints the message on one line and exits with `exit_status`: 2 for wrong input, 1 for work that
failed. A message says what is wrong, where (file, field or module), and what to do about it.
"""


class LutraError(Exception):
    """Base of all errors that a user can act on."""

    exit_status = 1


class InputError(LutraError):
    """What the user gave is wrong: an option, a path, text, values such as NaN activations."""

    exit_status = 2


class RecipeError(InputError):
    """A recipe that cannot be used: unknown key, wrong type, value out of range, contradiction."""


class RunDirectoryError(InputError):
    """A run directory that is missing something, or that belongs to another recipe."""


class CheckpointError(InputError):
    """A checkpoint that is missing, corrupted, or made for another architecture."""


class FrozenModelError(InputError):
    """A frozen model with a wrong version, hash, shape or value range."""


class ConversionError(InputError):
    """A module that surgery was asked to replace and that it cannot replace."""


class ToolError(LutraError):
    """An external tool is missing, too old, or failed."""


class MismatchError(LutraError):
    """Simulation and golden model, or measured and predicted cycles, differ."""


class TrainingError(LutraError):
    """Training cannot go on, for instance because the loss is not a number."""
