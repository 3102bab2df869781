"""The device that a model computes on."""

import torch

from speechvq import SpeechVQError


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu" or "cuda:0".

    Raises SpeechVQError if it cannot be used.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch's message goes on about how to install drivers
        reason = str(error).partition(".")[0]
        raise SpeechVQError(f"device '{name}' cannot be used: {reason}") from None
