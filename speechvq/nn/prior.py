"""The prior p(codes), a WaveNet over the codes of any model."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import PriorConfig
from speechvq.config.shapes import check_number
from speechvq.nn.distributed import drawn_rows, over_all, rank_and_count
from speechvq.nn.trainable import Trainable
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances

PADDING = -1  # in place of a code that is not there
IMPOSSIBLE = -1e4  # bias of a class that is never drawn; nats
HIGHEST_TEMPERATURE = 100.0  # of drawing codes; from 115 on the weight of that class would not be 0


class Windows(NamedTuple):
    """Windows of codes.

    codes: (B, N + 1) int64, the code before the window or the start class, then N codes to predict, padded at the end
        with `PADDING`.
    speaker: (B,) int64.
    """

    codes: Tensor
    speaker: Tensor


class Prior(Trainable):
    """p(code | earlier codes, speaker), and the same for an unknown speaker.

    codes: K; class K stands for the start and is never drawn.
    speakers: S; embedding S is the unknown speaker's.
    """

    def __init__(self, config: PriorConfig, codes: int, speakers: int) -> None:
        super().__init__()
        self.codes, self.unknown_speaker = codes, speakers
        self.hidden_share, self.corrupt = config.anyone, config.corrupt
        self.speakers = nn.Embedding(speakers + 1, config.speaker_dim)
        self.net = WaveNet(config.wavenet, codes + 1, 0, config.speaker_dim)
        self.baselines: dict[str, float] = {}
        with torch.no_grad():
            last = self.net.head[-1]
            assert isinstance(last, nn.Linear)
            last.bias[codes] = IMPOSSIBLE  # its probability and its gradient are exactly 0, so that it stays

    def logits(self, before: Tensor, speaker: Tensor) -> Tensor:
        """The code before each, (B, N), and speaker (B,) -> logits (B, N, K + 1)."""
        logits: Tensor = self.net(before, self.net.table(None, self.speakers(speaker)))
        return logits

    reconstruction = "nll"

    def forward(self, batch: Windows, turn: str = "model") -> dict[str, Tensor]:
        """`nll`, the mean of -ln p per code, in nats."""
        before, speaker = batch.codes[:, :-1].clamp(min=0), batch.speaker
        if self.training:
            chance, other = (drawn_rows(torch.rand, before.shape, before.device) for _ in range(2))
            wrong = (chance < self.corrupt) & (before < self.codes)
            before = before.where(~wrong, (other * self.codes).long())
            hidden = drawn_rows(torch.rand, speaker.shape, speaker.device) < self.hidden_share
            speaker = speaker.where(~hidden, self.unknown_speaker)
        codes = batch.codes[:, 1:]
        count = over_all((codes != PADDING).sum()) / rank_and_count()[1]
        return {"nll": self._nats(before, speaker, codes) / count}

    def _nats(self, before: Tensor, speaker: Tensor, codes: Tensor) -> Tensor:
        logits = self.logits(before, speaker).float()
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten(), ignore_index=PADDING, reduction="sum")

    @torch.inference_mode()
    def held_out(self, batches: Iterable[Windows]) -> dict[str, float]:
        """Figures on held-out windows.

        loss: mean of -ln p per code for an unknown speaker, in nats.
        bits_per_code: the same in bits.
        bits_per_code_told: in bits, for the known speaker, if the prior has speakers.
        And the figures in `baselines`.
        """
        sums, total = np.zeros(2), 0
        for codes, speaker in batches:
            for i, given in enumerate((torch.full_like(speaker, self.unknown_speaker), speaker)):
                sums[i] += self._nats(codes[:, :-1].clamp(min=0), given, codes[:, 1:]).item()
            total += int((codes[:, 1:] != PADDING).sum())
        unknown, known = sums / total
        result = {"loss": unknown, "bits_per_code": unknown / math.log(2)}
        if self.hidden_share < 1:
            result["bits_per_code_told"] = known / math.log(2)
        return {**result, **self.baselines}

    def bits_per_code(self, rows: Sequence[np.ndarray]) -> float:
        """-log2 p per code of the codes (N,) of utterances, for an unknown speaker."""
        speaker = torch.tensor([self.unknown_speaker], device=self.speakers.weight.device)
        codes = (torch.from_numpy(np.append(self.codes, row))[None].to(speaker.device) for row in rows)
        return self.held_out(Windows(row, speaker) for row in codes)["bits_per_code"]

    def concerns(self, figures: dict[str, float]) -> list[str]:
        """A warning if the prior predicts no better than the frequencies of codes."""
        if figures["bits_per_code"] > figures.get("unigram", math.inf):
            return ["the prior predicts codes no better than their histogram"]
        return []

    @torch.inference_mode()
    def sample(self, count: int, length: int, speaker: int, sampling: Sampling, prefix: Tensor | None = None) -> Tensor:
        """Draw `length` codes `count` times -> (count, length). Sample i does not depend on `count`.

        speaker: its index, or `unknown_speaker`.
        prefix: codes (P,) that the samples continue.

        Raises SpeechVQError if the temperature is above `HIGHEST_TEMPERATURE`.
        """
        check_number(sampling.temperature, "temperature of codes", 0, HIGHEST_TEMPERATURE)
        device = self.speakers.weight.device
        rows = torch.full((count,), speaker, device=device)
        table, state = self.net.table(None, self.speakers(rows)), self.net.start(count)
        last = torch.full((count,), self.codes, device=device)
        for code in [] if prefix is None else prefix.to(device):
            self.net.step(last, table[:, 0], state)
            last = code.expand(count)
        chance = torch.from_numpy(np.stack([chances(sampling.seed, i).random(length) for i in range(count)]))
        return Sampler(self.net, sampling).sample(last.contiguous(), chance, table, state).cpu()
