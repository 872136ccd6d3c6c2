"""Turns a frozen BERT into programs for BAT: one image of weights for all sentences, programs per number of tokens.

The memory beside the accelerator holds, in this order: the blobs of all steps, a program per module, two buffers of
binary16 rows per sentence. A sentence's embedded rows are written into its first buffer before the programs start, and
those of the last layer are found in it afterwards. Pooler and classifier stay on the host.

One module runs all steps of one sentence. Two modules take turns with one sentence, or with two: then both are busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.bat import products
from lutra.accelerators.bat.config import BatConfig, ModuleConfig, check_model
from lutra.accelerators.bat.layout import chunks
from lutra.accelerators.bat.parameters import Gearbox, value_lanes
from lutra.accelerators.bat.products import Product
from lutra.accelerators.bat.program import BYTES, Step, engine_fields
from lutra.accelerators.bat.weights import BEAT_BYTES, Blob, BlobWriter
from lutra.errors import InputError
from lutra.frozen import binary16
from lutra.frozen.bert import FrozenBert, largest_context_sum, largest_linear_sum, largest_score_sum
from lutra.recipes.bert_config import BertConfig

HALFS_PER_BEAT = 8
ALIGNMENT = 4096
"""Of the parts of memory; a burst never crosses such a boundary."""
_ATTENTION = tuple(f"attention.{kind}" for kind in ("query_key_value", "scores", "contexts", "output"))
_FEED_FORWARD = tuple(f"feed_forward.{kind}" for kind in ("hidden", "output"))
ATTENTION_STEPS = len(_ATTENTION)
"""Of a layer, before those of its feed-forward block."""

Program = list[Step]


@dataclass(frozen=True)
class Image:
    """A model in the accelerator's memory: weights, and where programs and rows go."""

    config: BatConfig
    model: BertConfig
    data: bytes
    """Blobs of all steps, from address 0 on."""
    places: dict[str, tuple[int, Blob]]
    """Step -> address and blob."""

    @property
    def program_addresses(self) -> tuple[int, ...]:
        """One per module."""
        room = _aligned(self.sentences * len(self.places) * BYTES)
        return tuple(_aligned(len(self.data)) + index * room for index in range(len(self.config.modules)))

    @property
    def sentences(self) -> int:
        """The most that run at the same time."""
        return len(self.config.modules)

    def row_addresses(self, sentence: int) -> tuple[int, int]:
        """The two buffers of rows: inputs and outputs of layers, and what lies between attention and feed-forward."""
        room = _aligned(self.config.positions * row_bytes(self.model.width))
        programs = self.program_addresses
        first = programs[-1] + _aligned(self.sentences * len(self.places) * BYTES) + 2 * sentence * room
        return first, first + room

    @property
    def bytes_of_memory(self) -> int:
        first, second = self.row_addresses(self.sentences - 1)
        return second + second - first


def compile_model(model: FrozenBert, config: BatConfig) -> Image:
    """The image of a model.

    Raises:
        InputError: the accelerator does not take the model.
    """
    check_model(config, model.config)
    writers = {
        "attention": BlobWriter(model, config, config.attention),
        "feed_forward": BlobWriter(model, config, config.feed_forward),
    }
    places: dict[str, tuple[int, Blob]] = {}
    address = 0
    for name in step_names(model.config.layers):
        blob = _blob(writers[name.split(".")[2]], name, model.config.layers)
        places[name] = address, blob
        address += _aligned(len(blob.data))
    data = bytearray(address)
    for start, blob in places.values():
        data[start : start + len(blob.data)] = blob.data
    return Image(config, model.config, bytes(data), places)


def compile_sentences(image: Image, tokens: Sequence[int]) -> list[Program]:
    """The programs of all modules for sentences of so many tokens that run at the same time.

    Raises:
        InputError: too many sentences, or one that does not fit the accelerator or the model.
    """
    if not 1 <= len(tokens) <= image.sentences:
        raise InputError(f"BAT: {image.sentences} modules run 1 to {image.sentences} sentences, got {len(tokens)}")
    for count in tokens:
        check_model(image.config, image.model, count)
    compilers = [_SentenceCompiler(image, count, index) for index, count in enumerate(tokens)]
    first = [sentence.step("layers.0.attention.quantise") for sentence in compilers]
    layers = [
        [[sentence.step(f"layers.{layer}.{step}") for step in steps] for steps in (_ATTENTION, _FEED_FORWARD)]
        for layer in range(image.model.layers)
        for sentence in compilers
    ]
    if len(image.config.modules) == 1:
        return [_with_last([*first, *(step for blocks in layers for block in blocks for step in block)])]
    attention, feed_forward = ([step for blocks in layers for step in blocks[index]] for index in range(2))
    return [_with_last([*first, *attention]), _with_last(feed_forward)]


def _with_last(steps: Program) -> Program:
    last = steps[-1]
    return [*steps[:-1], Step(last.name, last.flags | {"last"}, last.numbers, last.sentence)]


def encode(steps: list[Step]) -> bytes:
    """A program as it lies in memory."""
    return b"".join(step.encode() for step in steps)


def row_bytes(width: int) -> int:
    """Of a binary16 row in memory."""
    return chunks(width, HALFS_PER_BEAT) * BEAT_BYTES


def rows_to_bytes(rows: np.ndarray) -> bytes:
    """binary16 rows (tokens, width) as they lie in memory."""
    padded = np.zeros((len(rows), row_bytes(rows.shape[1]) // 2), np.float16)
    padded[:, : rows.shape[1]] = rows
    return padded.tobytes()


def rows_from_bytes(data: bytes, width: int) -> np.ndarray:
    """Inverse of `rows_to_bytes`."""
    rows: np.ndarray = np.frombuffer(data, np.float16).reshape(-1, row_bytes(width) // 2)[:, :width]
    return rows


def step_names(layers: int) -> list[str]:
    """Steps of a sentence in their order."""
    steps = (*_ATTENTION, *_FEED_FORWARD)
    return ["layers.0.attention.quantise", *(f"layers.{index}.{step}" for index in range(layers) for step in steps)]


def quantiser_after(name: str, layers: int) -> str | None:
    """The quantiser of the rows that an output step leaves; None behind the last layer."""
    _, index, block, _ = name.split(".")
    if block == "attention":
        return f"layers.{index}.feed_forward.input_quantiser"
    return None if int(index) == layers - 1 else f"layers.{int(index) + 1}.attention.input_quantiser"


def _blob(writer: BlobWriter, name: str, layers: int) -> Blob:
    block, kind = name.rsplit(".", 1)
    match kind:
        case "quantise":
            return writer.quantise(f"{block}.input_quantiser")
        case "query_key_value":
            return writer.query_key_value(block)
        case "scores":
            return writer.scores(block)
        case "contexts":
            return writer.contexts(block)
        case "hidden":
            return writer.hidden(block)
        case _:
            return writer.output(block, quantiser_after(name, layers))


class _SentenceCompiler:
    """Steps of one sentence of a certain number of tokens."""

    def __init__(self, image: Image, tokens: int, sentence: int) -> None:
        self._image, self._tokens, self._sentence = image, tokens, sentence
        self._model, self._config = image.model, image.config
        self._module: ModuleConfig = image.config.attention
        self._two = len(image.config.modules) == 2

    def step(self, name: str) -> Step:
        """A step by its name, without what depends on its place in a program."""
        _, layer, block, kind = name.split(".")
        self._module = self._config.attention if block == "attention" else self._config.feed_forward
        address, blob = self._image.places[name]
        flags, numbers = getattr(self, f"_{kind}")(name)
        numbers |= {"load_address": address, "load_beats": blob.beats, **blob.words}
        if blob.words["quantise_bias_words"]:
            flags |= {"quantise_bias"}
        if self._two:
            first = kind == "hidden" or (kind == "query_key_value" and layer != "0")
            flags |= {"waits"} if first else set()
            flags |= {"job_end"} if kind == "output" else set()
        return Step(name, frozenset(flags), numbers, self._sentence)

    @property
    def _inputs(self) -> int:
        """First word of this sentence's inputs."""
        return self._sentence * input_words(self._config, self._module)

    @property
    def _probabilities(self) -> int:
        """First word of probabilities; queries, contexts and hidden values lie before them."""
        return inner_words(self._config, self._module, attention=True, feed_forward=not self._two)

    def _quantise(self, name: str) -> tuple[set[str], dict[str, int]]:
        width = self._model.width
        numbers = self._rows(0) | self._codes(width) | self._stored(self._inputs, self._tokens, width)
        return {"from_memory", "store", "store_input", "signed_codes"}, numbers

    def _query_key_value(self, name: str) -> tuple[set[str], dict[str, int]]:
        model, module, bits = self._model, self._module, self._config.activation_bits
        width = model.attention_width
        product = products.linear(module, self._tokens, model.width, 3 * width, model.quantisation.copies, True)
        flags, numbers = engine_fields(product, self._inputs)
        stride, offset = Gearbox(module.p_vu, module.p_quan).stride(width)
        groups = chunks(self._tokens, module.p_dpu)
        numbers |= self._linear(model.width, 3 * width, signed=True)
        numbers |= self._codes(width) | self._stored(0, self._tokens, width)
        numbers |= {
            "quantise_segments": 3,
            "quantise_stride": stride,
            "quantise_offset": offset,
            "key_base": 0,
            "key_chunk_stride": groups * bits,
            "value_base": key_words(self._config, module),
            "value_plane_stride": chunks(self._config.positions, module.p_pe),
            "value_parts": width // value_lanes(self._config, module),
        }
        return flags | {"x_is_input", "attention", "bias", "store", "signed_codes"}, numbers

    def _scores(self, name: str) -> tuple[set[str], dict[str, int]]:
        model, module, tokens = self._model, self._module, self._tokens
        product = products.scores(module, tokens, model.heads, model.head_width, self._config.activation_bits)
        flags, numbers = engine_fields(product, 0)
        beats = chunks(tokens, module.p_softmax)
        numbers |= self._vector(tokens, copies=1, largest=largest_score_sum(model)) | self._codes(tokens)
        numbers |= self._stored(self._probabilities, model.heads * tokens, tokens)
        numbers |= {"softmax_beats": beats, "softmax_last_lanes": tokens - (beats - 1) * module.p_softmax}
        return flags | {"softmax", "same_factor", "store"}, numbers

    def _contexts(self, name: str) -> tuple[set[str], dict[str, int]]:
        model, module, config = self._model, self._module, self._config
        product = products.context(
            module, self._tokens, model.heads, model.head_width, config.activation_bits, config.positions
        )
        flags, numbers = engine_fields(product, self._probabilities, key_words(config, module))
        numbers |= self._vector(model.head_width, copies=1, largest=largest_context_sum(model))
        numbers |= self._codes(model.head_width) | self._stored(0, self._tokens, model.attention_width)
        numbers |= {"store_heads": model.heads}
        return flags | {"context", "same_factor", "store", "signed_codes"}, numbers

    def _output(self, name: str) -> tuple[set[str], dict[str, int]]:
        model, module = self._model, self._module
        in_attention = name.split(".")[2] == "attention"
        inputs = model.attention_width if in_attention else model.intermediate
        product = self._product(inputs, model.width, signed=in_attention)
        flags, numbers = engine_fields(product, 0)
        numbers |= self._linear(inputs, model.width, in_attention) | self._rows(0 if in_attention else 1)
        beats = chunks(model.width, module.p_ln)
        epsilon = model.layer_norm_epsilon * model.width * 2**binary16.SQUARE_BITS
        numbers |= {
            "norm_beats": beats,
            "norm_last_lanes": model.width - (beats - 1) * module.p_ln,
            "width": model.width,
            "epsilon": int(np.floor(epsilon + 0.5)),
        }
        if quantiser_after(name, model.layers) is not None:
            flags |= {"store", "signed_codes", "store_peer" if self._two else "store_input"}
            numbers |= self._codes(model.width) | self._stored(self._inputs, self._tokens, model.width)
        return flags | {"norm", "residual", "bias"}, numbers

    def _hidden(self, name: str) -> tuple[set[str], dict[str, int]]:
        model = self._model
        flags, numbers = engine_fields(self._product(model.width, model.intermediate, True), self._inputs)
        numbers |= self._linear(model.width, model.intermediate, signed=True) | self._codes(model.intermediate)
        numbers |= self._stored(0, self._tokens, model.intermediate)
        return flags | {"x_is_input", "bias", "relu", "store"}, numbers

    def _product(self, inputs: int, outputs: int, signed: bool) -> Product:
        copies = self._model.quantisation.copies
        return products.linear(self._module, self._tokens, inputs, outputs, copies, signed)

    def _linear(self, inputs: int, outputs: int, signed: bool) -> dict[str, int]:
        copies = self._model.quantisation.copies
        return self._vector(outputs, copies, largest_linear_sum(self._model, inputs, signed))

    def _vector(self, outputs: int, copies: int, largest: int) -> dict[str, int]:
        """The vector unit's part of a step, and the buffer before it."""
        module = self._module
        beats = chunks(outputs, module.p_vu)
        return {
            "copies": copies,
            "exponent": binary16.sum_exponent(largest),
            "sum_beats": chunks(outputs, module.p_dpu),
            "sum_stride": chunks(outputs, Gearbox(module.p_dpu, module.p_vu).block),
            "vector_beats": beats,
            "vector_last_lanes": outputs - (beats - 1) * module.p_vu,
        }

    def _codes(self, columns: int) -> dict[str, int]:
        """The quantisation unit's part, for rows or segments of `columns`."""
        beats = chunks(columns, self._module.p_quan)
        lanes = columns - (beats - 1) * self._module.p_quan
        return {"quantise_segments": 1, "quantise_beats": beats, "quantise_last_lanes": lanes}

    def _stored(self, base: int, rows: int, columns: int) -> dict[str, int]:
        """Where codes go: rows of x."""
        return {
            "store_base": base,
            "store_row_stride": chunks(columns, self._module.p_pe),
            "store_heads": 1,
            "store_rows": rows,
        }

    def _rows(self, buffer: int) -> dict[str, int]:
        """binary16 rows that stream in from one buffer, and out to the other."""
        beats = row_bytes(self._model.width) // BEAT_BYTES
        addresses = self._image.row_addresses(self._sentence)
        return {
            "row_beats": beats,
            "all_row_beats": beats * self._tokens,
            "read_address": addresses[buffer],
            "write_address": addresses[1 - buffer],
        }


def input_words(config: BatConfig, module: ModuleConfig) -> int:
    """Words of x that the inputs of a block take for the longest sentence."""
    return config.positions * chunks(config.max_width, module.p_pe)


def inner_words(config: BatConfig, module: ModuleConfig, attention: bool, feed_forward: bool) -> int:
    """Words of x that queries and contexts, or hidden values, take for it."""
    widths = [config.max_attention_width] * attention + [config.max_intermediate] * feed_forward
    return config.positions * chunks(max(widths), module.p_pe)


def probability_words(config: BatConfig, module: ModuleConfig) -> int:
    """Words of x that its probabilities take."""
    return config.heads * config.positions * chunks(config.positions, module.p_pe)


def key_words(config: BatConfig, module: ModuleConfig) -> int:
    """Words of the memory of keys and values that the keys of the longest sentence take."""
    groups = chunks(config.positions, module.p_dpu)
    return chunks(config.max_attention_width, module.p_pe) * groups * config.activation_bits


def value_words(config: BatConfig, module: ModuleConfig) -> int:
    """And those that the values take."""
    groups = chunks(config.head_width, module.p_dpu)
    return config.heads * groups * config.activation_bits * chunks(config.positions, module.p_pe)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
