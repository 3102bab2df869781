"""Mu-law companding: 256 classes of samples, finer near zero."""

import torchaudio.functional as AF
from torch import Tensor

MU_CLASSES = 256


def mulaw_encode(wav: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """wav in [-1, 1] -> classes (int64), finer near zero (ITU-T G.711's curve, without its segments)."""
    return AF.mu_law_encoding(wav.float().clamp(-1, 1), classes)


def mulaw_decode(codes: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """Classes -> wav in [-1, 1]; `mulaw_encode` gives the same classes again."""
    return AF.mu_law_decoding(codes, classes)
