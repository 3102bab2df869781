"""Mu-law companding (the curve of ITU-T G.711, without its segments): 256 classes of samples, finer near zero."""

import torch
from torch import Tensor

MU_CLASSES = 256


def mulaw_encode(wav: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """wav (...) in [-1, 1] -> classes (...) int64."""
    x, mu = wav.float().clamp(-1, 1), torch.tensor(classes - 1.0)
    compressed = torch.sign(x) * torch.log1p(mu * torch.abs(x)) / torch.log1p(mu)
    return ((compressed + 1) / 2 * mu + 0.5).to(torch.int64)


def mulaw_decode(codes: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """Classes (...) -> wav (...) in [-1, 1], which `mulaw_encode` turns into the same classes again."""
    mu = torch.tensor(classes - 1.0)
    compressed = codes.float() / mu * 2 - 1.0
    return torch.sign(compressed) * (torch.exp(torch.abs(compressed) * torch.log1p(mu)) - 1.0) / mu
