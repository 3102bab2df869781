"""espeak-ng through ctypes: speech, with the exact times of its phones.

The library and its voices come in the package `espeakng-loader`. espeak-ng's licence is the GPL, so it is an extra,
used for the demo corpus alone. The library has one global state: a process speaks with one voice at a time.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechvq import SpeechVQError
from speechvq.extras import needed_for
from speechvq.text.segments import Segment

# Values of speak_lib.h.
_AUDIO_SYNCHRONOUS = 2  # the retrieval mode starts a thread, and can hang when initialized twice
_PHONEME_EVENTS = 1 << 0
_DONT_EXIT = 1 << 15
_SEED = 0
_UTF8 = 1
_RATE, _PITCH = 1, 3
_EVENT_END, _EVENT_PHONEME = 0, 7
PAUSE = "pau"
_SEPARATOR = "|"  # of mnemonics: none has it


class _Identifier(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identifier),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Voice:
    """A speaker of the demo corpus.

    speaker: name in the corpus
    name: espeak-ng's name of the voice, such as "en-us+f2"
    rate: in words per minute
    pitch: base pitch, 0 to 100
    sex: F or M
    accent: as in VCTK's speaker-info.txt
    """

    speaker: str
    name: str
    rate: int
    pitch: int
    sex: str
    accent: str


@dataclass(frozen=True)
class Spoken:
    """A synthesized sentence.

    wav: (T,), int16
    sample_rate: of `wav`, in Hz
    phones: without gaps from 0 to the end; labels are espeak-ng's mnemonics (`tS`, `aI`, `3:`) without stress marks,
        and `pau` for its pauses. A phone begins when espeak-ng begins to synthesize it: the silent closure of a stop
        mostly belongs to the phone before it, and a vowel begins after its transition from a liquid or nasal.
    """

    wav: np.ndarray
    sample_rate: int
    phones: list[Segment]


class Espeak:
    """The library, initialized.

    purpose: what needs it, for the error.

    Raises SpeechVQError if it is not installed or cannot be initialized.
    """

    def __init__(self, purpose: str = "the demo corpus") -> None:
        with needed_for(purpose, "demo"):
            import espeakng_loader
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        path = espeakng_loader.get_data_path().encode()
        options = _PHONEME_EVENTS | _DONT_EXIT
        self.sample_rate = int(self._library.espeak_Initialize(_AUDIO_SYNCHRONOUS, 0, path, options))
        if self.sample_rate <= 0:
            raise SpeechVQError("espeak-ng cannot be initialized")
        # Else breath noise is seeded with the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))

    def speak(self, text: str, voice: Voice) -> Spoken:
        """Synthesize one sentence.

        Raises SpeechVQError if espeak-ng has no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise SpeechVQError(f"espeak-ng has no voice '{voice.name}'")
        self._library.espeak_SetParameter(_RATE, voice.rate, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        audio: list[np.ndarray] = []
        events: list[tuple[int, str]] = []
        callback = _Callback(_collector(audio, events))
        self._library.espeak_SetSynthCallback(callback)
        data = text.encode()
        if self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None):
            raise SpeechVQError(f"espeak-ng cannot speak {text!r}")
        wav = np.concatenate(audio)
        return Spoken(wav, self.sample_rate, segments(events, len(wav), self.sample_rate))

    def pronounce(self, text: str, voice: str = "en-us") -> list[str]:
        """The mnemonics of the phones of a text, without stress marks and pauses, as the voice of that name says it.

        Raises SpeechVQError if espeak-ng has no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise SpeechVQError(f"espeak-ng has no voice '{voice}'")
        translate = self._library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        rest, found = ctypes.c_char_p(text.encode()), []
        while rest.value is not None:  # clause by clause
            said = translate(ctypes.byref(rest), _UTF8, ord(_SEPARATOR) << 8)
            words = (said or b"").decode("utf-8", "replace").split()
            found += [name.lstrip("',%=") for word in words for name in word.split(_SEPARATOR)]
        return [name for name in found if name and not name.startswith("_")]


def _collector(audio: list[np.ndarray], events: list[tuple[int, str]]) -> Callable[[Any, int, Any], int]:
    """The callback to which espeak-ng gives its audio and events, buffer by buffer."""

    def collect(samples: Any, count: int, event: Any) -> int:
        if samples and count > 0:
            audio.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while event and event[i].type != _EVENT_END:
            if event[i].type == _EVENT_PHONEME:
                events.append((event[i].sample, event[i].id.string.decode("utf-8", "replace")))
            i += 1
        return 0

    return collect


def segments(events: list[tuple[int, str]], samples: int, sample_rate: int) -> list[Segment]:
    """Events -> segments without gaps from 0 to the end: a phone lasts until the next; neighbouring pauses are joined.

    events: (first sample, mnemonic) of each phone, in the order of time
    samples: length of the audio
    """
    marks = [(0, PAUSE)]
    for start, mnemonic in events:
        label = mnemonic.lstrip("',%=")
        label = PAUSE if not label or label.startswith("_") else label
        if label == PAUSE and marks[-1][1] == PAUSE:
            continue
        marks.append((min(start, samples), label))
    ends = [start for start, _ in marks[1:]] + [samples]
    return [
        Segment(start / sample_rate, end / sample_rate, label)
        for (start, label), end in zip(marks, ends, strict=True)
        if end > start
    ]
