"""What codes say about phones: a pure function of frame-level arrays.

Definitions: Lancucki et al. 2020 for the mapping, Hsu et al. 2021 (HuBERT, section 4.2) for purities and PNMI. Every
code is mapped to its most likely phone. Fitted and scored on the same frames, as in van den Oord et al. 2017, the
accuracy is the phone purity; held out, the mapping comes from other speakers.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from speechvq import SpeechVQError

RESAMPLINGS = 1000
ENOUGH = 100_000  # frames; with fewer, even random codes fit: measured in tests/test_phonemes.py


@dataclass(frozen=True)
class Accuracy:
    """Shares of right frames: fitted and scored on all of them, and fitted on some speakers and scored on others,
    with the interval in which 95 % of resamplings of these others lie (nan for a single one)."""

    same: float
    held_out: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """Of a set of frames; entropies in bits. `pnmi` is I(phone; code) / H(phone), `one_to_one` the accuracy where no
    two codes may stand for one phone, `context` the held-out accuracy by the codes around, each width alone being
    the number of frames on either side. Baselines: all frames the most likely phone; codes drawn at random by
    their frequency; the codes of an utterance in random order."""

    frames: int
    fitted_frames: int
    codes: Accuracy
    most_likely: Accuracy
    random: Accuracy
    shuffled: Accuracy
    context: dict[int, float]
    pnmi: float
    pnmi_random: float
    phone_purity: float
    code_purity: float
    one_to_one: float
    used_codes: int
    perplexity: float
    entropy: float

    @property
    def enough(self) -> bool:
        """Whether there are frames enough to trust a mapping fitted on these."""
        return self.fitted_frames >= ENOUGH


def score(
    codes: Sequence[np.ndarray],
    phones: Sequence[np.ndarray],
    speakers: Sequence[str],
    *,
    fit: Collection[str],
    silence: Collection[int] = (),
    widths: Sequence[int] = (1, 2),
    seed: int = 0,
) -> Score:
    """codes and phones: one array (frames,) of whole numbers from 0 for each utterance, equally long.

    speakers: that of each utterance. fit: those on whose frames the mapping is fitted; it is scored on the
    others'. Frames whose phone is in `silence` are left out, but remain in the context of others. SpeechVQError where
    lengths differ, there is nothing to fit or to score, or a number is negative.
    """
    _check(codes, phones, speakers, fit)
    spoken = [~np.isin(row, [*silence]) for row in phones]
    places = np.repeat(np.arange(len(codes)), [len(row) for row in codes])
    keep, fitted = np.concatenate(spoken), np.isin(np.asarray(speakers), [*fit])[places]
    code, phone = np.concatenate(codes), np.concatenate(phones)
    speaker = np.unique(np.asarray(speakers), return_inverse=True)[1][places]
    if not (keep & fitted).any() or not (keep & ~fitted).any():
        raise SpeechVQError("no frames to fit on, or none to score, once silence is left out")
    random = np.random.default_rng(seed)
    rates = random.choice(code, len(code))
    mixed = np.concatenate([random.permutation(row) for row in codes])
    frames = _Frames(phone[keep], speaker[keep], fitted[keep], random)
    counts = table(code[keep], phone[keep])
    shares = counts.sum(1) / counts.sum()
    return Score(
        frames=int(keep.sum()),
        fitted_frames=int((keep & fitted).sum()),
        codes=frames.accuracy(code[keep]),
        most_likely=frames.accuracy(np.zeros(keep.sum(), int)),
        random=frames.accuracy(rates[keep]),
        shuffled=frames.accuracy(mixed[keep]),
        context={width: frames.in_context(_windows(codes, width)[keep], width) for width in widths},
        pnmi=pnmi(counts),
        pnmi_random=pnmi(table(rates[keep], phone[keep])),
        phone_purity=float(counts.max(1).sum() / counts.sum()),
        code_purity=float(counts.max(0).sum() / counts.sum()),
        one_to_one=float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum()),
        used_codes=int((shares > 0).sum()),
        perplexity=float(2 ** entropy(shares)),
        entropy=entropy(shares),
    )


def table(codes: np.ndarray, phones: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """codes and phones (frames,) -> how often they meet, (codes, phones), as large as they need or of a `shape`."""
    shape = shape or (codes.max() + 1, phones.max() + 1)
    return np.bincount(codes * shape[1] + phones, minlength=shape[0] * shape[1]).reshape(shape)


def mapping(counts: np.ndarray) -> np.ndarray:
    """Counts (codes, phones) -> the most likely phone of each code; of a code that never was, the most likely one."""
    return np.where(counts.any(1), counts.argmax(1), counts.sum(0).argmax())


def entropy(shares: np.ndarray) -> float:
    """Of a distribution, in bits."""
    some = shares[shares > 0]
    return float((some * -np.log2(some)).sum())


def pnmi(counts: np.ndarray) -> float:
    """Counts (codes, phones) -> I(phone; code) / H(phone); 1 where there is but one phone."""
    joint = counts / counts.sum()
    of_phones = entropy(joint.sum(0))
    return (of_phones + entropy(joint.sum(1)) - entropy(joint.ravel())) / of_phones if of_phones else 1.0


class _Frames:
    """Frames whose phones are to be told: what they are, who speaks, and which the mapping is fitted on."""

    def __init__(self, phone: np.ndarray, speaker: np.ndarray, fitted: np.ndarray, random: np.random.Generator) -> None:
        self.phone, self.fitted = phone, fitted
        self.others = np.unique(speaker[~fitted], return_inverse=True)[1]
        size = self.others.max() + 1
        self.draws = random.multinomial(size, np.full(size, 1 / size), RESAMPLINGS)

    def accuracy(self, code: np.ndarray) -> Accuracy:
        counts = table(code, self.phone)
        right = self._mapping(code)[code[~self.fitted]] == self.phone[~self.fitted]
        by_speaker = np.bincount(self.others, right), np.bincount(self.others)
        resampled = (self.draws @ by_speaker[0]) / (self.draws @ by_speaker[1])
        low, high = np.percentile(resampled, [2.5, 97.5]) if len(by_speaker[0]) > 1 else (math.nan, math.nan)
        return Accuracy(float(counts.max(1).sum() / counts.sum()), float(right.mean()), float(low), float(high))

    def in_context(self, windows: np.ndarray, width: int) -> float:
        """windows (frames, 2 * width + 1): the widest context that was seen in fitting decides."""
        told = self._mapping(windows[:, width])[windows[~self.fitted, width]]
        for radius in range(1, width + 1):
            own = windows[:, width - radius : width + radius + 1]
            key = np.unique(own, axis=0, return_inverse=True)[1].ravel()
            seen = np.zeros(key.max() + 1, bool)
            seen[key[self.fitted]] = True
            known = seen[key[~self.fitted]]
            told[known] = self._mapping(key)[key[~self.fitted]][known]
        return float((told == self.phone[~self.fitted]).mean())

    def _mapping(self, code: np.ndarray) -> np.ndarray:
        """The phone of every code up to the largest, by the fitting frames."""
        shape = code.max() + 1, self.phone.max() + 1
        return mapping(table(code[self.fitted], self.phone[self.fitted], shape))


def _windows(codes: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Each code with `width` neighbours on either side, (frames, 2 * width + 1); -1 outside of its utterance."""
    padded = [np.pad(row, width, constant_values=-1) for row in codes]
    return np.concatenate([np.lib.stride_tricks.sliding_window_view(row, 2 * width + 1) for row in padded])


def _check(
    codes: Sequence[np.ndarray], phones: Sequence[np.ndarray], speakers: Sequence[str], fit: Collection[str]
) -> None:
    if not len(codes) == len(phones) == len(speakers):
        raise SpeechVQError(f"{len(codes)} utterances of codes, {len(phones)} of phones, {len(speakers)} speakers")
    for i, (code, phone) in enumerate(zip(codes, phones, strict=True)):
        if len(code) != len(phone):
            raise SpeechVQError(f"utterance {i} has {len(code)} codes and {len(phone)} phones")
        if len(code) and min(code.min(), phone.min()) < 0:
            raise SpeechVQError(f"utterance {i}: codes and phones are whole numbers from 0")
    if not set(speakers) & set(fit) or not set(speakers) - set(fit):
        raise SpeechVQError(f"speakers to fit on and others to score are needed; to fit: {', '.join(sorted(fit))}")
