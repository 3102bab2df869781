"""p(codes): a WaveNet over codes, as the decoder's is one over samples. It serves the codes of any model."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import PriorConfig
from speechvq.nn.distributed import drawn_rows, over_all, rank_and_count
from speechvq.nn.trainable import Trainable
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances

NOTHING = -1  # in place of a code: nothing to predict
NEVER = -1e4  # nats


class Windows(NamedTuple):
    """codes (B, N + 1) int64: the code before or the start, then N to predict, `NOTHING` behind it. speaker (B,)."""

    codes: Tensor
    speaker: Tensor


class Prior(Trainable):
    """p(code | codes before, speaker), or over anyone's. Class `codes` stands for the start and is never drawn."""

    def __init__(self, config: PriorConfig, codes: int, speakers: int) -> None:
        super().__init__()
        self.codes, self.anyone = codes, speakers
        self.untold, self.corrupt = config.anyone, config.corrupt
        self.speakers = nn.Embedding(speakers + 1, config.speaker_dim)
        self.net = WaveNet(config.wavenet, codes + 1, 0, config.speaker_dim)
        self.baselines: dict[str, float] = {}
        with torch.no_grad():
            last = self.net.head[-1]
            assert isinstance(last, nn.Linear)
            last.bias[codes] = NEVER  # its probability is exactly 0, and so is its gradient: it stays

    def logits(self, before: Tensor, speaker: Tensor) -> Tensor:
        """before (B, N): the code before each; speaker (B,) -> (B, N, codes + 1)."""
        logits: Tensor = self.net(before, self.net.table(None, self.speakers(speaker)))
        return logits

    reconstruction = "nll"

    def forward(self, batch: Windows, turn: str = "model") -> dict[str, Tensor]:
        """The mean of -ln p in nats, as `nll`."""
        before, speaker = batch.codes[:, :-1].clamp(min=0), batch.speaker
        if self.training:
            chance, other = (drawn_rows(torch.rand, before.shape, before.device) for _ in range(2))
            wrong = (chance < self.corrupt) & (before < self.codes)
            before = before.where(~wrong, (other * self.codes).long())
            told = drawn_rows(torch.rand, speaker.shape, speaker.device) >= self.untold
            speaker = speaker.where(told, self.anyone)
        codes = batch.codes[:, 1:]
        count = over_all((codes != NOTHING).sum()) / rank_and_count()[1]
        return {"nll": self._nats(before, speaker, codes) / count}

    def _nats(self, before: Tensor, speaker: Tensor, codes: Tensor) -> Tensor:
        logits = self.logits(before, speaker).float()
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten(), ignore_index=NOTHING, reduction="sum")

    @torch.inference_mode()
    def held_out(self, batches: Iterable[Windows]) -> dict[str, float]:
        """-log p of held-out codes, per code: `loss` in nats with nobody told, `bits_per_code`, and, where speakers
        have been told in training, `bits_per_code_told`; beside `baselines`."""
        sums, total = np.zeros(2), 0
        for codes, speaker in batches:
            for i, told in enumerate((torch.full_like(speaker, self.anyone), speaker)):
                sums[i] += self._nats(codes[:, :-1].clamp(min=0), told, codes[:, 1:]).item()
            total += int((codes[:, 1:] != NOTHING).sum())
        untold, told = sums / total
        result = {"loss": untold, "bits_per_code": untold / math.log(2)}
        if self.untold < 1:
            result["bits_per_code_told"] = told / math.log(2)
        return {**result, **self.baselines}

    def bits_per_code(self, rows: Sequence[np.ndarray]) -> float:
        """-log2 p per code of utterances (N,), nobody told."""
        anyone = torch.tensor([self.anyone], device=self.speakers.weight.device)
        codes = (torch.from_numpy(np.append(self.codes, row))[None].to(anyone.device) for row in rows)
        return self.held_out(Windows(row, anyone) for row in codes)["bits_per_code"]

    def concerns(self, figures: dict[str, float]) -> list[str]:
        """What is wrong with a trained prior of these held-out figures, in words."""
        if figures["bits_per_code"] > figures.get("unigram", math.inf):
            return ["the prior knows less than a histogram of codes"]
        return []

    @torch.inference_mode()
    def sample(self, count: int, length: int, speaker: int, sampling: Sampling, prefix: Tensor | None = None) -> Tensor:
        """Draw `length` codes `count` times -> (count, length), behind `prefix` (P,) if there is one.

        speaker: its row, or `anyone`. Sample i is the same, however many are drawn.
        """
        device = self.speakers.weight.device
        rows = torch.full((count,), speaker, device=device)
        table, state = self.net.table(None, self.speakers(rows)), self.net.start(count)
        last = torch.full((count,), self.codes, device=device)
        for code in [] if prefix is None else prefix.to(device):
            self.net.step(last, table[:, 0], state)
            last = code.expand(count)
        chance = torch.from_numpy(np.stack([chances(sampling.seed, i).random(length) for i in range(count)]))
        return Sampler(self.net, sampling).sample(last.contiguous(), chance, table, state).cpu()
