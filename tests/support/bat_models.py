"""Small frozen BERTs and accelerators for them, at random, and what is wrong when one runs on the other."""

from __future__ import annotations

import numpy as np

from frozen_berts import small_config, trained_like
from lutra.accelerators.bat import bench, compiler, schedule
from lutra.accelerators.bat.compare import compare_steps, golden_trace
from lutra.accelerators.bat.config import ModuleConfig, config_for
from lutra.errors import InputError
from lutra.freeze.bert import freeze_bert
from lutra.frozen import bert_golden
from lutra.frozen.bert import FrozenBert, layout


def frozen(config, seed):
    """A frozen model whose factors, biases and steps are not what they start with."""
    return freeze_bert(trained_like(config, seed))


def untrained(config, seed):
    """A frozen model with anything in it."""
    rng, tensors = np.random.default_rng(seed), {}
    for name, wanted in layout(config).items():
        if wanted.dtype == "uint8":
            tensors[name] = rng.integers(0, 256, wanted.shape, np.uint8)
        else:
            tensors[name] = np.asarray(rng.uniform(0.1, 1, wanted.shape)).astype(np.float16)
    return FrozenBert(config, tensors)


def embedded(model, lengths, seed):
    """Rows (tokens, width) of random sentences of given lengths."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        tokens = rng.integers(0, model.config.vocabulary, (1, length))
        types = rng.integers(0, model.config.token_types, (1, length))
        rows.append(bert_golden.embed(model, tokens, types, np.ones_like(tokens))[0])
    return rows


def draw(seed, modules=None):
    """A random model and a random accelerator of one or two modules that takes it."""
    rng = np.random.default_rng(seed)

    def some(*values):
        return values[rng.integers(len(values))]

    count = modules or int(rng.integers(1, 3))
    while True:
        quantisation = {"method": some("bmt", "bit"), "activation_bits": some(1, 2, 4, 8)}
        config = small_config(
            layers=int(rng.integers(1, 3)),
            heads=int(rng.integers(1, 4)),
            head_width=some(4, 8, 16),
            width=int(rng.integers(5, 40)),
            intermediate=int(rng.integers(5, 40)),
            positions=int(rng.integers(4, 20)),
            quantisation=quantisation,
        )
        elements = some(8, 16, 32)
        settings = {"memory_latency": int(rng.integers(2, 40)), "memory_gap": some(1, 1, 2)}
        try:
            lanes = [
                ModuleConfig(
                    p_dpu=int(rng.integers(1, 7)),
                    p_quan=some(1, 2, 4, 8),
                    p_vu=int(rng.integers(1, 7)),
                    p_ln=int(rng.integers(1, 5)),
                    p_pe=elements,
                    p_softmax=int(rng.integers(1, 5)),
                )
                for _ in range(count)
            ]
            return config, config_for(config, tuple(lanes), sums=some("count", "pe"), **settings)
        except InputError:
            continue


def problems(built, model, groups):
    """What is wrong with values and cycles of groups of embedded sentences, without and with stalls, one line each."""
    image = compiler.compile_model(model, built.config)
    return [
        problem
        for stalls in (False, True)
        for index, (group, run) in enumerate(zip(groups, bench.simulate(built, image, groups, stalls), strict=True))
        for problem in problems_of(
            f"group {index}, {'with' if stalls else 'no'} stalls", image, model, group, run, stalls
        )
    ]


def problems_of(where, image, model, group, run, stalls):
    """What is wrong with one group."""
    programs = compiler.compile_sentences(image, [len(rows) for rows in group])
    predicted = schedule.program_times(programs, image.config)
    traced = [golden_trace(model, rows) for rows in group]
    found = []
    for index, (steps, module) in enumerate(zip(programs, run.modules, strict=True)):
        here = f"{where}, module {index}"
        verdicts = compare_steps(steps, module.taps, image.config.modules[index], model, [trace for trace, _ in traced])
        found += [f"{here}: {verdict.first}" for verdict in verdicts if verdict.first]
        found += [f"{here}: {unit} left the range" for unit in module.errors]
        if module.cycles is None:
            found.append(f"{here}: did not end")
        elif not stalls:
            found += [
                f"{here}: step {times.step} ran in cycles {start} to {end}, predicted {times.start} to {times.end}"
                for times, start, end in zip(predicted[index], module.starts, module.ends, strict=True)
                if (times.start, times.end) != (start, end)
            ]
    for rows, (_, expected) in zip(run.rows, traced, strict=True):
        if not np.array_equal(rows, expected):
            found.append(f"{where}: other rows in memory")
    return found
