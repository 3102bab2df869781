"""An encoded utterance, and the number of its random stream."""

import hashlib
from dataclasses import dataclass

from torch import Tensor

from speechvq.folder.card import Alphabet


@dataclass(frozen=True)
class Encoded:
    """An encoded utterance.

    codes: (N,) int64.
    samples: length of the utterance at 16 kHz.
    alphabet: the model whose codes they are.
    speaker: the speaker to decode it with; '' if none is given.
    lost: ranges (first, end) of codes that a damaged file does not hold; these codes are 0.
    pitch: that of the recording, (F,) in Hz by frame of the decoder; None if it is not kept.
    melody: that of the recording, (M,) in semitones from the mean pitch (see `codec.melody`), NaN where a damaged file
        does not hold it; None if it is not kept.
    """

    codes: Tensor
    samples: int
    alphabet: Alphabet
    speaker: str = ""
    lost: tuple[tuple[int, int], ...] = ()
    pitch: Tensor | None = None
    melody: Tensor | None = None


def stream_number(codes: Tensor) -> int:
    """The number (64 bits) of the random stream with which codes (N,) are decoded: a hash of them."""
    return int.from_bytes(hashlib.blake2b(codes.cpu().numpy().tobytes(), digest_size=8).digest(), "little")
