"""Mu-law companding (the curve of ITU-T G.711, without its segments): 256 classes of samples, finer near zero."""

import torchaudio.functional as AF
from torch import Tensor

MU_CLASSES = 256


def mulaw_encode(wav: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """wav (...) in [-1, 1] -> classes (...) int64."""
    encoded: Tensor = AF.mu_law_encoding(wav.float().clamp(-1, 1), classes)
    return encoded


def mulaw_decode(codes: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """Classes (...) -> wav (...) in [-1, 1], which `mulaw_encode` turns into the same classes again."""
    wav: Tensor = AF.mu_law_decoding(codes, classes)
    return wav
