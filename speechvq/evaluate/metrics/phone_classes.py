"""Accuracy by class of phone (vowels, stops, ...), and what each code means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechvq.evaluate.metrics.resampling import Resampling, Share
from speechvq.text.phones import PHONE_CLASSES


@dataclass(frozen=True)
class ClassScore:
    """The scored frames of one class of phones.

    frames: their number
    phone: share of which the phone is predicted
    phone_class: share of which some phone of the class is predicted
    """

    frames: int
    phone: Share
    phone_class: Share


@dataclass(frozen=True)
class CodeMeaning:
    """The phones of the frames of one code, silence among them.

    code: its number
    frames: number of its frames
    share: of all frames
    phone: its most frequent phone
    phone_share: share of that phone in the code's frames
    runner_up: its second phone; '' if it has no other
    runner_up_share: share of that phone in the code's frames
    """

    code: int
    frames: int
    share: float
    phone: str
    phone_share: float
    runner_up: str
    runner_up_share: float


def class_scores(confusion: np.ndarray, phones: Sequence[str], seed: int = 0) -> dict[str, ClassScore]:
    """The scores of each class that occurs.

    confusion: (speakers, phones, phones), frames by speaker, phone and predicted phone
    phones: names of the phones
    seed: of the resampling of speakers
    """
    resampling = Resampling(len(confusion), np.random.default_rng(seed))
    right = np.diagonal(confusion, axis1=1, axis2=2)
    found = {}
    for name, members in PHONE_CLASSES.items():
        own = np.isin(phones, members)
        frames = confusion[:, own].sum((1, 2))
        if frames.any():
            in_class = confusion[:, own][:, :, own].sum((1, 2))
            shares = (resampling.share(part, frames) for part in (right[:, own].sum(1), in_class))
            found[name] = ClassScore(int(frames.sum()), *shares)
    return found


def code_meanings(counts: np.ndarray, phones: Sequence[str]) -> list[CodeMeaning]:
    """The meaning of each code that occurs, the most frequent first.

    counts: (codes, phones), frames
    phones: names of the phones
    """
    frames = counts.sum(1)
    order = np.argsort(-frames, kind="stable")
    ranked = np.argsort(-counts, 1, kind="stable")
    shares = counts / np.maximum(frames, 1)[:, None]
    rows = []
    for code in order[: np.count_nonzero(frames)]:
        first, second = ranked[code, 0], ranked[code, min(1, len(phones) - 1)]
        two = counts[code, second] > 0 and second != first
        rows.append(
            CodeMeaning(
                code=int(code),
                frames=int(frames[code]),
                share=float(frames[code] / frames.sum()),
                phone=phones[first],
                phone_share=float(shares[code, first]),
                runner_up=phones[second] if two else "",
                runner_up_share=float(shares[code, second]) if two else 0.0,
            )
        )
    return rows
