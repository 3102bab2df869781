"""The description of a model: the result of `speechvq info`. Needs no torch."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechvq.audio import SAMPLE_RATE
from speechvq.config import CodecRun, EncoderRun, PriorRun
from speechvq.folder.card import WEIGHTS, Card, load_card
from speechvq.folder.fingerprint import WeightsSummary, summarize_weights
from speechvq.folder.readme import read_readme

# Minutes of speech in training, and how well a voice is then known.
KNOWN = ((5.0, "well"), (1.0, "a little"), (0.0, "hardly"))
VOICE_COLUMNS = ("sex", "accent", "minutes")  # of what a card may say of a speaker


def describe_folder(folder: Path) -> dict[str, Any]:
    """The description of a codec's or a prior's folder, with what its README.md adds.

    Raises SpeechVQError if the folder is not a model's, or its weights are missing, truncated or corrupt.
    """
    card = load_card(folder)
    parts = ("encoder", "bottleneck") if card.config.kind == "codec" else ()
    return read_readme(folder) | describe(card, summarize_weights(folder / WEIGHTS, parts))


def describe(card: Card, weights: WeightsSummary) -> dict[str, Any]:
    """The description of a model: rates, sizes, held-out figures and speakers."""
    return DESCRIPTIONS[card.config.kind](card, weights)


def _describe_codec(card: Card, weights: WeightsSummary) -> dict[str, Any]:
    assert isinstance(card.config, CodecRun)
    model = card.config.model
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
        **_training_audio(card),
        **({"codes": codes, "bit_per_s": rate * math.log2(codes)} if codes else {}),
        "held_out": weights.metadata,
        "speakers": {name: card.speaker_info.get(name, {}) for name in card.speakers},
    }


def _training_audio(card: Card) -> dict[str, Any]:
    """The high-pass of a model's audio in Hz, and what it was trained with other than audio, if there is any."""
    entries = {"high_pass": card.high_pass, "taught": card.taught}
    return {name: value for name, value in entries.items() if value}


def _describe_prior(card: Card, weights: WeightsSummary) -> dict[str, Any]:
    config = card.config
    assert isinstance(config, PriorRun)
    assert card.alphabet is not None
    return {
        "fingerprint": weights.fingerprint,
        "codes_of_model": card.alphabet.model,
        "codes": card.alphabet.codes,
        "hop_length": card.alphabet.hop_length,
        "parameters": weights.parameters,
        "receptive_field": config.prior.wavenet.receptive_field,
        "penalty": config.prior.penalty,
        "held_out": weights.metadata,
        "speakers": list(prior_speakers(config, card)),
    }


def prior_speakers(config: PriorRun, card: Card) -> tuple[str, ...]:
    """The speakers that a prior knows: none if it was trained without them."""
    return card.speakers if config.prior.anyone < 1 else ()


def _describe_encoder(card: Card, weights: WeightsSummary) -> dict[str, Any]:
    config = card.config
    assert isinstance(config, EncoderRun)
    return {
        "fingerprint": weights.fingerprint,
        "encoder": config.encoder.kind,
        "objective": config.objective.kind,
        "parameters": weights.parameters,
        "sample_rate": SAMPLE_RATE,
        "hop_length": config.encoder.hop_length,
        "latents_per_s": SAMPLE_RATE / config.encoder.hop_length,
        **_training_audio(card),
        "held_out": weights.metadata,
    }


def known(info: Mapping[str, str]) -> str:
    """How well a model knows a voice, by the minutes of its speech in training; '' if they are not on the card."""
    try:
        minutes = float(info["minutes"])
    except (KeyError, ValueError):
        return ""
    return next(mark for least, mark in KNOWN if minutes >= least)


def voices(speakers: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A table of speakers with what is on the card of them, those with the most speech first; lines of text."""
    rows = [["voice", *VOICE_COLUMNS, "known"]]
    for name in sorted(speakers, key=lambda name: -_minutes(speakers[name])):
        info = speakers[name]
        rows.append([name, *(str(info.get(column, "")) for column in VOICE_COLUMNS), known(info)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _minutes(info: Mapping[str, str]) -> float:
    try:
        return float(info.get("minutes", 0))
    except ValueError:
        return 0.0


DESCRIPTIONS: dict[str, Callable[[Card, WeightsSummary], dict[str, Any]]] = {
    "codec": _describe_codec,
    "prior": _describe_prior,
    "encoder": _describe_encoder,
}
