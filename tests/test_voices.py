"""Another pitch, loudness and sample rate of decoded speech, all speakers at once, and the conveniences of Codec."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from trees import tone

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.audio.level import Meter
from speechvq.audio.output import OutputAudio
from speechvq.audio.source_filter import pitch, pitch_contour
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.codec.melody import melody_by_frame
from speechvq.config import CodecRun
from speechvq.config.parsing import parse
from speechvq.folder.card import Card
from speechvq.nn.decoder.source_filter import FILTER_BANDS
from speechvq.nn.vqvae import build

GOLDEN = Path(__file__).parent / "golden" / "models"
RATE = 16_000
MONOTONE = 150.0  # Hz, of the voice below


@pytest.fixture(scope="module")
def voice() -> Codec:
    """Whatever it is given, it hums at MONOTONE: pulses alone, all filters open."""
    parts = {
        "encoder": {"kind": "logmel", "strides": [2], "channels": 8, "blocks": 1},
        "bottleneck": {"kind": "ema", "codes": 4, "dim": 4},
        "decoder": {"kind": "source_filter", "conditioner": {"upsample": 2, "channels": 8, "blocks": 1}},
    }
    config = parse(CodecRun, {"model": parts})
    torch.manual_seed(0)
    model = build(config.model, 2)
    decoder = model.decoder
    decoder.project.weight.data.zero_()
    decoder.project.bias.data = torch.tensor([3.0] * FILTER_BANDS + [-20.0] * FILTER_BANDS + [0.0])
    model.bottleneck.initialize(torch.randn(4, 4))
    return Codec(model, Card(config, ("one", "two")), {}, torch.device("cpu"))


def glide(start: float, end: float, seconds: float = 1.5) -> torch.Tensor:
    """Harmonics of a fundamental that rises from `start` to `end` Hz."""
    hertz = np.geomspace(start, end, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return torch.from_numpy(0.05 * sum(np.sin(n * phase) / n for n in range(1, 12))).float()


def contour(wav: torch.Tensor) -> torch.Tensor:
    """The pitch in Hz of the inner frames of 10 ms."""
    values, voiced = pitch(wav[None], 160)
    assert voiced[0, 10:-10].float().mean() > 0.9
    return values[0, 10:-10]


@pytest.mark.parametrize("semitones", [0, 7, -12])
def test_the_pitch_is_raised_by_semitones(voice, semitones):
    wav = voice.decode([0, 1, 2, 3] * 15, "one", semitones=semitones)
    assert contour(wav).median().item() == pytest.approx(MONOTONE * 2 ** (semitones / 12), rel=0.01)


@pytest.mark.parametrize("semitones", [0, 5])
def test_the_pitch_of_the_recording_is_kept(voice, semitones, monkeypatch):
    """Frame by frame, also where pieces meet, and whatever the level of the recording."""
    monkeypatch.setattr("speechvq.audio.windows.WINDOW_SAMPLES", 4_000)
    wav = glide(110, 180)
    expected = contour(wav) * 2 ** (semitones / 12)
    for level in (1.0, 0.002):
        kept = voice.convert(level * wav, RATE, "two", semitones=semitones, keep_pitch=True)
        assert len(kept) == len(wav)
        assert (contour(kept) / expected - 1).abs().max() < 0.03
    assert contour(voice.convert(wav, RATE, "two")).std() < 3


@pytest.mark.parametrize("semitones", [0, 5])
def test_speech_follows_a_melody(voice, semitones, monkeypatch):
    """Around the mean of what is predicted, also where pieces meet."""
    monkeypatch.setattr("speechvq.nn.decoder.frames.PIECE_LENGTH", 8_000)
    melody = [0.0, 2.0, 6.0, 4.0, -2.0, -6.0, -4.0, 0.0, 2.0]
    wav = voice.decode([0, 1, 2, 3] * 18, "one", semitones=semitones, melody=melody)
    expected = MONOTONE * 2 ** ((melody_by_frame(melody, len(wav) // 160, 160) + semitones) / 12)
    assert (contour(wav) / expected[10:-10] - 1).abs().max() < 0.03
    with pytest.raises(SpeechVQError, match="a melody is a sequence"):
        voice.decode([0, 1], "one", melody=[[0.0]])


def test_a_stream_raises_the_pitch_too(voice):
    wav = glide(110, 180)
    stream = voice.streamer("one", gain=1.0, semitones=7)
    said = torch.cat([*(stream.push(part) for part in wav.split(1_000)), stream.flush()])
    assert contour(said).median().item() == pytest.approx(MONOTONE * 2 ** (7 / 12), rel=0.01)
    assert torch.equal(said, voice.convert(wav, RATE, "one", gain=1.0, semitones=7))
    for how in ({"keep_pitch": True}, {"melody": True}):
        with pytest.raises(SpeechVQError, match="does not keep the pitch"):
            voice.convert(wav, RATE, "one", gain=1.0, **how)


@pytest.mark.parametrize(
    "command",
    [
        "convert - - --raw --speaker one --level -20",
        "convert - - --raw --speaker one --sample-rate 8000",
        "convert - - --raw --all-speakers",
        "convert - - --raw --speaker one --keep-pitch",
        "convert - - --raw --speaker one --melody",
        "encode - - --raw --melody",
        "encode - - --raw --phones",
        "encode - - --raw --format tsv",
    ],
)
def test_a_stream_refuses_what_is_of_whole_files(command, capsys):
    assert main([*command.split(), "--model", str(GOLDEN / "mel")]) == 2
    assert "is of whole files: not with --raw" in capsys.readouterr().err


def test_a_contour_does_not_depend_on_the_pieces_it_comes_in(monkeypatch):
    wav = glide(100, 300)
    whole = pitch_contour([wav], 160)
    monkeypatch.setattr("speechvq.audio.windows.WINDOW_SAMPLES", 3_200)
    for found, expected in zip(pitch_contour(wav.split(777), 160), whole, strict=True):
        assert torch.equal(found, expected)


def test_a_decoder_without_pitch_leaves_the_melody_of_a_file_out(tmp_path):
    tone(tmp_path / "a.wav")
    model = ["--model", str(GOLDEN / "mel")]
    for name, option in (("plain", []), ("sung", ["--melody"])):
        codes, wav = str(tmp_path / f"{name}.svq"), str(tmp_path / f"{name}.wav")
        assert main(["encode", str(tmp_path / "a.wav"), codes, "--speaker", "low", *option, *model]) == 0
        assert main(["decode", codes, wav, *model]) == 0
    assert (tmp_path / "sung.svq").stat().st_size > (tmp_path / "plain.svq").stat().st_size
    assert (tmp_path / "sung.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()


def test_a_decoder_without_pitch_refuses_another_one(tmp_path, capsys):
    codec = Codec.load(GOLDEN / "mel")
    for how in ({"semitones": 2.0}, {"keep_pitch": True}, {"melody": True}):
        with pytest.raises(SpeechVQError, match=r"a mel decoder predicts no pitch to change"):
            codec.convert(np.zeros(1_000), RATE, "low", **how)
    tone(tmp_path / "a.wav")
    command = ["convert", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--model", str(GOLDEN / "mel")]
    assert main([*command, "--speaker", "low", "--pitch", "-3"]) == 2
    assert "predicts no pitch to change" in capsys.readouterr().err
    assert not (tmp_path / "b.wav").exists()


def test_commands_take_pitch_level_and_sample_rate(voice, tmp_path, monkeypatch):
    voice.save(tmp_path / "model")
    model = ["--model", str(tmp_path / "model"), "--speaker", "one"]
    soundfile.write(tmp_path / "a.wav", glide(110, 180).numpy(), RATE)
    out = tmp_path / "out.wav"

    def made(*options: str, source: str = "a.wav") -> torch.Tensor:
        command = "convert" if source == "a.wav" else "decode"
        assert main([command, str(tmp_path / source), str(out), *model, "--force", *options]) == 0
        return read(out)

    assert torch.equal(contour(made("--keep-pitch")), contour(made("--keep-pitch", "--sample-rate", "16000")))
    assert contour(made("--keep-pitch")).diff().mean() > 0
    assert contour(made("--pitch", "12")).median().item() == pytest.approx(2 * MONOTONE, rel=0.01)
    for limit in (10**9, 1_000):  # in one piece, and in pieces
        monkeypatch.setattr("speechvq.coding.jobs.LONG_FILE", limit)
        assert Meter([made("--level", "-31")]).loudness == pytest.approx(-31, abs=0.1)
    made("--sample-rate", "44100", "--level", "-20")
    assert soundfile.info(out).samplerate == 44_100
    assert soundfile.info(out).duration == soundfile.info(tmp_path / "a.wav").duration
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.svq"), "--model", model[1]]) == 0
    lower = made("--pitch", "-5", source="a.svq")
    assert contour(lower).median().item() == pytest.approx(MONOTONE * 2 ** (-5 / 12), rel=0.01)


@pytest.mark.parametrize("option", [["--pitch", "13"], ["--level", "3"], ["--sample-rate", "800"]])
def test_numbers_outside_their_range_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        main(["convert", "a.wav", "b.wav", "--speaker", "one", *option])
    assert "is not a" in capsys.readouterr().err


def test_output_comes_in_pieces_of_any_length():
    wav = glide(110, 180)
    for how in (OutputAudio(), OutputAudio(22_050), OutputAudio(8_000, -30.0)):
        whole = torch.cat([*how.finished([wav])])
        pieces = torch.cat([*how.finished([wav[:0], *wav.split(999), wav[:0]])])
        torch.testing.assert_close(whole, pieces, atol=1e-6, rtol=0)
    assert torch.equal(torch.cat([*OutputAudio().finished([wav])]), wav)


def test_all_speakers_at_once(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    tone(source / "a.wav")
    tone(source / "sub" / "b.wav", frequency=300)
    convert = ["convert", "--model", str(GOLDEN / "mel")]
    assert main([*convert, str(source / "a.wav"), str(out), "--all-speakers"]) == 0
    assert sorted(path.name for path in out.glob("*.wav")) == ["high.wav", "low.wav", "mid.wav"]
    assert main([*convert, str(source / "a.wav"), str(tmp_path / "low.wav"), "--speaker", "low"]) == 0
    assert (tmp_path / "low.wav").read_bytes() == (out / "low.wav").read_bytes()
    capsys.readouterr()
    assert main([*convert, str(source / "a.wav"), str(out), "--all-speakers"]) == 0
    assert capsys.readouterr().out.splitlines() == ["0 written, 3 were there, 0 failed"]
    assert main([*convert, str(source), str(tmp_path / "many"), "--all-speakers"]) == 0
    made = {path.relative_to(tmp_path / "many").as_posix() for path in (tmp_path / "many").rglob("*.wav")}
    assert made == {f"{name}/{file}" for name in ("high", "low", "mid") for file in ("a.wav", "sub/b.wav")}
    assert (tmp_path / "many" / "low" / "a.wav").read_bytes() == (out / "low.wav").read_bytes()


def test_all_speakers_lists_a_bad_file_once(tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("no audio")
    command = ["convert", str(tmp_path / "bad.wav"), str(tmp_path / "out"), "--model", str(GOLDEN / "mel")]
    assert main([*command, "--all-speakers"]) == 1
    assert capsys.readouterr().err.count("failed bad.wav: ") == 1
    (tmp_path / "file").touch()
    assert main([*command[:2], str(tmp_path / "file"), *command[3:], "--all-speakers"]) == 2
    assert "--all-speakers writes a folder" in capsys.readouterr().err


def test_files_and_batches(tmp_path):
    codec = Codec.load(GOLDEN / "mel")
    paths = [tone(tmp_path / f"{i}.wav", 0.2 + 0.1 * i, rate=22_050, frequency=200 + 150 * i) for i in range(3)]
    codes = [codec.encode(path) for path in paths]
    assert all(torch.equal(*pair) for pair in zip(codec.encode_many(map(str, paths)), codes, strict=True))
    names = ["low", "mid", "low"]
    for one, path, name in zip(codec.convert_many(paths, speaker=names, seed=3), paths, names, strict=True):
        torch.testing.assert_close(one, codec.convert(str(path), speaker=name, seed=3), atol=1e-4, rtol=0)
        assert len(one) == len(read(path))
    with pytest.raises(SpeechVQError, match="samples need their sample rate"):
        codec.encode(np.zeros(100))


def test_a_codec_says_what_it_is_and_moves():
    codec = Codec.load(GOLDEN / "mel")
    assert repr(codec) == f"<Codec {codec.fingerprint}: 16 codes at 50 Hz, mel decoder, 3 speakers, on cpu>"
    assert codec.to("cpu") is codec
    with pytest.raises(SpeechVQError, match="device 'nowhere' cannot be used"):
        codec.to("nowhere")
