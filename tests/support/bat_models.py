"""Small frozen BERTs and accelerators for them, at random, and what is wrong when one runs on the other."""

from __future__ import annotations

import numpy as np

from frozen_berts import small_config, trained_like
from lutra.accelerators.bat import bench, compiler, schedule
from lutra.accelerators.bat.compare import compare_steps
from lutra.accelerators.bat.config import ModuleConfig, config_for
from lutra.errors import InputError
from lutra.freeze.bert import freeze_bert
from lutra.frozen import bert_golden


def frozen(config, seed):
    """A frozen model whose factors, biases and steps are not what they start with."""
    return freeze_bert(trained_like(config, seed))


def embedded(model, lengths, seed):
    """Rows (tokens, width) of random sentences of given lengths."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        tokens = rng.integers(0, model.config.vocabulary, (1, length))
        types = rng.integers(0, model.config.token_types, (1, length))
        rows.append(bert_golden.embed(model, tokens, types, np.ones_like(tokens))[0])
    return rows


def draw(seed):
    """A random model of one or two layers and a random accelerator that takes it."""
    rng = np.random.default_rng(seed)

    def some(*values):
        return values[rng.integers(len(values))]

    while True:
        bits = some(1, 2, 4, 8)
        head_width = some(4, 8, 16)
        quantisation = {"method": some("bmt", "bit"), "activation_bits": bits}
        config = small_config(
            layers=1,
            heads=int(rng.integers(1, 4)),
            head_width=head_width,
            width=int(rng.integers(5, 40)),
            intermediate=int(rng.integers(5, 40)),
            positions=int(rng.integers(4, 20)),
            quantisation=quantisation,
        )
        try:
            module = ModuleConfig(
                p_dpu=int(rng.integers(1, 7)),
                p_quan=some(1, 2, 4, 8),
                p_vu=int(rng.integers(1, 7)),
                p_ln=int(rng.integers(1, 5)),
                p_pe=some(8, 16, 32),
                p_softmax=int(rng.integers(1, 5)),
            )
            settings = {
                "memory_latency": int(rng.integers(2, 40)),
                "memory_gap": some(1, 1, 2),
                "sums": some("count", "pe"),
            }
            return config, config_for(config, (module,), **settings)
        except InputError:
            continue


def problems(built, model, sentences):
    """What is wrong with values and cycles of embedded sentences, one line each; without and with stalls."""
    image = compiler.compile_model(model, built.config)
    module, found = built.config.attention, []
    for stalls in (False, True):
        for index, (rows, run) in enumerate(
            zip(sentences, bench.simulate(built, image, sentences, stalls), strict=True)
        ):
            where = f"sentence {index} of {len(rows)} tokens, {'with' if stalls else 'without'} stalls"
            steps = compiler.compile_sentence(image, len(rows))
            verdicts = compare_steps(steps, run.taps, model, built.config, rows)
            found += [f"{where}: {verdict.first}" for verdict in verdicts if verdict.first]
            found += [f"{where}: {unit} left the range" for unit in run.errors]
            if run.cycles is None:
                found.append(f"{where}: did not end")
                continue
            if not np.array_equal(run.rows, last_rows(model, rows)):
                found.append(f"{where}: other rows in memory")
            predicted = schedule.program_times(steps, built.config, module)
            if not stalls:
                found += [
                    f"{where}: step {times.step} ran in cycles {start} to {end}, predicted {times.start} to {times.end}"
                    for times, start, end in zip(predicted, run.starts, run.ends, strict=True)
                    if (times.start, times.end) != (start, end)
                ]
    return found


def last_rows(model, rows):
    """Of golden, behind the last layer."""
    sentence = [slice(0, len(rows))]
    for index in range(model.config.layers):
        rows = bert_golden.attention(model, f"layers.{index}.attention", rows, sentence)
        rows = bert_golden.feed_forward(model, f"layers.{index}.feed_forward", rows)
    return rows
