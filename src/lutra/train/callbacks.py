"""Our training inside of Hugging Face's Trainer and of Lightning: constraints after every step, integers at the end.

Both want the optimiser `torch.optim.AdamW(lutra.parameter_groups(model))`, and follow the learning rates that they are
given: those of our own loop are `lutra.learning_rates(optimiser, steps)`.
"""

from __future__ import annotations

import importlib
from typing import Any

from lutra.errors import InputError
from lutra.recipes.language import TrainConfig
from lutra.train.parts import constrain_, quantise_, quantised_from

_FRACTION = TrainConfig().quantise_fraction


def trainer_callback(quantised: float = _FRACTION) -> Any:
    """A callback for `transformers.Trainer`: `Trainer(..., callbacks=[lutra.trainer_callback()])`.

    The last `quantised` fraction of the steps trains with integers. With `load_best_model_at_end`, choose a metric that
    is measured in that part: checkpoints before it hold blocks that have not been trained as integers.

    Raises:
        InputError: transformers is not installed.
    """
    transformers = _import("transformers")

    class LutraCallback(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        """Keeps tables in range after every step, and switches to integers for the end."""

        def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if model is not None and state.global_step >= quantised_from(state.max_steps, quantised):
                quantise_(model)

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if model is not None:
                constrain_(model)

        def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if model is not None and quantised > 0:
                quantise_(model)

    return LutraCallback()


def lightning_callback(quantised: float = _FRACTION) -> Any:
    """The same for Lightning: `Trainer(..., callbacks=[lutra.lightning_callback()])`; needs a known number of steps.

    Raises:
        InputError: Lightning is not installed.
    """
    lightning = _import("lightning.pytorch", "pytorch_lightning")

    class LutraCallback(lightning.Callback):  # type: ignore[misc,name-defined]
        """Keeps tables in range after every step, and switches to integers for the end."""

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            steps = trainer.estimated_stepping_batches
            if steps == float("inf"):
                raise InputError("lutra's callback needs max_steps or max_epochs, to know where the end begins")
            if trainer.global_step >= quantised_from(int(steps), quantised):
                quantise_(pl_module)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            constrain_(pl_module)

    return LutraCallback()


def _import(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise InputError(f"{names[0].partition('.')[0]} is not installed; pip install {names[0].partition('.')[0]}")
