"""The README's lines on Hugging Face's GPT-2 reach what our own loop reaches on ours."""

import pytest
import torch

import lutra
from lutra.data.text import load_dataset
from lutra.models.convert.replace import remove_mlps

transformers = pytest.importorskip("transformers")
STEPS, CONTEXT, BATCH = 200, 64, 12


def loss_after_training(arm, seed, data):
    """Cross entropy on the validation text of "mlp", "none" or "block" after 200 steps of the public parts."""
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, vocab_size=len(data.characters), resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    draw = torch.Generator().manual_seed(seed)

    def batch(tokens):
        starts = torch.randint(len(tokens) - CONTEXT - 1, (BATCH,), generator=draw)
        return torch.stack([tokens[start : start + CONTEXT + 1] for start in starts])

    first = batch(data.train)[:, :-1]
    if arm != "mlp":
        plan = lutra.find_mlps(model, input_ids=first)
        if arm == "none":
            remove_mlps(model, plan)
        else:
            lutra.replace_mlp(model, plan, seed=seed)
            lutra.calibrate_(model, input_ids=first)
    optimiser = torch.optim.AdamW(lutra.parameter_groups(model, lr=1e-3))
    schedule = lutra.TrainingSchedule(model, optimiser, STEPS, warmup=20)
    model.train()
    for _ in range(STEPS):
        tokens = batch(data.train)
        loss = model(input_ids=tokens[:, :-1]).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(loss, tokens[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()
    text = data.validation[: 400 * (CONTEXT + 1)].view(400, CONTEXT + 1)
    with torch.no_grad():
        logits = model(input_ids=text[:, :-1]).logits
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recovery(seed):
    data = load_dataset("shakespeare-char")
    mlp, none, block = (loss_after_training(arm, seed, data) for arm in ("mlp", "none", "block"))
    recovery = (none - block) / (none - mlp)
    assert recovery >= 0.9, (mlp, none, block, recovery)
