"""A recogniser of phones without words: the English model of pocketsphinx in a loop over phones, with a trigram."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from speechvq.audio.io import validate
from speechvq.extras import needed_for
from speechvq.text.phones import SILENCE, arpabet
from speechvq.text.transcript import words

# A low weight of the trigram, so that the acoustics decide, and beams so wide that pruning hardly matters.
LOOP_OPTIONS = {"lm": None, "lw": 1.0, "pip": 0.3, "beam": 1e-20, "pbeam": 1e-20, "loglevel": "FATAL"}


@dataclass(frozen=True)
class PhoneRecognition:
    """The phones that were recognised, compared with those of the transcript.

    phones: number of phones in the transcript, each word in the first pronunciation of the dictionary
    phone_errors: substitutions, deletions and insertions, each word in the pronunciation with the fewest
    """

    phones: int
    phone_errors: int


class PhoneLoop:
    """Recognises phones; a judge of another family than the recogniser of words (Gaussian mixtures, no text).

    Raises SpeechVQError if pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        with needed_for("the recogniser of phones", "align"):
            import pocketsphinx
        trigram = pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin")
        self._decoder: Any = pocketsphinx.Decoder(allphone=trigram, **LOOP_OPTIONS)

    def transcribe(self, wav: Tensor) -> list[str]:
        """wav (T,) at 16 kHz -> its phones in ARPAbet, without silence and noise."""
        samples = validate(wav, "the speech to recognise").numpy()
        decoder = self._decoder
        decoder.reinit_feat()  # else the result depends on what was recognised before
        decoder.start_utt()
        decoder.process_raw((samples * 32767).round().clip(-32768, 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        phones = [arpabet(segment.word) for segment in decoder.seg() or []]
        return [phone for phone in phones if phone != SILENCE]

    def pronunciations(self, text: str) -> list[list[list[str]]] | None:
        """For each word of a text its pronunciations, lists of phones; None if the dictionary lacks a word."""
        found = [self._of_word(word) for word in words(text)]
        return found if all(found) else None

    def recognize(self, wav: Tensor, transcript: str) -> PhoneRecognition | None:
        """Recognise wav (T,) at 16 kHz and count the errors; None if the dictionary lacks a word of the transcript."""
        spoken = self.pronunciations(transcript)
        if not spoken:
            return None
        return PhoneRecognition(sum(len(ways[0]) for ways in spoken), fewest_errors(self.transcribe(wav), spoken))

    def _of_word(self, word: str) -> list[list[str]]:
        names, number = [word], 2
        while self._decoder.lookup_word(f"{word}({number})") is not None:
            names.append(f"{word}({number})")
            number += 1
        found = [self._decoder.lookup_word(name) for name in names]
        return [[arpabet(phone) for phone in phones.split()] for phones in found if phones]


def fewest_errors(phones: Sequence[str], spoken: Sequence[Sequence[Sequence[str]]]) -> int:
    """The edit distance of phones from the nearest way to pronounce words.

    spoken: for each word its pronunciations
    """
    row = np.arange(len(phones) + 1)
    recognised = np.array(phones, dtype=object)
    for ways in spoken:
        row = np.min([_advance(row, recognised, way) for way in ways], axis=0)
    return int(row[-1])


def _advance(row: np.ndarray, recognised: np.ndarray, way: Sequence[str]) -> np.ndarray:
    """The row of edit distances, one for each number of recognised phones, after the phones of one word."""
    columns = np.arange(len(row))
    for phone in way:
        changed = np.minimum(row[1:] + 1, row[:-1] + (recognised != phone))
        row = np.minimum.accumulate(np.append(row[0] + 1, changed) - columns) + columns
    return row
