"""A frozen BERT against the float model that it was frozen from, on a GLUE task.

    python benchmarks/frozen_bert.py MODEL TOKENIZER TASK [--max-length 128]

MODEL is a folder of `save_bert`, TOKENIZER one with tokenizer.json or vocab.txt. One thread, CPU time. A rounding can
move a code of an activation by one, and later layers enlarge that; "noise" says what they make of an error as small as
half precision: the float model once more, with the embeddings' output off by a relative 2^-12 (one standard deviation).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import machine
from torch import Tensor

from lutra.data.glue import EncodedSplit, encode_split, find_task, metrics, read_split
from lutra.data.tokenizer import load_tokenizer
from lutra.freeze.bert import freeze_bert
from lutra.freeze.bert_in_torch import binary16_logits
from lutra.frozen.bert_golden import golden_logits
from lutra.models.bert import Bert
from lutra.models.bert_files import load_bert

BATCH = 32
NOISE = 2.0**-12


def compare(model: Bert, data: EncodedSplit) -> dict[str, Any]:
    """Logits of the whole split by the float model, golden, PyTorch in half steps, and the float model with noise."""
    batches = [batch[:3] for batch in data.batches(BATCH)]
    frozen = freeze_bert(model)
    exact = _float_logits(model, batches)
    generator = torch.Generator().manual_seed(0)
    hook = model.embeddings.register_forward_hook(
        lambda _module, _inputs, x: x * (1 + NOISE * torch.randn(x.shape, generator=generator))
    )
    noisy = _float_logits(model, batches)
    hook.remove()
    start = time.thread_time()
    golden = np.concatenate([golden_logits(frozen, *(part.numpy() for part in batch)) for batch in batches])
    seconds = time.thread_time() - start
    in_torch = torch.cat([binary16_logits(model, *batch) for batch in batches]).numpy()
    points = {
        name: metrics(data.task, torch.from_numpy(logits).float(), data.labels)
        for name, logits in (("float", exact), ("golden", golden))
    }
    return {
        "sentences": len(exact),
        "golden_cpu_s": seconds,
        "bits_unlike_torch_in_half_steps": int((golden.view(np.uint16) != in_torch.view(np.uint16)).sum()),
        "golden_against_float": _difference(golden, exact),
        "noise_against_float": _difference(noisy, exact),
        "metrics": points,
    }


@torch.no_grad()
def _float_logits(model: Bert, batches: list[tuple[Tensor, ...]]) -> np.ndarray:
    return torch.cat([model(*batch).logits for batch in batches]).numpy()


def _difference(logits: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    difference = np.abs(logits - exact)
    return {
        "classes": int((logits.argmax(axis=1) != exact.argmax(axis=1)).sum()),
        "largest": float(difference.max()),
        "median": float(np.median(difference)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("task", type=find_task)
    parser.add_argument("--max-length", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dev = read_split(arguments.task, arguments.task.dev_splits[0])
    data = encode_split(dev, load_tokenizer(arguments.tokenizer), arguments.max_length)
    result = compare(load_bert(arguments.model), data)
    print(json.dumps({"machine": machine(), "task": arguments.task.name, **result}, indent=1))


if __name__ == "__main__":
    main()
