"""The contract between a model and the training loop."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from speechvq import SpeechVQError


class Trainable(nn.Module):
    """A module that the loop can train. It gives losses by name for each optimizer, and figures on held-out batches.

    turns: names of the optimizers, in the order in which they step on every batch.
    """

    turns: tuple[str, ...] = ("model",)

    def __init__(self) -> None:
        super().__init__()
        self.frozen: list[nn.Module] = []

    @property
    def reconstruction(self) -> str:
        """The name of the loss that `held_out` reports, without the others, as `loss`."""
        raise NotImplementedError

    @property
    def exported(self) -> "Trainable":
        """The part that is averaged, measured and written as the trained model, without a critic for example."""
        return self

    def parameters_of(self, turn: str) -> Iterable[nn.Parameter]:
        """The parameters that the optimizer of a turn changes."""
        return self.parameters()

    def forward(self, batch: Any, turn: str = "model") -> dict[str, Tensor]:
        """The weighted losses (scalars) of a batch by name; the optimizer of `turn` minimises their sum."""
        raise NotImplementedError

    def held_out(self, batches: Iterable[Any]) -> dict[str, float]:
        """Figures on held-out batches, in evaluation mode. The weights with the lowest `loss` are kept."""
        raise NotImplementedError

    def concerns(self, figures: dict[str, float]) -> list[str]:
        """Warnings about a trained model with these held-out figures, one sentence each."""
        return []

    def freeze(self, parts: Iterable[str]) -> None:
        """Stop training the submodules of these dotted names. They get no gradient and stay in evaluation mode.

        Raises SpeechVQError if there is no such submodule.
        """
        for name in parts:
            module = submodule(self, name)
            module.requires_grad_(False).eval()
            self.frozen.append(module)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the frozen parts."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The submodule of a dotted name.

    Raises SpeechVQError, with the names that there are, if it is unknown.
    """
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = ", ".join(key for key, _ in model.named_modules() if key and key.count(".") < 2)
        raise SpeechVQError(f"the model has no part '{name}'; its parts: {known}") from None


def total(losses: dict[str, Tensor]) -> Tensor:
    """The sum of weighted losses, which an optimizer minimises."""
    return torch.stack([*losses.values()]).sum()
