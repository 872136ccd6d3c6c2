"""`python -m lutra` that trains on a short text and on few images, so that a run takes seconds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import lutra.data.text
from lutra.data import images
from tiny_images import fewer_images
from tiny_training import short_text

lutra.data.text.load_dataset = short_text
images.SOURCES["cifar10"] = fewer_images("cifar10")

from lutra.cli.commands import main  # noqa: E402

main()
