"""What Triton and the Hugging Face hub look at when imported: kernels are interpreted on CPU tensors, no network."""

import os
import re

import pytest

os.environ["TRITON_INTERPRET"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

pytest_plugins = ["standard_cells"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `make lint` runs, so that `make test` does not run it again."""
    for item in items:
        if re.match(r"tests/(hardware|accelerators)/.*::.*(lint|warning)", item.nodeid):
            item.add_marker(pytest.mark.lint)
