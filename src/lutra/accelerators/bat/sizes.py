"""Parameters of a whole `lutra_bat_module` out of the one configuration: sizes of memories, counters and buffers."""

from __future__ import annotations

import math

from lutra.accelerators.bat.compiler import (
    HALFS_PER_BEAT,
    inner_words,
    input_words,
    key_words,
    probability_words,
    value_words,
)
from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.layout import chunks
from lutra.accelerators.bat.parameters import Gearbox, engine_parameters, store_parameters
from lutra.accelerators.bat.weights import is_scaling

NORM_ROWS = 32
"""Beats beyond a row that a memory of the layer norm holds: more than are under way while a mean is found."""
SOFTMAX_ROWS = 24


def node_parameters(config: BatConfig) -> list[dict[str, int]]:
    """Of every `lutra_bat_node` of an accelerator."""
    if len(config.modules) == 1:
        return [_parameters(config, config.attention, config.attention, attention=True, feed_forward=True)]
    return [
        _parameters(config, config.attention, config.feed_forward, attention=True, feed_forward=False),
        _parameters(config, config.feed_forward, config.attention, attention=False, feed_forward=True),
    ]


def _parameters(
    config: BatConfig, module: ModuleConfig, peer: ModuleConfig, attention: bool, feed_forward: bool
) -> dict[str, int]:
    """Of a module that runs attention, feed-forward blocks, or both; `peer` writes its inputs."""
    engine, store = engine_parameters(config, module), store_parameters(config, module, attention)
    peer_granule = store_parameters(config, peer, attention)["XGranule"]
    vector_rows = _vector_rows(config, attention, feed_forward)
    quantised_rows = [config.max_width]
    quantised_rows += [config.max_attention_width, config.positions] if attention else []
    quantised_rows += [config.max_intermediate] if feed_forward else []
    head_beats = config.heads * chunks(config.head_width, module.p_quan) if attention else 0
    vector_beats = max(chunks(elements, module.p_vu) for elements in vector_rows)
    quantise_beats = max(*(chunks(elements, module.p_quan) for elements in quantised_rows), head_beats)
    norm_beats = chunks(config.max_width, module.p_ln)
    softmax_beats = chunks(config.positions, module.p_softmax)
    return {
        **{name: engine[name] for name in ("Units", "Elements", "Bits", "SumBits", "Sums", "HeadWidth")},
        "Attention": int(attention),
        "VectorLanes": module.p_vu,
        "QuantiseLanes": module.p_quan,
        "NormLanes": module.p_ln,
        "SoftmaxLanes": module.p_softmax,
        "Scale": int(is_scaling(config.activation_bits)),
        "VectorBeatBits": max(2, vector_beats.bit_length()),
        "QuantiseBeatBits": quantise_beats.bit_length(),
        "NormBeatBits": norm_beats.bit_length(),
        "SoftmaxBeatBits": softmax_beats.bit_length(),
        "FactorBits": max(1, _address_bits(config.halves * vector_beats)),
        "NormFifoBits": _address_bits(norm_beats + NORM_ROWS),
        "WidthBits": max(_address_bits(config.max_width), _address_bits(module.p_ln)) + 1,
        "SoftmaxFifoBits": _address_bits(softmax_beats + SOFTMAX_ROWS),
        "TokenBits": max(_address_bits(config.positions), _address_bits(module.p_softmax)) + 1,
        "InputWords": len(config.modules) * input_words(config, module),
        "WorkWords": inner_words(config, module, attention, feed_forward)
        + (probability_words(config, module) if attention else 0),
        "WeightWords": _weight_words(config, module, attention, feed_forward),
        "PlaneWords": key_words(config, module) + value_words(config, module) if attention else 1,
        **{name: store[name] for name in ("XGranule", "ValueLanes", "YGranule", "ValueWords")},
        "PeerGranule": peer_granule,
        "InputGranule": math.gcd(store["XGranule"], peer_granule),
        **_buffers(config, module, attention, vector_rows),
    }


def _vector_rows(config: BatConfig, attention: bool, feed_forward: bool) -> list[int]:
    """Widths of the rows that the vector unit makes."""
    rows = [config.max_width]
    if attention:
        rows += [3 * config.max_attention_width, config.positions, config.head_width]
    if feed_forward:
        rows.append(config.max_intermediate)
    return rows


def _weight_words(config: BatConfig, module: ModuleConfig, attention: bool, feed_forward: bool) -> int:
    """Of the largest matrix."""
    shapes = []
    if attention:
        shapes += [(3 * config.max_attention_width, config.max_width), (config.max_width, config.max_attention_width)]
    if feed_forward:
        shapes += [(config.max_intermediate, config.max_width), (config.max_width, config.max_intermediate)]
    return max(
        config.halves * chunks(outputs, module.p_dpu) * chunks(inputs, module.p_pe) for outputs, inputs in shapes
    )


def _buffers(config: BatConfig, module: ModuleConfig, attention: bool, vector_rows: list[int]) -> dict[str, int]:
    """Blocks and granules of the buffers between units."""
    widest, width, tokens = max(vector_rows), config.max_width, config.positions
    pairs = {
        "Sum": (Gearbox(module.p_dpu, module.p_vu), (widest,) * config.halves),
        "Number": (Gearbox(module.p_vu, module.p_quan), (widest,)),
        "Score": (Gearbox(module.p_vu, module.p_softmax), (tokens,)),
        "Probability": (Gearbox(module.p_softmax, module.p_quan), (tokens,)),
        "Norm": (Gearbox(module.p_vu, module.p_ln), (width,)),
        "Normed": (Gearbox(module.p_ln, module.p_quan), (width,)),
        "Written": (Gearbox(module.p_ln, HALFS_PER_BEAT), (width,)),
        "Residual": (Gearbox(HALFS_PER_BEAT, module.p_vu), (width,)),
        "First": (Gearbox(HALFS_PER_BEAT, module.p_quan), (width,)),
    }
    numbers = pairs["Number"][0]
    part = math.gcd(config.head_width, numbers.block) if config.head_width % numbers.granule == 0 else numbers.granule
    step = numbers.parameters(16, (widest,), part)["OutStep"]
    return {
        "NumberStep": step if attention else numbers.out_lanes // numbers.granule,
        **{f"{name}Blocks": sum(chunks(row, gear.block) for row in rows) for name, (gear, rows) in pairs.items()},
        **{f"{name}Granule": gear.granule for name, (gear, _) in pairs.items()},
    }


def _address_bits(count: int) -> int:
    return (count - 1).bit_length()
