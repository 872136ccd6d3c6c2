"""Before anything imports Triton: it decides at its import whether kernels are interpreted, on CPU tensors."""

import os

os.environ["TRITON_INTERPRET"] = "1"

pytest_plugins = ["standard_cells"]
