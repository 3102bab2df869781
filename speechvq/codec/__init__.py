"""Codec: a trained model, from audio to codes and back."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.codec.arguments import as_list
from speechvq.codec.devices import torch_device
from speechvq.codec.encoded import Encoded, stream_number
from speechvq.codec.encoding import Speech, SpeechEncoder
from speechvq.codec.melody import melody_by_frame
from speechvq.config import HIGHEST_HIGH_PASS, CodecRun
from speechvq.config.shapes import as_path, check_number
from speechvq.folder.card import (
    CONFIG,
    WEIGHTS,
    Card,
    file_of_no_model,
    load_card,
    model_folder,
    save_card,
    speaker_index,
)
from speechvq.folder.description import describe
from speechvq.folder.fingerprint import WeightsSummary
from speechvq.folder.histogram import HISTOGRAM, load_histogram, save_histogram
from speechvq.folder.hub import Pretrained
from speechvq.folder.readme import README, readme_text, save_readme
from speechvq.folder.weights import count_parameters, fingerprint, load_module, save_tensors
from speechvq.nn.decoder.contract import UNCHANGED, PitchChange
from speechvq.nn.vqvae import VQVAE, build
from speechvq.wavenet.sampler import Sampling

__all__ = ["UTTERANCES_PER_BATCH", "Codec", "Encoded", "stream_number", "torch_device"]

UTTERANCES_PER_BATCH = 16  # decoded at once: one step of 16 costs little more than one of 1


class Codec(SpeechEncoder, Pretrained):
    """Encodes speech into codes, and decodes codes into speech with the voice of any of the model's speakers.

    >>> codec = Codec.load("convert-50hz")
    >>> codes = codec.encode(wav, sample_rate)
    >>> wav = codec.decode(codes, "p225")

    model: the network.
    card: its configuration and speakers.
    figures: held-out figures of its training.
    high_pass: cutoff in Hz of the filter that audio goes through before it is encoded; 0 for none.
    fingerprint: 16 hex digits that name the weights of encoder and bottleneck.
    histogram: (K,) int64, how often each code was used in training; None if that is not known.
    readme: the text of its README.md, with licence, data and figures; '' if it has none.
    """

    def __init__(
        self,
        model: VQVAE,
        card: Card,
        figures: dict[str, float],
        device: torch.device,
        histogram: np.ndarray | None = None,
        readme: str = "",
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.card = card
        self.high_pass = card.high_pass
        self.histogram = histogram
        self.readme = readme
        # Models that differ only in the decoder understand each other's codes.
        self.fingerprint = fingerprint(model.encoder, model.bottleneck)
        self.figures = figures
        self.device = device

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "Codec":
        """Read a model folder, or the packaged model of that name.

        device: "cpu", "cuda", "cuda:1", ...

        Raises SpeechVQError if there is no such model, it is damaged, or the device cannot be used.
        """
        folder = model_folder(path)
        chosen = torch_device(device)
        card = load_card(folder, "codec")
        assert isinstance(card.config, CodecRun)
        config = card.config.model
        model, figures = load_module(lambda: build(config, len(card.speakers)), folder / WEIGHTS)
        return cls(model, card, figures, chosen, load_histogram(folder, model.bottleneck.codes), readme_text(folder))

    def save(self, folder: str | Path) -> None:
        """Write a model folder, which `Codec.load` reads, with the README.md of this one unless there is one.

        Raises SpeechVQError if it would replace a file that is of no model.
        """
        folder = as_path(folder, "a model")
        other = file_of_no_model(folder, (CONFIG, WEIGHTS, HISTOGRAM))
        if other:
            raise SpeechVQError(f"{other} is of no model; remove it, or name another folder")
        save_card(folder, self.card)
        save_tensors(folder / WEIGHTS, self.model.state_dict(), self.figures)
        if self.histogram is not None:
            save_histogram(folder, self.histogram)
        if self.readme and not (folder / README).exists():
            save_readme(folder, self.readme)

    def to(self, device: str) -> "Codec":
        """Move the model to a device, such as "cuda" -> this codec.

        Raises SpeechVQError if the device cannot be used.
        """
        self.device = torch_device(device)
        self.model.to(self.device)
        return self

    def __repr__(self) -> str:
        about = self.describe()
        codes = f"{about['codes']} codes" if "codes" in about else f"{about['bottleneck']} latents"
        voices = f"{about['decoder']} decoder, {len(self.speakers)} speakers"
        return f"<Codec {self.fingerprint}: {codes} at {about['latents_per_s']:g} Hz, {voices}, on {self.device}>"

    def after_high_pass(self, cutoff: float) -> "Codec":
        """This codec for audio that has been through a high-pass of `cutoff` Hz, such as that of a prepared corpus."""
        check_number(cutoff, "the cutoff of a high-pass", 0, HIGHEST_HIGH_PASS)
        codec = copy.copy(self)
        codec.high_pass = 0.0 if cutoff >= self.high_pass else self.high_pass
        return codec

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names that `decode` and `convert` take."""
        return self.card.speakers

    def describe(self) -> dict[str, Any]:
        """The result of `speechvq info`: rates, sizes, held-out figures and speakers."""
        return describe(self.card, WeightsSummary(self.fingerprint, count_parameters(self.model), self.figures))

    def decode(
        self,
        codes: ArrayLike | Tensor,
        speaker: str,
        *,
        temperature: float = 1.0,
        seed: int = 0,
        semitones: float = 0.0,
        melody: ArrayLike | Tensor | None = None,
    ) -> Tensor:
        """The wav (N * hop_length,) at 16 kHz of codes (N,), with the voice of `speaker`.

        temperature: of a WaveNet's samples; 0 takes the most likely one. Other decoders have none.
        seed: of a WaveNet's samples, of a source-filter decoder's noise, of Griffin-Lim's first phases.
        semitones: by which the pitch is raised, of a source-filter decoder alone.
        melody: (M,) in semitones, as of `melody`: how the pitch moves around the mean of the predicted one.

        Raises SpeechVQError if these are not the model's codes, it does not have the speaker, or its decoder predicts
        no pitch that could be changed.
        """
        row = self._codes(codes)
        change = self.pitch_change(len(row), semitones, melody=melody)
        return self.decode_many([row], [speaker], Sampling(temperature, seed), [change])[0]

    def convert(
        self,
        wav: Speech,
        sample_rate: int | None = None,
        speaker: str = "",
        *,
        temperature: float = 1.0,
        seed: int = 0,
        semitones: float = 0.0,
        keep_pitch: bool = False,
        melody: bool = False,
        gain: float | None = None,
    ) -> Tensor:
        """The same words with the voice of `speaker`: a wav at 16 kHz of the same duration.

        keep_pitch: with the pitch of the wav instead of that predicted for the speaker, raised by `semitones`.
        melody: with the melody of the wav around the mean of the pitch that is predicted, as a file of codes keeps it.
        gain: as of `encode`; with one, the result is that of `streamer`, bit for bit, which does not keep the pitch.
        Other arguments, and errors, as of `encode` and `decode`.
        """
        if gain is not None:
            if keep_pitch or melody:
                raise SpeechVQError("with a gain, the speech is that of a stream, which does not keep the pitch")
            stream = self.streamer(speaker, gain=gain, seed=seed, semitones=semitones)
            return torch.cat([stream.push(self._mono(wav, sample_rate)), stream.flush()])
        return self.convert_many(
            [wav],
            sample_rate,
            speaker,
            temperature=temperature,
            seed=seed,
            semitones=semitones,
            keep_pitch=keep_pitch,
            melody=melody,
        )[0]

    def convert_many(
        self,
        wavs: Sequence[Speech],
        sample_rate: int | None = None,
        speaker: str | Sequence[str] = "",
        *,
        temperature: float = 1.0,
        seed: int = 0,
        semitones: float = 0.0,
        keep_pitch: bool = False,
        melody: bool = False,
    ) -> list[Tensor]:
        """`convert` for several wavs or files, which are decoded in batches.

        speaker: for all of them, or one for each.
        """
        wavs = as_list(wavs, "several wavs")
        speakers = [speaker] * len(wavs) if isinstance(speaker, str) else as_list(speaker, "speakers")
        for name in speakers:
            self._speaker(name)  # an unknown one is refused before the work
        monos = [self._mono(wav, sample_rate) for wav in wavs]
        codes = self.encode_many(monos, self.sample_rate)
        pitches = [self.pitch_of(mono, semitones, keep_pitch=keep_pitch, melody=melody) for mono in monos]
        decoded = self.decode_many(codes, speakers, Sampling(temperature, seed), pitches)
        return [wav[: len(mono)] for wav, mono in zip(decoded, monos, strict=True)]

    @torch.inference_mode()
    def decode_many(
        self,
        codes: Sequence[ArrayLike | Tensor],
        speakers: Sequence[str],
        sampling: Sampling,
        pitches: Sequence[PitchChange] = (),
    ) -> list[Tensor]:
        """`decode` for several utterances at once, in batches, the longest first.

        pitches: of each utterance; () leaves the pitch as predicted.

        The random numbers of an utterance depend on the seed and its codes only, so that its audio does not depend on
        the others in the batch.
        """
        rows = [self._codes(row) for row in as_list(codes, "codes of several utterances")]
        speakers = as_list(speakers, "speakers")
        if len(rows) != len(speakers) or len(pitches) not in (0, len(rows)):
            raise SpeechVQError(f"{len(rows)} utterances have {len(speakers)} speakers, not one each")
        index, changes = [self._speaker(speaker) for speaker in speakers], pitches or [UNCHANGED] * len(rows)
        for change in changes:
            self.check_pitch(change.semitones, change.of_recording)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        result: dict[int, Tensor] = {}
        for start in range(0, len(order), UTTERANCES_PER_BATCH):
            batch = order[start : start + UTTERANCES_PER_BATCH]
            speaker = torch.tensor([index[i] for i in batch], device=self.device)
            streams = [stream_number(rows[i]) for i in batch]
            wavs = self.model.decode([rows[i] for i in batch], speaker, sampling, streams, [changes[i] for i in batch])
            result |= {i: wav.cpu() for i, wav in zip(batch, wavs, strict=True)}
        return [result[i] for i in range(len(rows))]

    def stream(
        self, codes: ArrayLike | Tensor, speaker: str, *, temperature: float = 1.0, seed: int = 0
    ) -> Iterator[Tensor]:
        """`decode` in pieces, each as soon as it is decoded: 0.1 s by a WaveNet, half a minute by the others."""
        yield from self.decode_pieces(codes, speaker, Sampling(temperature, seed))

    @torch.inference_mode()
    def decode_pieces(
        self, codes: ArrayLike | Tensor, speaker: str, sampling: Sampling, pitch: PitchChange = UNCHANGED
    ) -> Iterator[Tensor]:
        """`stream` with all settings of `Sampling`, and another pitch."""
        self.check_pitch(pitch.semitones, pitch.of_recording)
        row = self._codes(codes)
        vectors, index = self.model.discrete.vectors(row), torch.tensor([self._speaker(speaker)], device=self.device)
        streams = [stream_number(row)]
        for [piece] in self.model.speech_decoder.stream([vectors], index, sampling, streams, [pitch]):
            yield piece.cpu()

    def pitch_of(
        self, wav: Tensor, semitones: float = 0.0, *, keep_pitch: bool = False, melody: bool = False
    ) -> PitchChange:
        """The pitch of a conversion of a wav (T,) at 16 kHz, for `decode_many`; arguments as of `convert`.

        Raises SpeechVQError if both pitch and melody are to be kept, or the decoder predicts no pitch.
        """
        if keep_pitch and melody:
            raise SpeechVQError("a conversion keeps the pitch of the recording or its melody, not both")
        self.check_pitch(semitones, keep_pitch or melody)
        codes = -(-len(wav) // self.hop_length)
        contour = self._pitch(lambda: [wav], codes) if keep_pitch else None
        return self.pitch_change(codes, semitones, contour, self.melody(wav, self.sample_rate) if melody else None)

    def pitch_change(
        self,
        codes: int,
        semitones: float = 0.0,
        contour: Tensor | None = None,
        melody: ArrayLike | Tensor | None = None,
        lost: Sequence[tuple[int, int]] = (),
    ) -> PitchChange:
        """The pitch of so many codes, for `decode_many`.

        semitones: by which it is raised.
        contour, melody, lost: as of `Encoded`; with a melody the contour has no effect.
        """
        if melody is None:
            return PitchChange(semitones, contour)
        decoder = self.model.speech_decoder
        upsample = decoder.hop_length // decoder.frame_length
        frames = melody_by_frame(melody, codes * upsample, decoder.frame_length)
        for first, end in lost:
            frames[first * upsample : end * upsample] = torch.nan
        return PitchChange(semitones, melody=frames)

    def check_pitch(self, semitones: float, of_recording: bool) -> None:
        """Raises SpeechVQError if the pitch is to be another than predicted, and the decoder predicts none, or as
        `PitchChange` does."""
        PitchChange(semitones)
        if (semitones or of_recording) and not self.model.speech_decoder.predicts_pitch:
            kind = self.card.config.model.decoder.kind  # type: ignore[union-attr]
            raise SpeechVQError(
                f"a {kind} decoder predicts no pitch to change; source_filter, vocoder and band_wavenet do"
            )

    def _speaker(self, name: str) -> int:
        """The row of a speaker; raises SpeechVQError if there is no such speaker, or no decoder."""
        _ = self.model.speech_decoder
        return speaker_index(self.speakers, name)
