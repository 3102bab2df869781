"""Losses on what is predicted for other speakers than those of a batch, of whom there is no recording of its words."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from speechvq.audio import source_filter as source
from speechvq.nn.distributed import all_rows, rank_and_count

CLASSIFIER_CHANNELS = 128
LEAST_VARIANCE = 1e-4  # of a channel of the classifier over time, so that a constant one has a gradient


class SpeakerClassifier(nn.Module):
    """Log-mel (B, M, F), scaled to a deviation of about 1, to the logits of speakers (B, S).

    Three convolutions over time, the mean and the deviation of their output, and a linear layer, in the manner of
    x-vectors (Snyder et al. 2018).
    """

    def __init__(self, bands: int, speakers: int) -> None:
        super().__init__()
        width = CLASSIFIER_CHANNELS
        self.frames = nn.Sequential(
            nn.Conv1d(bands, width, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 5, dilation=2, padding=4),
            nn.GELU(),
        )
        self.output = nn.Linear(2 * width, speakers)

    def forward(self, mel: Tensor) -> Tensor:
        frames = self.frames(mel).float()
        deviation = (frames.var(2, correction=0) + LEAST_VARIANCE).sqrt()
        logits: Tensor = self.output(torch.cat([frames.mean(2), deviation], 1))
        return logits

    def learn(self, natural: Tensor, predicted: Tensor, speaker: Tensor) -> Tensor:
        """The loss by which it learns.

        natural: (B, M, F), of recordings.
        predicted: the same, what a decoder predicts for their speakers.
        speaker: (B,) int64.
        """
        both = torch.cat([natural, predicted.detach()])
        return F.cross_entropy(self(both), speaker.repeat(2))

    def judge(self, predicted: Tensor, speaker: Tensor) -> Tensor:
        """How far predictions (B, M, F) are from being taken for speakers (B,); the classifier gets no gradient."""
        fixed = {name: weight.detach() for name, weight in self.named_parameters()}
        return F.cross_entropy(functional_call(self, fixed, (predicted,)), speaker)


def transposed_pitch(pitch: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
    """The pitch of each row of a batch as the speaker of the row before might have it.

    The contour is the row's own, moved by a constant to the mean of the row before, of logarithms in voiced frames.

    pitch, voiced: (B, F) (see `source_filter.pitch`).

    Returns the pitch (B, F), and which of its frames are voiced (B, F): none if one of the two rows has none.
    """
    mean = (pitch.log() * voiced).sum(1) / voiced.sum(1).clamp(min=1)
    other_mean, other_voiced = row_before(mean), row_before(voiced.any(1))
    moved = (pitch * (other_mean - mean).exp()[:, None]).clamp(source.MIN_PITCH, source.MAX_PITCH)
    return moved, voiced & other_voiced[:, None]


def row_before(rows: Tensor) -> Tensor:
    """Of rows (B, ...) the one before each, in the batch of all processes; no gradient."""
    rank, count = rank_and_count()
    return all_rows(rows).roll(1, 0)[rank::count]
