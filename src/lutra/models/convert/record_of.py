"""What was done to a converted model: kept with the model, written beside its weights, enough to do it again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from lutra.errors import ConversionError, RecipeError
from lutra.models.convert.plan import Found, found_from_json
from lutra.recipes.language import BlockConfig
from lutra.recipes.sections import validate

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Converted:
    """One row of a plan that was carried out: with which blocks, drawn from which seed."""

    row: Found
    config: BlockConfig
    seed: int
    massive: bool = False
    """Whether the block stands in a `Massive`, which gives massive tokens a row of their own."""


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
            }
            for each in self.converted
        ]
        return {"format_version": FORMAT_VERSION, "converted": rows}

    @staticmethod
    def from_json(tree: Any, source: str) -> Conversion:
        """Raises ConversionError if `tree` is not what `to_json` gives; names `source`."""
        try:
            if tree["format_version"] != FORMAT_VERSION:
                raise ConversionError(
                    f"{source}: format version {tree['format_version']!r}, this Lutra reads {FORMAT_VERSION}"
                )
            rows = [_converted(each, source) for each in tree["converted"]]
        except (KeyError, TypeError, AttributeError, ValueError, RecipeError) as error:
            raise ConversionError(f"{source}: does not say how a model was converted ({error})") from None
        return Conversion(tuple(rows))


def _converted(tree: Any, source: str) -> Converted:
    config = validate(BlockConfig, tree["block"], source)
    return Converted(found_from_json(tree["row"]), config, int(tree["seed"]), bool(tree["massive"]))


def conversion_of(model: nn.Module) -> Conversion | None:
    """What `replace_mlp` did to a model, if it did."""
    found = getattr(model, "lutra_conversion", None)
    return found if isinstance(found, Conversion) else None
