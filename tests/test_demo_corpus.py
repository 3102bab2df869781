"""The demo corpus: phone times agree with the audio, the bytes are the same every time, voices differ."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.data.corpora.demo_speech import VOICES, sentences, speak_corpus
from speechvq.data.corpora.espeak import PAUSE, Espeak, Spoken, Voice, segments
from speechvq.data.corpora.vctk import VCTK
from speechvq.text.htk import read_lab, write_lab
from speechvq.text.segments import Segment

loader = pytest.importorskip("espeakng_loader", reason='espeak-ng is an extra: pip install ".[demo]"')

COUNT = 4
CHOSEN = VOICES[0], VOICES[2], VOICES[9]  # with breath noise, with an echo, with neither
VOWELS = {"I", "i:", "E", "a", "aa", "V", "0", "O:", "u:", "3:", "A:", "eI", "aI", "oU", "aU", "OI"}
# What Scottish or American English merges into others is left out.
CONSONANTS = {*"pbtdkgfvszmnlrwjhTDSZN", "tS", "dZ"}
TEXTS = (
    "The engine coughed, rattled and finally stopped.",
    "Good bread needs flour, water, salt and time.",
    "Six sleepy sheep stood still beside the stream.",
    "The chef chopped carrots, onions and fresh ginger.",
)


@pytest.fixture(scope="module")
def spoken() -> dict[str, list[Spoken]]:
    """TEXTS in every voice, by speaker."""
    library = Espeak()
    return {voice.speaker: [library.speak(text, voice) for text in TEXTS] for voice in VOICES}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "tree"
    speak_corpus(root, count=COUNT, voices=CHOSEN)
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def cut(one: Spoken, phone: Segment, late: float = 0.0) -> np.ndarray:
    """The samples of a phone, or of the same stretch `late` seconds after it."""
    start, end = (round((time + late) * one.sample_rate) for time in (phone.start, phone.end))
    return one.wav[max(start, 0) : end].astype(float)


def level(wav: np.ndarray) -> float:
    return 10 * np.log10(np.mean(wav.astype(float) ** 2) + 1e-3)


def levels(one: Spoken, labels: set[str], late: float = 0.0) -> list[float]:
    """dB above the whole utterance's level, of every phone with one of these labels."""
    cuts = [cut(one, phone, late) for phone in one.phones if phone.label in labels]
    return [level(wav) - level(one.wav) for wav in cuts if len(wav)]


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.speaker)
def test_pauses_are_quiet_and_vowels_are_not(voice, spoken):
    pauses = [x for one in spoken[voice.speaker] for x in levels(one, {PAUSE})]
    vowels = [x for one in spoken[voice.speaker] for x in levels(one, VOWELS)]
    assert len(pauses) >= len(TEXTS)
    assert len(vowels) >= 20
    # -15: the voices with an echo (130 ms, 6 %) are at -17 dB in their loudest pause of 1488 utterances.
    assert max(pauses) < -15
    assert np.percentile(vowels, 5) > max(pauses) + 10


def test_times_that_are_wrong_would_be_loud_at_pauses(spoken):
    """The converse of the test above: it sees an error of 50 ms in either direction."""
    for late in (-0.05, 0.05):
        pauses = [x for many in spoken.values() for one in many for x in levels(one, {PAUSE}, late)]
        assert np.mean(np.array(pauses) > -15) > 0.25


def test_a_comma_is_a_pause_within_the_sentence(spoken):
    for many in spoken.values():
        inner = [phone for phone in many[1].phones[1:-1] if phone.label == PAUSE]
        assert sum(phone.end - phone.start > 0.05 for phone in inner) >= 2  # TEXTS[1] has two commas


def crossings(one: Spoken, labels: set[str], late: float) -> list[float]:
    cuts = [cut(one, phone, late) for phone in one.phones if phone.label in labels]
    return [float(np.mean(np.diff(np.signbit(wav)))) for wav in cuts if len(wav) > 100]


def test_sibilants_hiss_where_they_are_said_to_be(spoken):
    """Zero crossings of [s] and [S] minus those of vowels: greatest at the reported times, less 30 ms off."""
    everything = [one for many in spoken.values() for one in many]
    contrast = {}
    for late in (-0.03, 0.0, 0.03):
        hiss = [x for one in everything for x in crossings(one, {"s", "S"}, late)]
        voiced = [x for one in everything for x in crossings(one, VOWELS, late)]
        contrast[late] = np.mean(hiss) - np.mean(voiced)
        if late == 0:
            assert min(hiss) > np.percentile(voiced, 95)
    assert contrast[0.0] > 1.2 * max(contrast[-0.03], contrast[0.03])


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(["a", "'i:", ",V", "t", "_", "_:", ""]))),
    st.integers(1, 5000),
)
def test_segments_cover_the_audio_once(events, samples):
    events = sorted(events, key=lambda event: event[0])
    result = segments(events, samples, 1000)
    assert result[0].start == 0
    assert result[-1].end == samples / 1000
    assert all(a.end == b.start for a, b in itertools.pairwise(result))
    assert all(one.start < one.end for one in result)
    assert {one.label for one in result} <= {"a", "i:", "V", "t", PAUSE}
    starts = {start / 1000 for start, _ in events} | {0.0}
    assert {one.start for one in result} <= starts


def test_segments_by_hand():
    events = [(100, "_:"), (250, "t"), (400, "'aI"), (400, "m"), (700, "_"), (800, "_:")]
    wanted = [(0.0, 0.25, PAUSE), (0.25, 0.4, "t"), (0.4, 0.7, "m"), (0.7, 1.0, PAUSE)]
    assert segments(events, 1000, 1000) == [Segment(*one) for one in wanted]


def test_the_tree_is_a_vctk_tree(tree):
    sources = VCTK.read(tree)
    assert len(sources) == COUNT * len(CHOSEN)
    assert {source.speaker for source in sources} == {voice.speaker for voice in CHOSEN}
    for voice in CHOSEN:
        texts = [source.text for source in sources if source.speaker == voice.speaker]
        assert len(set(texts)) == COUNT
        assert set(texts) <= set(sentences())
    info = VCTK.speakers(tree)
    assert {name: (row["sex"], row["accent"], row["region"]) for name, row in info.items()} == {
        voice.speaker: (voice.sex, voice.accent, voice.name) for voice in CHOSEN
    }


def test_labels_belong_to_their_audio(tree):
    for source in VCTK.read(tree):
        header = soundfile.info(source.path)
        phones = read_lab(tree / "lab" / source.speaker / f"{source.id}.lab")
        assert (header.samplerate, header.channels, header.subtype) == (22050, 1, "PCM_16")
        assert phones[0].start == 0
        assert phones[-1].end == pytest.approx(header.frames / header.samplerate, abs=1e-7)  # 100 ns units
        assert all(a.end == b.start for a, b in itertools.pairwise(phones))
        assert sum(phone.label in VOWELS for phone in phones) >= 3


def test_labels_are_read_back_to_the_sample(spoken, tmp_path):
    for one in (one for many in spoken.values() for one in many):
        samples = [one.sample_rate * time for phone in one.phones for time in (phone.start, phone.end)]
        np.testing.assert_allclose(samples, np.round(samples), atol=1e-6)
        assert one.phones[-1].end == len(one.wav) / one.sample_rate
        write_lab(tmp_path / "x.lab", one.phones)
        back = read_lab(tmp_path / "x.lab")
        assert [round(one.sample_rate * time) for s in back for time in (s.start, s.end)] == np.round(samples).tolist()
        assert [s.label for s in back] == [s.label for s in one.phones]


def test_the_same_bytes_whatever_the_order_of_the_voices(tree, tmp_path):
    """Also at another time of day: some voices have noise, which espeak-ng seeds with the clock."""
    speak_corpus(tmp_path, count=COUNT, voices=CHOSEN[::-1], workers=1)
    first, second = files(tree), files(tmp_path)
    orders = [sorted(some.pop("speaker-info.txt").splitlines()) for some in (first, second)]
    assert orders[0] == orders[1]
    assert first.keys() == second.keys()
    assert not [name for name in first if first[name] != second[name]]


def test_what_is_missing_is_made_again_and_the_rest_is_kept(tree, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tree, root)
    whole = files(root)
    audio = sorted((root / "wav48_silence_trimmed" / CHOSEN[0].speaker).iterdir())
    audio[1].unlink()
    (root / "lab" / CHOSEN[0].speaker / audio[1].name.replace("_mic1.flac", ".lab")).unlink()
    kept = {path: path.stat().st_mtime_ns for path in [audio[0], *audio[2:]]}
    speak_corpus(root, count=COUNT, voices=CHOSEN[:1])
    again = files(root)
    del whole["speaker-info.txt"], again["speaker-info.txt"]  # it lists the voices of the last run
    assert again == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_another_seed_says_something_else(tree, tmp_path):
    speak_corpus(tmp_path, seed=1, count=COUNT, voices=CHOSEN[-1:])
    texts = {source.text for source in VCTK.read(tree)}
    assert {source.text for source in VCTK.read(tmp_path)} != texts


def test_the_sentences_are_varied():
    texts = sentences()
    assert len(set(texts)) == len(texts) >= 120
    assert all(5 <= len(text.split()) <= 12 and text.isascii() and text == text.strip() for text in texts)
    library = Espeak()
    labels = {phone.label for text in texts for phone in library.speak(text, VOICES[5]).phones}
    assert labels >= CONSONANTS | (VOWELS - {"aa"}) | {PAUSE}


def pitch(wav: np.ndarray, sample_rate: int) -> float:
    """Median over the loud frames of the best autocorrelation lag, 60 to 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(wav.astype(float), 1024)[::512]
    frames = frames[np.std(frames, axis=1) > np.std(wav)] * np.hanning(1024)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(1024), 4096)) ** 2)
    lags = slice(sample_rate // 400, sample_rate // 60)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 4096)) ** 2)[:, lags] / window[lags]
    return float(sample_rate / (lags.start + np.median(np.argmax(correlation, axis=1))))


def test_women_speak_higher_than_men(spoken):
    pitches = {
        voice.speaker: np.median([pitch(x.wav, x.sample_rate) for x in spoken[voice.speaker]]) for voice in VOICES
    }
    women, men = ([pitches[voice.speaker] for voice in VOICES if voice.sex == sex] for sex in "FM")
    assert len(women) >= 4
    assert len(men) >= 4
    assert 60 < min(men) < max(men) < 140 < min(women) < max(women) < 400
    assert max(women) > 2.5 * min(men)


def test_every_voice_differs_from_the_others():
    """The nearest other utterance, by mean and spread of its MFCC, is the same voice's.

    24 sentences per voice: with few, the same sentence in a similar voice is often nearer than another sentence.
    """
    from speechvq.audio.librosa_lock import librosa

    library, texts, rows = Espeak(), sentences()[:24], []
    for one in (library.speak(text, voice) for voice in VOICES for text in texts):
        mfcc = librosa.feature.mfcc(y=one.wav / 32768, sr=one.sample_rate, n_mfcc=20)[1:]
        rows.append(np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)]))
    table = (np.array(rows) - np.mean(rows, axis=0)) / np.std(rows, axis=0)
    distance = np.linalg.norm(table[:, None] - table, axis=2) + np.diag(np.full(len(table), np.inf))
    speakers = np.repeat([voice.speaker for voice in VOICES], len(texts))
    right = speakers[np.argmin(distance, axis=1)] == speakers
    assert np.mean(right) > 0.9  # chance: 0.08
    assert min(np.mean(right[speakers == voice.speaker]) for voice in VOICES) > 0.7


def test_every_voice_exists():
    """espeak-ng speaks "en-us+nonsense" as plain "en-us", without an error."""
    assert len({voice.name for voice in VOICES}) == len({voice.speaker for voice in VOICES}) == len(VOICES) >= 10
    variants = Path(loader.get_data_path()) / "voices" / "!v"
    for voice in VOICES:
        assert (variants / voice.name.partition("+")[2]).is_file()


def test_an_unknown_voice_is_named():
    with pytest.raises(SpeechVQError, match="no voice 'xx-nonsense'"):
        Espeak().speak("Hello.", Voice("x", "xx-nonsense", 170, 50, "F", "none"))


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechVQError, match=r'^the demo corpus needs espeakng_loader: pip install "\.\[demo\]"$'):
        Espeak()


def test_without_its_data_espeak_is_an_error_and_not_the_end_of_the_process(tmp_path):
    code = f"""
import espeakng_loader
from speechvq import SpeechVQError
from speechvq.data.corpora.espeak import Espeak
espeakng_loader.get_data_path = lambda: {str(tmp_path / "nothing")!r}
try:
    Espeak()
except SpeechVQError as error:
    print("CAUGHT", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "CAUGHT espeak-ng cannot be initialized" in done.stdout
