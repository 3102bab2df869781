"""The judges of a sentence, and the voices that it is compared with."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.data.manifest import Utterance, rank_key, read_manifest, utterances_digest
from speechvq.evaluate.metrics.judges import Judges, centroid
from speechvq.evaluate.metrics.phone_loop import PhoneLoop
from yardstick.results import Figures, Results

VOICE_UTTERANCES = 10  # of a speaker, for the mean embedding


class Voices:
    """The natural voices of a prepared corpus.

    data: its folder
    judges: with a speaker encoder, or without any similarity
    results: where embeddings are kept
    """

    def __init__(self, data: Path, judges: Judges, results: Results) -> None:
        self.data, self.encoder, self.results = data, judges.speaker_encoder, results
        self._utterances: dict[str, list[Utterance]] = {}
        for u in sorted(read_manifest(data), key=lambda u: rank_key(u.id)):
            own = self._utterances.setdefault(u.speaker, [])
            if len(own) < VOICE_UTTERANCES:
                own.append(u)

    def similarity(self, embedding: np.ndarray, speaker: str, leave_out: str) -> float | None:
        """Similarity of an embedding (256,) to a speaker; None if there is no other speech.

        leave_out: id of the utterance that was judged
        """
        utterances = self._utterances.get(speaker, [])
        if self.encoder is None or not utterances:
            return None
        key = {"voice": speaker, "digest": utterances_digest(self.data, utterances)}
        embeddings = self.results.find(key, lambda: self._embed(utterances))
        others = [np.array(vector) for name, vector in embeddings.items() if name != leave_out]
        return float(embedding @ centroid(others)) if others else None

    def _embed(self, utterances: list[Utterance]) -> Figures:
        assert self.encoder is not None
        return {u.id: self.encoder.embed(read(self.data / u.path)).round(4).tolist() for u in utterances}


class Bench:
    """All judges: those of `evaluate conversion`, and a recogniser of phones.

    names: of those that are installed; results of others are not comparable
    """

    def __init__(self, judges: Judges, phone_loop: PhoneLoop | None, voices: Voices) -> None:
        self.judges, self.phone_loop, self.voices = judges, phone_loop, voices
        present = {**vars(judges), "phone_loop": phone_loop}
        self.names = " ".join(name for name, judge in present.items() if judge)

    def words(self, wav: Tensor, sentence: Utterance) -> Figures:
        """Word and character errors of wav (T,)."""
        if self.judges.recognizer is None:
            return {}
        return asdict(self.judges.recognizer.recognize(wav, sentence.text))

    def all(self, wav: Tensor, sentence: Utterance, voice: str) -> Figures:
        """All figures of wav (T,) that can be measured.

        voice: the speaker that it is converted to; '' for none
        """
        figures: dict[str, Any] = self.words(wav, sentence)
        phones = self.phone_loop.recognize(wav, sentence.text) if self.phone_loop else None
        if phones:
            figures |= asdict(phones)
        if self.judges.dnsmos:
            figures["dnsmos"] = self.judges.dnsmos.score(wav)
        if self.judges.speaker_encoder:
            embedding = self.judges.speaker_encoder.embed(wav)
            for name, speaker in (("source", sentence.speaker), ("target", voice)):
                similarity = self.voices.similarity(embedding, speaker, sentence.id)
                figures |= {} if similarity is None else {f"{name}_similarity": similarity}
        return figures


def installed_phone_loop() -> PhoneLoop | None:
    """The recogniser of phones; None, and a message, if it is not installed."""
    try:
        return PhoneLoop()
    except SpeechVQError as error:
        print(f"not measured: {error}")
        return None
