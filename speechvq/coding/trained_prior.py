"""A prior as its user sees it: a folder written by `speechvq train`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.config import PriorRun
from speechvq.folder.card import WEIGHTS, Alphabet, Card, load_card, model_folder, speaker_index
from speechvq.folder.weights import fingerprint, load_weights
from speechvq.nn.prior import Prior
from speechvq.wavenet.sampler import Sampling


class TrainedPrior:
    """A prior as its user sees it: a folder of `speechvq train` with a configuration such as recipes/vctk/prior.toml.

    net: the `Prior`. alphabet: whose codes it knows. tag: 4 bytes that name its weights in .svq files.
    """

    def __init__(self, net: Prior, card: Card, figures: dict[str, float]) -> None:
        assert isinstance(card.config, PriorRun)
        assert card.alphabet is not None
        self.net = net.eval().requires_grad_(False)
        self.alphabet, self.card, self.figures = card.alphabet, card, figures
        # Of a prior that was trained without speakers nobody can be told.
        self.speakers = card.speakers if card.config.prior.anyone < 1 else ()
        self.fingerprint = fingerprint(net)

    @property
    def tag(self) -> bytes:
        return bytes.fromhex(self.fingerprint)[:4]

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu", of: Alphabet | None = None) -> "TrainedPrior":
        """Read a prior's folder; SpeechVQError says what is wrong with one that cannot be read, or does not know the
        codes that it should be `of`."""
        folder = model_folder(path)
        card = load_card(folder)
        if not isinstance(card.config, PriorRun) or card.alphabet is None:
            raise SpeechVQError(f"{folder}: not a prior")
        if of not in (None, card.alphabet):
            theirs, ours = card.alphabet.model, of.model if of else ""
            raise SpeechVQError(f"{folder}: knows the codes of model {theirs}, not of this one ({ours})")
        net = Prior(card.config.prior, card.alphabet.codes, len(card.speakers))
        figures = load_weights(net, folder / WEIGHTS)
        return cls(net.to(device), card, figures)

    def sample(
        self, count: int, length: int, speaker: str | None, sampling: Sampling, prefix: Tensor | None = None
    ) -> Tensor:
        """`Prior.sample` in the manner of a speaker, of anyone's where it is None."""
        row = self.net.anyone if speaker is None else speaker_index(self.speakers, speaker)
        return self.net.sample(count, length, row, sampling, prefix)

    def describe(self) -> dict[str, Any]:
        """What `speechvq info` says of it."""
        return {
            "fingerprint": self.fingerprint,
            "codes_of_model": self.alphabet.model,
            "codes": self.alphabet.codes,
            "hop_length": self.alphabet.hop_length,
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "receptive_field": self.net.net.receptive_field,
            "held_out": self.figures,
            "speakers": list(self.speakers),
        }
