"""Values and gradients of the weightless block against loops over every entry, row and input, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_engines import CPU_ENGINES, compose, gradients, leaves, random_block, run, select_engine
from lutra.kernels import BlockParameters, LayerParameters, column_argmax

GRADIENT_BOUND = 1e-6  # norm of the error / norm of the gradient
# The softmax of the reference divides scores by the temperature before subtracting their maximum, in float32.
REFERENCE_SHARE_BOUND = 2e-5


# Interpreted kernels are slow; tests/kernels/test_triton.py has the quick ones.
@pytest.fixture(params=[*CPU_ENGINES, pytest.param("triton", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    select_engine(request.param, monkeypatch)
    torch.set_num_threads(1)
    return request.param


def slope(table: np.ndarray, n: int, i: int, address: int, efd: str) -> float:
    """Extended finite difference, entry by entry (DWN; both forms sum to 0.5 over a half cube)."""
    total = 0.0
    for k in range(2**n):
        distance = ((k ^ address) & ~(1 << i)).bit_count()
        exponential = 0.5 * 0.75 ** (n - 1) * (1 / 3) ** distance
        weight = exponential if efd == "exponential" else 1 / (distance + 1) * 0.5 * n / (2**n - 1)
        total += (1 if k >> i & 1 else -1) * weight * table[k]
    return total


def layer_by_loops(layer: LayerParameters, efd: str, bits: np.ndarray, grad: np.ndarray):
    """Gradients of the bits read, the tables and the scores (None without) of one layer."""
    tables, connections = layer.tables.detach().double().numpy(), layer.connections.numpy()
    (luts, n), rows = connections.shape, bits.shape[1]
    grad_tables, grad_bits, slots = np.zeros_like(tables), np.zeros(bits.shape), np.zeros((luts * n, rows))
    for j in range(luts):
        slopes = [[slope(tables[j], n, i, a, efd) for a in range(2**n)] for i in range(n)]
        for row in range(rows):
            address = sum(int(bits[connections[j, i], row]) << i for i in range(n))
            grad_tables[j, address] += grad[j, row]
            for i in range(n):
                slots[j * n + i, row] = grad[j, row] * slopes[i][address]
    if layer.scores is None:
        for slot, plane in enumerate(connections.reshape(-1)):
            grad_bits[plane] += slots[slot]
        return grad_bits, grad_tables, None
    scores = layer.scores.detach().double().numpy()
    share = np.exp((scores - scores.max(axis=0)) / layer.temperature)
    share /= share.sum(axis=0)
    grad_scores = np.zeros_like(scores)
    for c in range(len(scores)):
        for slot in range(luts * n):
            plane = c if layer.candidates is None else int(layer.candidates[c, slot])
            grad_bits[plane] += (share[c, slot] if share[c, slot] > 1e-7 else 0) * slots[slot]
            grad_scores[c, slot] = ((2 * bits[plane] - 1) * slots[slot]).sum()
    return grad_bits, grad_tables, grad_scores


def block_by_loops(x: torch.Tensor, block: BlockParameters, grad_y: torch.Tensor):
    """Output and gradients, float64."""
    thresholds = block.thresholds.detach().expand(x.shape[1], -1)
    difference = (x.detach()[:, :, None] - thresholds).numpy()  # (N, D, T) in float32, as the inputs are
    T = thresholds.shape[1]
    bits = [(difference >= 0).reshape(len(x), -1).T]
    for layer in block.layers:
        positive, connections = layer.tables.detach().numpy() > 0, layer.connections.numpy()
        addresses = sum(bits[-1][connections[:, i]].astype(int) << i for i in range(connections.shape[1]))
        bits.append(np.take_along_axis(positive, addresses, axis=1))
    g = grad_y.double().numpy()
    encoded = block.encoded.detach().double().numpy()
    read = np.concatenate([bits[source] for source in block.sum_sources]) - (0.5 if block.centred else 0.0)
    expected = {"encoded": read @ g, "bias": g.sum(axis=0)}
    grads = [np.zeros(b.shape) for b in bits]
    row = 0
    for source in block.sum_sources:
        grads[source] += encoded[row : row + len(bits[source])] @ g.T
        row += len(bits[source])
    for k in reversed(range(len(block.layers))):
        grad_bits, expected[f"tables{k}"], grad_scores = layer_by_loops(
            block.layers[k], block.efd, bits[k], grads[k + 1]
        )
        grads[k] += grad_bits
        if grad_scores is not None:
            expected[f"scores{k}"] = grad_scores
    grad = grads[0].reshape(x.shape[1], T, len(x))
    window = float(block.window)
    inside = (np.abs(difference) < window).transpose(1, 2, 0) / (2 * window)
    grad = grad * {"identity": 1, "mean": 1 / T, "window": inside}[block.gradient]
    expected["x"] = grad.sum(axis=1).T
    expected["thresholds"] = -grad.sum(axis=2)
    if len(block.thresholds) == 1:
        expected["thresholds"] = expected["thresholds"].sum(axis=0, keepdims=True)
    return read.T @ encoded + block.bias.detach().double().numpy(), expected


def assert_matches_loops(engine: str, x: torch.Tensor, block: BlockParameters) -> None:
    grad_y = torch.randn(len(x), len(block.bias), generator=torch.Generator().manual_seed(1))
    y, expected = block_by_loops(x, block, grad_y)
    assert np.abs(run(engine, x, block).detach().numpy() - y).max() <= GRADIENT_BOUND * max(1, np.abs(y).max())
    learned = any(layer.scores is not None for layer in block.layers)
    bound = REFERENCE_SHARE_BOUND if engine == "reference" and learned else GRADIENT_BOUND
    for name, found in gradients(engine, x, block, grad_y).items():
        error = np.linalg.norm(found.double().numpy() - expected[name])
        assert error <= bound * max(np.linalg.norm(expected[name]), 1e-3), name


@pytest.mark.parametrize("efd", ["exponential", "normalised"])
@pytest.mark.parametrize("n", range(2, 9))
def test_every_number_of_table_inputs(engine: str, n: int, efd: str) -> None:
    assert_matches_loops(engine, *random_block(n, rows=66, luts=(3, 2), inputs=(n, 2), efd=efd))


@pytest.mark.parametrize("gradient", ["identity", "mean", "window"])
@pytest.mark.parametrize("per_feature", [True, False])
def test_thermometer_gradients(engine: str, gradient: str, per_feature: bool) -> None:
    assert_matches_loops(engine, *random_block(gradient=gradient, per_feature=per_feature))


@pytest.mark.parametrize("mappings", [("learnable", "random"), ("candidate", "learnable"), ("random", "candidate")])
def test_mapping_scores(engine: str, mappings: tuple[str, ...]) -> None:
    assert_matches_loops(engine, *random_block(mappings=mappings, luts=(9, 7), rows=150))


@pytest.mark.parametrize("sources", [(0, 2), (1,), (0, 1, 2)])
@pytest.mark.parametrize("centred", [True, False])
def test_summation_sources(engine: str, sources: tuple[int, ...], centred: bool) -> None:
    x, block = random_block(sum_sources=sources, centred=centred, outputs=35)
    if 2 not in sources:  # the last layer is not read
        block = block._replace(layers=block.layers[:1])
    assert_matches_loops(engine, x, block)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_shapes(engine: str, data: st.DataObject) -> None:
    depth = data.draw(st.integers(1, 3))
    largest = 6 if engine == "triton" else 40  # interpreted kernels are slow
    shape = st.integers(1, largest)
    x, block = random_block(
        data.draw(st.integers(0, 100)),
        rows=data.draw(st.integers(1, 7 * largest)),
        features=data.draw(st.integers(1, largest)),
        thermometer_bits=data.draw(st.integers(1, 9)),
        luts=tuple(data.draw(shape) for _ in range(depth)),
        inputs=tuple(data.draw(st.integers(2, 8)) for _ in range(depth)),
        mappings=tuple(data.draw(st.sampled_from(["random", "candidate", "learnable"])) for _ in range(depth)),
        sum_sources=(depth,),
        outputs=data.draw(shape),
    )
    expected, found = compose(x, block), run(engine, x, block)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    grad_y = torch.randn_like(expected)
    theirs = gradients("reference", x, block, grad_y)
    for name, ours in gradients(engine, x, block, grad_y).items():
        assert (ours - theirs[name]).norm() <= 2 * REFERENCE_SHARE_BOUND * theirs[name].norm() + 1e-5, name


def test_one_bit_of_each_table_decides_the_output(engine: str) -> None:
    """With encoded values 2^r the sum shows every bit of the last layer exactly."""
    x, block = random_block(rows=500, features=9, luts=(30, 20), inputs=(6, 6), outputs=1, centred=False)
    powers = (2.0 ** torch.arange(20))[:, None]
    block = block._replace(encoded=powers, bias=torch.zeros(1))
    assert torch.equal(run(engine, x, block), compose(x, block))


def test_input_gradient_is_the_walsh_expansion(engine: str) -> None:
    """Sum over the sets S that contain input i of 0.5^(|S| - 1) Uhat(S) chi; parity of 6 bits gives 0.5^5."""
    n = 6
    addresses = torch.arange(2**n)
    signs = 2.0 * ((addresses[:, None] >> torch.arange(n)) & 1) - 1  # (2^n, n)
    parity = signs.prod(dim=1)
    table = 2 * torch.rand(2**n, generator=torch.Generator().manual_seed(0)) - 1
    for values in (parity, table):
        x = signs.clone().requires_grad_()
        layer = LayerParameters(values[None].clone(), torch.arange(n)[None])
        block = BlockParameters(
            torch.zeros(n, 1), torch.tensor(2.0), "identity", [layer], "exponential", (1,),
            torch.ones(1, 1), torch.zeros(1), False,
        )  # fmt: skip
        (found,) = torch.autograd.grad(run(engine, x, block).sum(), x)
        expected = torch.zeros(2**n, n, dtype=torch.float64)
        for subset in range(2**n):
            members = [i for i in range(n) if subset >> i & 1]
            coefficient = float((values * signs[:, members].prod(dim=1)).double().mean())
            for i in members:
                others = [j for j in members if j != i]
                expected[:, i] += 0.5 ** len(others) * coefficient * signs[:, others].double().prod(dim=1)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
        if values is parity:
            assert torch.equal(found.abs(), torch.full_like(found, 0.03125))


@pytest.mark.parametrize("engine", CPU_ENGINES, indirect=True)
def test_one_and_two_threads_give_the_same_bits(engine: str) -> None:
    x, block = random_block(
        rows=1500, features=20, luts=(40, 30), inputs=(6, 6), mappings=("learnable", "candidate"), outputs=20
    )
    grad_y = torch.randn(1500, 20)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append({"y": run(engine, x, block), **gradients(engine, x, block, grad_y)})
    torch.set_num_threads(1)
    if engine != "reference":  # PyTorch's own sums depend on the number of threads
        assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert set(results[0]) == {"y", *leaves(x, block)}


@pytest.mark.parametrize("engine", CPU_ENGINES, indirect=True)
def test_the_first_of_equal_scores_is_chosen(engine: str) -> None:
    scores = torch.randint(0, 5, (50, 333)).float()
    assert torch.equal(column_argmax(scores), scores.argmax(dim=0))
