"""Channels to one."""

import numpy as np

from speechvq.audio.decoding.libsndfile import warn

CANCELLED = 0.01  # a mean with less than this share of the channels' power cancels them
SILENT = 1e-10  # mean square below which nothing can be said


class Downmix:
    """The mean of the channels; but where they cancel each other, as of opposite phases, the loudest channel.

    Which of the two is decided where a recording's sound begins, and stays.

    name: of the recording, in the warning.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.channel: int | None = None
        self._is_decided = False

    def __call__(self, piece: np.ndarray) -> np.ndarray:
        """piece (T, channels) -> (T,)."""
        self.decide(piece)
        mixed: np.ndarray = piece.mean(1) if self.channel is None else np.ascontiguousarray(piece[:, self.channel])
        return mixed

    def decide(self, piece: np.ndarray) -> None:
        """Choose by a piece (T, channels), if that has not been done."""
        if self._is_decided or piece.shape[1] == 1:
            return
        powers = np.square(piece, dtype=np.float64).mean(0)
        if powers.mean() < SILENT:
            return
        self._is_decided = True
        if np.square(piece.mean(1), dtype=np.float64).mean() < CANCELLED * powers.mean():
            self.channel = int(powers.argmax())
            taken = f"channel {self.channel + 1} is taken instead of their mean"
            warn(f"{self.name}: the channels cancel each other; {taken}")
