"""Scores of the mapping from codes to phones, from arrays of one code and one phone per frame.

Every code is mapped to its most likely phone. If the mapping is fitted and scored on the same frames, as in van den
Oord et al. 2017, the accuracy is the phone purity. The held-out accuracy uses a mapping fitted on other speakers.
Definitions: Lancucki et al. 2020 (mapping), Hsu et al. 2021 (HuBERT, section 4.2: purities, PNMI).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from speechvq import SpeechVQError
from speechvq.evaluate.metrics.resampling import Resampling

# With fewer frames even random codes fit their phones: measured in tests/test_phone_mapping.py.
ENOUGH_FRAMES = 100_000


@dataclass(frozen=True)
class Accuracy:
    """Shares of correctly predicted frames, from 0 to 1.

    same: fitted and scored on all frames
    held_out: fitted on some speakers, scored on the others
    low, high: bounds of 95 % of `held_out` when the scored speakers are resampled; NaN for a single one
    """

    same: float
    held_out: float
    low: float
    high: float


@dataclass(frozen=True)
class PhoneScores:
    """How well codes predict phones, and what the baselines reach on the same frames.

    frames: number of frames scored or fitted on
    fitted_frames: those of them that the mapping is fitted on
    codes: accuracy of the codes
    most_likely: baseline, all frames mapped to the most likely phone
    random: baseline, codes drawn at random by their frequency
    shuffled: baseline, the codes of each utterance in random order
    context: by number of neighbours on either side, held-out accuracy of the codes with these neighbours
    pnmi, pnmi_random: I(phone; code) / H(phone) of the codes and of the random codes
    phone_purity, code_purity: shares of frames in the most frequent phone of their code, and code of their phone
    one_to_one: accuracy if no two codes may stand for the same phone
    used_codes: number of codes that occur
    perplexity, entropy: of the distribution of codes; the entropy in bits
    """

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
        """Whether the mapping is fitted on enough frames to be trusted."""
        return self.fitted_frames >= ENOUGH_FRAMES


def phone_scores(
    codes: Sequence[np.ndarray],
    phones: Sequence[np.ndarray],
    speakers: Sequence[str],
    *,
    fit: Collection[str],
    silence: Collection[int] = (),
    widths: Sequence[int] = (1, 2),
    seed: int = 0,
) -> PhoneScores:
    """Score the mapping from codes to phones.

    codes, phones: for each utterance an integer array (frames,), from 0
    speakers: the speaker of each utterance
    fit: speakers whose frames the mapping is fitted on; the others are scored
    silence: phones whose frames are left out, though they remain in the context of other frames
    widths: numbers of neighbours on either side for `PhoneScores.context`
    seed: of the random codes and of the resampling

    Raises SpeechVQError if lengths differ, a number is negative, or no frames are left to fit or to score.
    """
    _check(codes, phones, speakers, fit)
    utterance = np.repeat(np.arange(len(codes)), [len(row) for row in codes])
    keep = np.concatenate([~np.isin(row, [*silence]) for row in phones])
    fitted = np.isin(np.asarray(speakers), [*fit])[utterance]
    speaker = np.unique(np.asarray(speakers), return_inverse=True)[1][utterance]
    code, phone = np.concatenate(codes), np.concatenate(phones)
    if not (keep & fitted).any() or not (keep & ~fitted).any():
        raise SpeechVQError("no frames to fit on, or none to score, once silence is left out")
    random = np.random.default_rng(seed)
    random_code = random.choice(code, len(code))
    shuffled_code = np.concatenate([random.permutation(row) for row in codes])
    frames = _Frames(phone[keep], speaker[keep], fitted[keep], random)
    counts = contingency(code[keep], phone[keep])
    shares = counts.sum(1) / counts.sum()
    return PhoneScores(
        frames=int(keep.sum()),
        fitted_frames=int((keep & fitted).sum()),
        codes=frames.accuracy(code[keep]),
        most_likely=frames.accuracy(np.zeros(keep.sum(), int)),
        random=frames.accuracy(random_code[keep]),
        shuffled=frames.accuracy(shuffled_code[keep]),
        context={width: frames.accuracy_in_context(_windows(codes, width)[keep], width) for width in widths},
        pnmi=pnmi(counts),
        pnmi_random=pnmi(contingency(random_code[keep], phone[keep])),
        phone_purity=float(counts.max(1).sum() / counts.sum()),
        code_purity=float(counts.max(0).sum() / counts.sum()),
        one_to_one=float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum()),
        used_codes=int((shares > 0).sum()),
        perplexity=float(2 ** entropy(shares)),
        entropy=entropy(shares),
    )


def contingency(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Count how often each pair of labels occurs together.

    rows, columns: integer arrays (frames,), from 0, such as codes and phones
    shape: of the result; by default as large as the labels need

    Returns counts (rows, columns).
    """
    shape = shape or (rows.max() + 1, columns.max() + 1)
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def most_likely_phones(counts: np.ndarray) -> np.ndarray:
    """Counts (codes, phones) -> the most likely phone of each code; an unused code gets the most likely of all."""
    phones: np.ndarray = np.where(counts.any(1), counts.argmax(1), counts.sum(0).argmax())
    return phones


def entropy(shares: np.ndarray) -> float:
    """The entropy in bits of a distribution."""
    positive = shares[shares > 0]
    return float((positive * -np.log2(positive)).sum())


def pnmi(counts: np.ndarray) -> float:
    """Phone-normalised mutual information I(phone; code) / H(phone) of counts (codes, phones); 1 for a single phone."""
    joint = counts / counts.sum()
    phone_entropy = entropy(joint.sum(0))
    information = phone_entropy + entropy(joint.sum(1)) - entropy(joint.ravel())
    return information / phone_entropy if phone_entropy else 1.0


class _Frames:
    """The frames that are scored: their phones, and which of them the mapping is fitted on."""

    def __init__(self, phone: np.ndarray, speaker: np.ndarray, fitted: np.ndarray, random: np.random.Generator) -> None:
        self.phone, self.fitted = phone, fitted
        self.scored_speaker = np.unique(speaker[~fitted], return_inverse=True)[1]
        self.resampling = Resampling(self.scored_speaker.max() + 1, random)

    def accuracy(self, code: np.ndarray) -> Accuracy:
        counts = contingency(code, self.phone)
        correct = self._mapping(code)[code[~self.fitted]] == self.phone[~self.fitted]
        held_out = self.resampling.share(np.bincount(self.scored_speaker, correct), np.bincount(self.scored_speaker))
        return Accuracy(float(counts.max(1).sum() / counts.sum()), held_out.value, held_out.low, held_out.high)

    def accuracy_in_context(self, windows: np.ndarray, width: int) -> float:
        """Held-out accuracy of windows (frames, 2 * width + 1); the widest context seen in fitting decides."""
        predicted = self._mapping(windows[:, width])[windows[~self.fitted, width]]
        for radius in range(1, width + 1):
            context = windows[:, width - radius : width + radius + 1]
            context_id = np.unique(context, axis=0, return_inverse=True)[1].ravel()
            seen = np.zeros(context_id.max() + 1, bool)
            seen[context_id[self.fitted]] = True
            scored_id = context_id[~self.fitted]
            predicted = np.where(seen[scored_id], self._mapping(context_id)[scored_id], predicted)
        return float((predicted == self.phone[~self.fitted]).mean())

    def _mapping(self, code: np.ndarray) -> np.ndarray:
        """The phone of every code up to the largest, fitted on the fitting frames."""
        shape = code.max() + 1, self.phone.max() + 1
        return most_likely_phones(contingency(code[self.fitted], self.phone[self.fitted], shape))


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
