"""The description of a model: the result of `speechvq info`. Needs no torch."""

import math
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.config import CodecRun, PriorRun
from speechvq.folder.card import WEIGHTS, Card, load_card
from speechvq.folder.fingerprint import WeightsSummary, summarize_weights
from speechvq.folder.readme import read_readme


def describe_folder(folder: Path) -> dict[str, Any]:
    """The description of a codec's or a prior's folder, with what its README.md adds.

    Raises SpeechVQError if the folder is not a model's, or its weights are missing, truncated or corrupt.
    """
    card = load_card(folder)
    parts = ("encoder", "bottleneck") if isinstance(card.config, CodecRun) else ()
    return read_readme(folder) | describe(card, summarize_weights(folder / WEIGHTS, parts))


def describe(card: Card, weights: WeightsSummary) -> dict[str, Any]:
    """The description of a model: rates, sizes, held-out figures and speakers."""
    config = card.config
    if isinstance(config, CodecRun):
        return _describe_codec(config, card, weights)
    return _describe_prior(config, card, weights)


def _describe_codec(config: CodecRun, card: Card, weights: WeightsSummary) -> dict[str, Any]:
    model = config.model
    rate, codes = SAMPLE_RATE / model.encoder.hop_length, model.bottleneck.codes
    return {
        "fingerprint": weights.fingerprint,
        "encoder": model.encoder.kind,
        "bottleneck": model.bottleneck.kind,
        "decoder": model.decoder.kind,
        "parameters": weights.parameters,
        "sample_rate": SAMPLE_RATE,
        "hop_length": model.encoder.hop_length,
        "latents_per_s": rate,
        **({"codes": codes, "bit_per_s": rate * math.log2(codes)} if codes else {}),
        "held_out": weights.metadata,
        "speakers": {name: card.speaker_info.get(name, {}) for name in card.speakers},
    }


def _describe_prior(config: PriorRun, card: Card, weights: WeightsSummary) -> dict[str, Any]:
    if card.alphabet is None:
        raise SpeechVQError("a prior's card names the codes that it is a prior of; this one does not")
    return {
        "fingerprint": weights.fingerprint,
        "codes_of_model": card.alphabet.model,
        "codes": card.alphabet.codes,
        "hop_length": card.alphabet.hop_length,
        "parameters": weights.parameters,
        "receptive_field": config.prior.wavenet.receptive_field,
        "held_out": weights.metadata,
        "speakers": list(prior_speakers(config, card)),
    }


def prior_speakers(config: PriorRun, card: Card) -> tuple[str, ...]:
    """The speakers that a prior knows: none if it was trained without them."""
    return card.speakers if config.prior.anyone < 1 else ()
