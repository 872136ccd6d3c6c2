"""`replace_mlp`: carry out a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from lutra.errors import ConversionError
from lutra.models.convert import hugging_face
from lutra.models.convert.carry import carry_out, put_modules
from lutra.models.convert.places import Nothing, Surgery
from lutra.models.convert.plan import Found, Plan, matches
from lutra.models.convert.record_of import Converted, conversion_of
from lutra.recipes.language import BlockConfig

Overrides = Mapping[str, BlockConfig | None]
"""A configuration by path, or by `re:` and a regular expression, and for all others under `_default`."""


def replace_mlp(
    model: nn.Module,
    plan: Plan,
    config: BlockConfig | Overrides | None = None,
    seed: int = 0,
    massive: bool = False,
    token_tables: bool = False,
) -> tuple[Found, ...]:
    """Put weightless blocks into the places of a plan of `find_mlps`, in place, everywhere a module is used.

    `config` is for all blocks, or a dictionary: an exact path goes first, then the first `re:` expression that matches
    the whole path, then `_default`, then `BlockConfig()`; None leaves a place alone. Blocks take over device, mode and
    the type of what they are given; they must see data once: `lutra.calibrate_(model, batches)`. With `massive`, tokens
    whose result is massive may be given a row of their own (`fit_` finds them). With `token_tables` a row for the
    token's id is added to every block's result (`fit_` fills them): a ROM of vocabulary times outputs bytes each.

    Returns: the rows of the plan that were carried out.

    Raises:
        ConversionError: the plan is of another model or has been carried out already; a key of `config` names nothing;
            there is nothing to convert; token tables for a model without token ids, or for experts, which see only
            some of the tokens. The model is as before then.
    """
    if not isinstance(plan, Plan):
        raise ConversionError("replace_mlp needs a plan: replace_mlp(model, lutra.find_mlps(model, *example), config)")
    rows = [(row, found) for row in plan.converted if (found := _config_of(row, plan, config)) is not None]
    if not rows:
        raise ConversionError(f"{plan.model}: the plan converts nothing; print it for the reasons")
    _check_fits(model, plan)
    start = sum(len(each.row.block_paths) for each in _earlier(model))
    converted: list[Converted] = []
    for row, block_config in rows:
        if token_tables and row.form in ("experts", "fused_experts"):
            raise ConversionError(f"{row.path}: an expert sees only some of the tokens; no token table can stand there")
        row = replace(row, block_paths=tuple(path + ".block" * (massive + token_tables) for path in row.block_paths))
        converted.append(Converted(row, block_config, seed + start, massive, token_tables))
        start += len(row.block_paths)
    carry_out(model, converted)
    if hugging_face.is_hugging_face(model):
        hugging_face.mark(model)
    return tuple(row for row, _ in rows)


def _earlier(model: nn.Module) -> tuple[Converted, ...]:
    conversion = conversion_of(model)
    return conversion.converted if conversion else ()


def _config_of(row: Found, plan: Plan, config: BlockConfig | Overrides | None) -> BlockConfig | None:
    if config is None or isinstance(config, BlockConfig):
        return config or BlockConfig()
    for key, value in config.items():
        if key != "_default":
            plan.matching(key)
        if value is not None and not isinstance(value, BlockConfig):
            raise ConversionError(f"config[{key!r}]: a BlockConfig or None, got a {type(value).__name__}")
    paths = (row.path, *row.aliases)
    for path in paths:
        if path in config:
            return config[path]
    for key, value in config.items():
        if key.startswith("re:") and any(matches(key, path) for path in paths):
            return value
    return config.get("_default", BlockConfig())


def _check_fits(model: nn.Module, plan: Plan) -> None:
    """The plan must be of this model, as it is now."""
    there = dict(model.named_parameters(remove_duplicate=False))
    for row in plan.converted:
        missing = [name for name in row.parameters if name not in there]
        if missing or type(model).__name__ != plan.model:
            what = f"{missing[0]} is not there" if missing else f"this is a {type(model).__name__}"
            raise ConversionError(f"the plan of a {plan.model} does not fit the model: {what}; make the plan again")


def remove_mlps(model: nn.Module, plan: Plan) -> None:
    """Put nothing (zeros) into the places of a plan, in place: the model without feed-forward parts.

    Healed in the same way it is the baseline of a conversion.

    Raises:
        ConversionError: the plan is of another model or converts nothing.
    """
    if not plan.converted:
        raise ConversionError(f"{plan.model}: the plan converts nothing; print it for the reasons")
    _check_fits(model, plan)
    surgery = Surgery(model)
    for row in plan.converted:
        put_modules(surgery, row, [Nothing(row.outputs) for _ in row.block_paths])
