"""The device that a model computes on."""

import torch

from speechvq import SpeechVQError
from speechvq.codec.arguments import check_defaults

DEVICES = ("cpu", "cuda", "mps", "xpu")  # kinds; others of PyTorch cannot compute, or fail with its inner errors


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu" or "cuda:0".

    Raises SpeechVQError if it cannot be used, or as `check_defaults` does.
    """
    check_defaults()
    kind = str(name).partition(":")[0]
    if name is not None and kind not in DEVICES:
        raise SpeechVQError(f"device '{name}' cannot be used: devices are {', '.join(DEVICES)}")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch's message goes on about how to install drivers
        reason = str(error).partition(".")[0]
        raise SpeechVQError(f"device '{name}' cannot be used: {reason}") from None
