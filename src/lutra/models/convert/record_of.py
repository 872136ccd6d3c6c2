"""What was done to a converted model: kept with the model, written beside its weights, enough to do it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError
from torch import nn

from lutra.errors import ConversionError, RecipeError
from lutra.escape import brief
from lutra.models.convert.plan import Found, found_from_json
from lutra.recipes.language import BlockConfig
from lutra.recipes.sections import validate
from lutra.runs.schemas.conversion import Found as FoundRow
from lutra.runs.schemas.values import Seed
from lutra.schema import Strict, explain

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Converted:
    """One row of a plan that was carried out: with which blocks, drawn from which seed."""

    row: Found
    config: BlockConfig
    seed: int
    massive: bool = False
    """Whether the block stands in a `Massive`, which gives massive tokens a row of their own."""
    token_table: bool = False
    """Whether the block stands in a `TokenTable`, which adds a row for the token's id."""


class _ConvertedRow(Strict):
    """One entry of `converted` in lutra.json."""

    row: FoundRow
    block: dict[str, object]
    """A `BlockConfig`, which reads it."""
    seed: Seed
    massive: bool
    token_table: bool = False


@dataclass(frozen=True)
class Conversion:
    """All that was done to a model, in order."""

    converted: tuple[Converted, ...]

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "row": asdict(each.row),
                "block": each.config.model_dump(mode="json"),
                "seed": each.seed,
                "massive": each.massive,
                "token_table": each.token_table,
            }
            for each in self.converted
        ]
        return {"format_version": FORMAT_VERSION, "converted": rows}

    @staticmethod
    def from_json(tree: Any, source: str) -> Conversion:
        """Raises ConversionError if `tree` is not what `to_json` gives; names `source`."""
        try:
            tree = json.loads(json.dumps(tree))  # tuples in memory are lists in a file
            if type(tree["format_version"]) is not int or tree["format_version"] != FORMAT_VERSION:
                found = brief(repr(tree["format_version"]), 40)
                raise ConversionError(f"{source}: format version {found}, this Lutra reads {FORMAT_VERSION}")
            rows = [_converted(each, source) for each in tree["converted"]]
        except ValidationError as error:
            raise ConversionError(f"{source}: does not say how a model was converted ({explain(error)})") from None
        except (KeyError, TypeError, AttributeError, ValueError, RecipeError) as error:
            raise ConversionError(f"{source}: does not say how a model was converted ({brief(str(error))})") from None
        return Conversion(tuple(rows))


def _converted(tree: Any, source: str) -> Converted:
    described = _ConvertedRow.model_validate(tree)
    config = validate(BlockConfig, described.block, source)
    return Converted(found_from_json(tree["row"]), config, described.seed, described.massive, described.token_table)


def conversion_of(model: nn.Module) -> Conversion | None:
    """What `replace_mlp` did to a model, if it did."""
    found = getattr(model, "lutra_conversion", None)
    return found if isinstance(found, Conversion) else None
