"""Pronouncing dictionaries in the manner of CMUdict, and the phones that CMUdict knows."""

import re
from collections.abc import Sequence
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.text.decoding import decoded
from speechvq.text.phones import INVENTORY, SILENCE, arpabet

# Phones of the inventory that CMUdict does not have, by the one that it writes for them.
CMU_PHONES = {"ax": "ah", "dx": "t"}

# Mnemonics of espeak-ng's American voice that CMUdict writes as two phones: most of them end in r.
PAIRS = "o@ ao r, O@ ao r, A@ aa r, U@ uh r, e@ eh r, i@3 ih r, aI3 ay er, aI@ ay ah, i@ iy ah, @L ah l, n- ah n"
TWO_PHONES = {name: tuple(phones) for name, *phones in (row.split() for row in PAIRS.split(","))}

Pronunciation = tuple[str, ...]  # phones of CMUdict, in lower case without stress


def cmu_phone(phone: str) -> str:
    """A phone of the inventory as CMUdict has it."""
    return CMU_PHONES.get(phone, phone)


def espeak_pronunciation(mnemonics: Sequence[str]) -> Pronunciation:
    """The phones of CMUdict for the mnemonics of espeak-ng's American voice.

    Raises SpeechVQError if one is unknown: a sound that English does not have.
    """
    found: list[str] = []
    for name in mnemonics:
        found += TWO_PHONES.get(name) or [cmu_phone(arpabet(name, espeak=True))]
    return tuple(phone for phone in found if phone != SILENCE)


def read_dictionary(path: Path) -> dict[str, list[Pronunciation]]:
    """Read a dictionary: on each line a word, white space, and its phones in ARPAbet, with or without stress.

    More pronunciations of a word have lines of their own; `word(2)` is `word`, too. `;;;` and `#` begin a comment.

    Returns the pronunciations by word, in lower case. Raises SpeechVQError, naming the line, for an unknown phone
    or what is no word.
    """
    if not path.is_file():
        raise SpeechVQError(f"{path}: no such dictionary")
    found: dict[str, list[Pronunciation]] = {}
    for number, line in enumerate(decoded(path).splitlines(), 1):
        fields = line.partition(";;;")[0].partition("#")[0].split()
        if not fields:
            continue
        word, symbols = re.sub(r"\(\d+\)$", "", fields[0].lower()), fields[1:]
        try:
            if not word or not word.isprintable():  # after a NUL, pocketsphinx would find another word
                raise SpeechVQError(f"'{fields[0]}' is no word")
            phones = _phones(symbols)
        except SpeechVQError as error:
            raise SpeechVQError(f"{path}, line {number}: {error}") from None
        found.setdefault(word, []).append(phones)
    if not found:
        raise SpeechVQError(f"{path}: holds no words")
    return found


def _phones(symbols: Sequence[str]) -> Pronunciation:
    if not symbols:
        raise SpeechVQError("a word without phones")
    phones = tuple(cmu_phone(arpabet(symbol)) for symbol in symbols)
    for symbol, phone in zip(symbols, phones, strict=True):
        if phone not in INVENTORY or phone == SILENCE:
            raise SpeechVQError(f"'{symbol}' is no phone of a word")
    return phones
