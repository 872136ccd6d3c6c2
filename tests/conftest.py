"""What Triton and the Hugging Face hub look at when imported: kernels are interpreted on CPU tensors, no network."""

import os

os.environ["TRITON_INTERPRET"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

pytest_plugins = ["standard_cells"]
