"""The speech of the demo corpus, in the layout of VCTK 0.92, with exact phone times.

ROOT/wav48_silence_trimmed/SPEAKER/SPEAKER_NNN_mic1.flac   at espeak-ng's own rate
ROOT/txt/SPEAKER/SPEAKER_NNN.txt
ROOT/lab/SPEAKER/SPEAKER_NNN.lab                           HTK labels, 100 ns
ROOT/speaker-info.txt
"""

import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path

import soundfile

from speechvq import SpeechVQError
from speechvq.data.corpora.espeak import Espeak, Voice
from speechvq.files import atomic_write
from speechvq.progress import progress
from speechvq.text.htk import write_lab

VOICES = (
    Voice("e01", "en-us+f2", 165, 55, "F", "American"),
    Voice("e02", "en+m3", 160, 35, "M", "English"),
    Voice("e03", "en-gb-scotland+f4", 175, 60, "F", "Scottish"),
    Voice("e04", "en-us+m7", 150, 25, "M", "American"),
    Voice("e05", "en-029+f1", 170, 70, "F", "Caribbean"),
    Voice("e06", "en-gb-x-rp+m1", 175, 50, "M", "English"),
    Voice("e07", "en-gb-x-gbclan+f3", 160, 45, "F", "Lancastrian"),
    Voice("e08", "en-us-nyc+m2", 185, 60, "M", "NewYork"),
    Voice("e09", "en-gb-x-gbcwmd+f5", 165, 85, "F", "WestMidlands"),
    Voice("e10", "en-gb-scotland+m4", 155, 40, "M", "Scottish"),
    Voice("e11", "en-us+Annie", 170, 50, "F", "American"),
    Voice("e12", "en-gb-x-rp+m5", 165, 45, "M", "English"),
)


def sentences() -> list[str]:
    """All sentences of the corpus."""
    return (files("speechvq.data.corpora") / "sentences.txt").read_text(encoding="utf-8").splitlines()


def speak_corpus(
    root: Path, *, seed: int = 0, count: int | None = None, voices: Sequence[Voice] = VOICES, workers: int = 2
) -> None:
    """Synthesize sentences in every voice; files that are there already are kept. The same seed gives the same bytes.

    seed: chooses the sentences and their order
    count: number of sentences (default: all)
    workers: processes
    Raises SpeechVQError if there are not so many sentences, or espeak-ng is not installed.
    """
    known = sentences()
    if count is not None and not 0 < count <= len(known):
        raise SpeechVQError(f"the demo has 1 to {len(known)} sentences, not {count}")
    texts = random.Random(seed).sample(known, k=len(known) if count is None else count)
    header = "ID  AGE  GENDER  ACCENTS  REGION\n"
    rows = "".join(f"{voice.speaker}  0  {voice.sex}    {voice.accent}    {voice.name}\n" for voice in voices)
    with atomic_write(root / "speaker-info.txt") as temporary:
        temporary.write_text(header + rows, encoding="utf-8")
    # A fresh process for each voice: espeak-ng keeps state from one voice to the next, even after it is changed.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, max_tasks_per_child=1) as pool:
        jobs = [pool.submit(_speak_all, root, voice, texts) for voice in voices]
        for job in progress(jobs, unit="voice"):
            job.result()


def _speak_all(root: Path, voice: Voice, texts: Sequence[str]) -> None:
    library = Espeak()
    for i, text in enumerate(texts, 1):
        name = f"{voice.speaker}_{i:03}"
        audio = root / "wav48_silence_trimmed" / voice.speaker / f"{name}_mic1.flac"
        spoken = library.speak(text, voice)
        if audio.exists():  # synthesized all the same: espeak-ng's state must not depend on the files that are there
            continue
        write_lab(root / "lab" / voice.speaker / f"{name}.lab", spoken.phones)
        with atomic_write(root / "txt" / voice.speaker / f"{name}.txt") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        with atomic_write(audio) as temporary:  # last: it stands for all three files
            soundfile.write(temporary, spoken.wav, spoken.sample_rate, subtype="PCM_16")
