"""Recordings and pictures as base64 text, so that a page needs no other file."""

import base64
import io
from dataclasses import dataclass

import soundfile
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.report.runs import Clip

SPEECH_NAMES = {"natural": "original", "copy": "copy (8-bit mu-law)"}  # other kinds are shown by their own name


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    data: PNG in base64
    text: what it shows, in words
    """

    data: str
    text: str


@dataclass(frozen=True)
class Player:
    """A recording of the page.

    data: FLAC in base64
    seconds: its length
    name: heading
    notes: what was measured of it
    """

    data: str
    seconds: float
    name: str
    notes: list[str]


def picture(png: bytes, text: str) -> Picture:
    """A PNG, and what it shows in words."""
    return Picture(base64.b64encode(png).decode(), text)


def player(clip: Clip) -> Player:
    """A player of a clip, with the recognised words and the similarity to the speaker if they were measured."""
    wav = read(clip.path)
    figures, notes = clip.figures, []
    if figures.get("heard") is not None:
        notes.append(f"recognised: “{figures['heard']}”" if figures["heard"] else "nothing recognised")
    if figures.get("similarity") is not None:
        notes.append(f"similarity to {figures['speaker']}: {figures['similarity']:.2f}")
    return Player(_flac(wav), len(wav) / SAMPLE_RATE, SPEECH_NAMES.get(clip.kind, clip.kind), notes)


def _flac(wav: Tensor) -> str:
    stream = io.BytesIO()
    soundfile.write(stream, wav.numpy(), SAMPLE_RATE, "PCM_16", format="FLAC")
    return base64.b64encode(stream.getvalue()).decode()
