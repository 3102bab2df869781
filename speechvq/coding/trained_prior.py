"""TrainedPrior: a prior over a model's codes, loaded from the folder that `speechvq train` wrote."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.config import PriorRun
from speechvq.folder.card import WEIGHTS, Alphabet, Card, load_card, model_folder, speaker_index
from speechvq.folder.description import describe, prior_speakers
from speechvq.folder.fingerprint import WeightsSummary
from speechvq.folder.weights import count_parameters, fingerprint, load_module
from speechvq.nn.prior import Prior
from speechvq.wavenet.sampler import Sampling


class TrainedPrior:
    """A trained prior.

    net: the network.
    alphabet: the codes that it is a prior of.
    speakers: names of the speakers that it knows; empty if it was trained without.
    penalty: for each change of code, of the codes that it has learned (see `Codec.encode`).
    figures: held-out figures of its training.
    tag: 4 bytes that name its weights in .svq files.
    """

    def __init__(self, net: Prior, card: Card, figures: dict[str, float]) -> None:
        assert isinstance(card.config, PriorRun)
        assert card.alphabet is not None
        self.net = net.eval().requires_grad_(False)
        self.alphabet, self.card, self.figures = card.alphabet, card, figures
        self.speakers = prior_speakers(card.config, card)
        self.penalty = card.config.prior.penalty
        self.fingerprint = fingerprint(net)

    @property
    def tag(self) -> bytes:
        return bytes.fromhex(self.fingerprint)[:4]

    @classmethod
    def load(
        cls, path: str | Path, device: torch.device | str = "cpu", alphabet: Alphabet | None = None
    ) -> "TrainedPrior":
        """Read a prior's folder, or the prior of a packaged model (NAME/prior).

        alphabet: the codes that it must be a prior of.

        Raises SpeechVQError if the folder is not a prior's, cannot be read, or is a prior of other codes.
        """
        folder = model_folder(path)
        card = load_card(folder, "prior")
        assert isinstance(card.config, PriorRun)
        assert card.alphabet is not None
        if alphabet not in (None, card.alphabet):
            theirs, ours = card.alphabet.model, alphabet.model if alphabet else ""
            raise SpeechVQError(f"{folder}: knows the codes of model {theirs}, not of this one ({ours})")
        config, codes = card.config.prior, card.alphabet.codes
        net, figures = load_module(lambda: Prior(config, codes, len(card.speakers)), folder / WEIGHTS)
        return cls(net.to(device), card, figures)

    def sample(
        self, count: int, length: int, speaker: str | None, sampling: Sampling, prefix: Tensor | None = None
    ) -> Tensor:
        """Draw codes (count, length) int64.

        speaker: in the manner of this speaker; None for that of any.
        prefix: codes (P,) that the samples continue.

        Raises SpeechVQError if the prior does not know the speaker.
        """
        row = self.net.unknown_speaker if speaker is None else speaker_index(self.speakers, speaker)
        return self.net.sample(count, length, row, sampling, prefix)

    def describe(self) -> dict[str, Any]:
        """The result of `speechvq info`: sizes, receptive field, held-out figures and speakers."""
        return describe(self.card, WeightsSummary(self.fingerprint, count_parameters(self.net), self.figures))
