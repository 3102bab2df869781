"""Log-mel spectrograms of a prepared corpus, computed once and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio.features import LogMel
from speechvq.audio.io import read
from speechvq.config import INPUT_HOPS
from speechvq.config.guarded import LIBRARY_ERRORS
from speechvq.data.manifest import Utterance, read_manifest, utterances_digest
from speechvq.files import atomic_write
from speechvq.progress import progress

FEATURES = "features"
FRAMES = 4  # an utterance is padded to a multiple of so many: whole codes at 50 and 25 Hz


@dataclass(frozen=True)
class FeatureStore:
    """Log-mel frames of utterances, one behind the other, those of a split and a speaker together.

    frames: (F, 80) float16, memory-mapped; nats.
    utterances: in the order of their frames.
    starts: (utterances + 1,) where each begins in `frames`, and the end.
    """

    frames: np.ndarray
    utterances: tuple[Utterance, ...]
    starts: np.ndarray
    hop_length = INPUT_HOPS["logmel"]  # samples

    def features(self, number: int) -> Tensor:
        """The log-mel frames of an utterance, (1, 80, F) float32."""
        rows = np.array(self.frames[self.starts[number] : self.starts[number + 1]], np.float32)
        return torch.from_numpy(rows).T[None]

    def check_hop(self, hop_length: int) -> None:
        """Raise SpeechVQError if utterances do not begin with a whole latent of `hop_length` samples."""
        if FRAMES * self.hop_length % hop_length:
            raise SpeechVQError(
                f"latents of {hop_length} samples do not divide {FRAMES} frames of features (the strides)"
            )

    def spans(self, split: str) -> list[tuple[int, int]]:
        """Where the speech of each speaker of a split begins and ends in `frames`."""
        found: dict[str, tuple[int, int]] = {}
        for utterance, start, end in zip(self.utterances, self.starts[:-1], self.starts[1:], strict=True):
            if utterance.split == split:
                found[utterance.speaker] = found.get(utterance.speaker, (int(start), 0))[0], int(end)
        return list(found.values())


def feature_store(data: Path) -> FeatureStore:
    """The log-mel frames of the corpus prepared in `data`: 80 bands, 25 ms windows, every 10 ms.

    Computed at the first call and kept in `data/features`, for as long as the utterances, their audio and the front
    end stay the same.
    Raises SpeechVQError if an utterance cannot be read.
    """
    utterances = sorted(read_manifest(data), key=lambda u: (u.split, u.speaker, u.id))
    lengths = [-(-u.samples // (FeatureStore.hop_length * FRAMES)) * FRAMES for u in utterances]
    starts = np.cumsum([0, *lengths])
    mel = LogMel()
    front_end = f"logmel-{mel.hop}-{mel.receptive_field}-{mel.channels}-{FRAMES}"
    path = data / FEATURES / f"{front_end}-{utterances_digest(data, utterances)}.npy"
    if not path.is_file():
        _compute(path, data, utterances, starts)
    try:
        frames = np.load(path, mmap_mode="r")
    except (EOFError, OverflowError, SyntaxError, TokenError, *LIBRARY_ERRORS):
        frames = np.empty(0)  # cut off, or damaged
    if frames.shape != (starts[-1], mel.channels) or frames.dtype != np.float16:
        raise SpeechVQError(f"{path}: not the features of this corpus; remove it")
    return FeatureStore(frames, tuple(utterances), starts)


@torch.inference_mode()
def _compute(path: Path, data: Path, utterances: Sequence[Utterance], starts: np.ndarray) -> None:
    mel = LogMel()
    layout = {"descr": "<f2", "fortran_order": False, "shape": (int(starts[-1]), mel.channels)}
    # Not memory-mapped: a full disk would end the process without a word.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, layout)
        for i, utterance in enumerate(progress(utterances, unit="utterance")):
            wav = read(data / utterance.path)
            padded = F.pad(wav, (0, int(starts[i + 1] - starts[i]) * mel.hop - len(wav)))
            file.write(mel(padded[None])[0].T.to(torch.float16).numpy().tobytes())
