"""Runtimes in copies, pickles and children of fork: they compute what the original computes."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from frozen_blocks import random_rows
from frozen_transformers import random_gpt
from lutra.errors import InputError
from lutra.frozen.random_block import random_block
from lutra.runtime.binary_linear import BinaryLinear
from lutra.runtime.engine import BlockRuntime
from lutra.runtime.library import library
from lutra.runtime.whole.engine import WholeRuntime

pytestmark = pytest.mark.skipif(
    library() is None, reason="no C++ compiler here: the runtime is the golden model itself"
)
COPIES = [copy.copy, copy.deepcopy, lambda runtime: pickle.loads(pickle.dumps(runtime))]


@pytest.mark.parametrize("copied", COPIES, ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_block_stands_alone(copied):
    rng = np.random.default_rng(1)
    runtime = BlockRuntime(random_block(rng), threads=2)
    x = random_rows(rng, runtime.graph, 65).astype(np.int8)
    expected = runtime(x)
    other = copied(runtime)
    del runtime
    assert other.threads == 2
    np.testing.assert_array_equal(other(x), expected)


@pytest.mark.parametrize("copied", COPIES, ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_binary_layer_stands_alone(copied):
    rng = np.random.default_rng(2)
    layer = BinaryLinear(rng.choice([-1, 1], (70, 66)), 3, True, 0.3, 0.1, rng.normal(size=66), rng.normal(size=66))
    x = rng.normal(size=(5, 70)).astype(np.float32)
    expected = layer(x)
    other = copied(layer)
    del layer
    np.testing.assert_array_equal(other(x), expected)


def test_a_copied_session_goes_on_by_itself():
    program = random_gpt(np.random.default_rng(3), context=20)
    rows = np.array([[[1], [2], [3], [4]]])
    session = WholeRuntime(program).session()
    session(rows[:, :2])
    other = copy.deepcopy(session)
    expected = session(rows[:, 2:])
    np.testing.assert_array_equal(other(rows[:, 2:]), expected)


@pytest.mark.parametrize("threads", ["2", 1.5, 0, True, None, 1 << 40])
def test_a_number_of_threads_that_is_none_is_one_line(threads):
    with pytest.raises(InputError, match="threads must be a whole number from 1 to"):
        BlockRuntime(random_block(np.random.default_rng(0)), threads)


FORKED = """
import os, sys, numpy as np, torch
from lutra.frozen import golden
from lutra.frozen.random_block import random_block
torch.set_num_threads(2)
torch.rand(400, 400) @ torch.rand(400, 400)  # PyTorch's threads start
torch.rand(4_000_000).exp_()
graph = random_block(np.random.default_rng(0), width=16)
x = np.zeros((4096, 16), np.int8)
from lutra.runtime.engine import BlockRuntime
if sys.argv[1] == "before":
    BlockRuntime(graph, threads=2)(x)
child = os.fork()
if child == 0:
    equal = (BlockRuntime(graph, threads=2)(x) == golden.run(graph, x)).all()
    os._exit(0 if equal else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("loaded", ["before", "after"])
def test_threads_in_a_child_of_fork(loaded):
    """OpenMP's threads are not there in the child: waiting for them would never end."""
    pytest.importorskip("torch", reason="the parent's threads are PyTorch's")
    done = subprocess.run([sys.executable, "-c", FORKED, loaded], timeout=100, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


LOADED_IN_A_CHILD = """
import os, sys
from lutra.native import library
child = os.fork()
if child == 0:
    from lutra.kernels.cpu.library import LIBRARIES as training
    from lutra.runtime.library import LIBRARIES as inference
    for libraries in (training, inference):
        for name, (sources, flags) in libraries.items():
            library.load_library(name, sources, flags)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_every_library_can_be_loaded_first_in_a_child_of_fork():
    done = subprocess.run([sys.executable, "-c", LOADED_IN_A_CHILD], timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
