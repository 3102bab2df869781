"""What can be told of a conversion without listening: duration, clipping, and the energy contour."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE, read
from speechvq.codec import Codec
from speechvq.corpus import place, read_manifest
from speechvq.sampler import Sampling

HOP = 160  # 10 ms
FLOOR = 1e-4  # -80 dB: below it, energy is noise


@dataclass(frozen=True)
class Comparison:
    """duration_difference in samples (converted minus source), the number of samples at full scale, the peak of
    the converted wav, and the correlation of the two energy contours (log energy in 10 ms frames, -1..1)."""

    duration_difference: int
    clipped: int
    peak: float
    energy_correlation: float


def compare(source: Tensor, converted: Tensor) -> Comparison:
    """source (T,) and converted (T',) at 16 kHz -> what was kept of the source."""
    frames = min(len(source), len(converted)) // HOP
    contours = [log_energy(wav[: frames * HOP].numpy()) for wav in (source, converted)]
    even = frames == 0 or any(contour.std() < 1e-6 for contour in contours)  # silence: nothing to correlate
    correlation = 0.0 if even else float(np.corrcoef(contours)[0, 1])
    level = converted.abs()
    clipped = int((level >= 32767 / 32768).sum())
    return Comparison(len(converted) - len(source), clipped, float(level.max()), correlation)


def log_energy(wav: np.ndarray) -> np.ndarray:
    """wav (F * 160,) -> log RMS (F,), smoothed over 50 ms: the contour of syllables, not of pitch periods."""
    if len(wav) < HOP:
        return np.zeros(0)
    power = np.square(wav.astype(np.float64)).reshape(-1, HOP).mean(1)
    smooth = np.convolve(power, np.ones(5) / 5, mode="same")
    return np.log(np.sqrt(smooth) + FLOOR)


def evaluate_conversion(
    codec: Codec, data: Path, speakers: Sequence[str], count: int, sampling: Sampling
) -> list[dict[str, Any]]:
    """Speak `count` test utterances of each speaker with every speaker's voice -> one row per result.

    A row is source utterance, speaker and `Comparison`. Utterances are chosen by a hash of their ids.
    """
    chosen = []
    for speaker in speakers:
        own = [u for u in read_manifest(data) if u.split == "test" and u.speaker == speaker]
        if not own:
            raise SpeechVQError(f"{data}: no test utterance of speaker '{speaker}'")
        chosen += sorted(own, key=lambda u: place(u.id))[:count]
    wavs = [read(data / utterance.path) for utterance in chosen]
    codes = [codec.encode(wav, SAMPLE_RATE) for wav in wavs]
    pairs = [(i, speaker) for i in range(len(chosen)) for speaker in speakers]
    made = codec.decode_many([codes[i] for i, _ in pairs], [speaker for _, speaker in pairs], sampling)
    return [
        {"utterance": chosen[i].id, "source": chosen[i].speaker, "speaker": speaker} | asdict(compare(wavs[i], wav))
        for (i, speaker), wav in zip(pairs, made, strict=True)
    ]


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Rows of `evaluate_conversion` -> figures of the reconstructions and of the conversions."""
    result = {}
    for name, same in (("reconstruction", True), ("conversion", False)):
        some = [row for row in rows if (row["source"] == row["speaker"]) == same]
        if some:
            correlations = [row["energy_correlation"] for row in some]
            result[name] = {
                "utterances": len(some),
                "duration_difference_max": max(abs(row["duration_difference"]) for row in some),
                "clipped_samples": sum(row["clipped"] for row in some),
                "energy_correlation_mean": float(np.mean(correlations)),
                "energy_correlation_min": min(correlations),
            }
    return result
