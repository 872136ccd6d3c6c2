"""How many threads a runtime works with."""

from __future__ import annotations

from numbers import Integral

from lutra.errors import InputError
from lutra.limits import THREADS
from lutra.names import shown


def checked_threads(threads: int) -> int:
    """A number of threads.

    Raises:
        InputError: not a whole number from 1 to the limit.
    """
    if not isinstance(threads, Integral) or isinstance(threads, bool) or not 1 <= threads <= THREADS:
        raise InputError(f"threads must be a whole number from 1 to {THREADS}, got {shown(str(threads))}")
    return int(threads)
