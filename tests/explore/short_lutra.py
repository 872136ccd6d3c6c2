"""`python -m lutra` that trains on a short text, so that a run takes seconds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import lutra.data.text
from tiny_training import short_text

lutra.data.text.load_dataset = short_text

from lutra.cli.commands import main  # noqa: E402

main()
