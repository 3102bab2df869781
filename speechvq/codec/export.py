"""A codec as ONNX files, for programs without PyTorch, each checked against the codec itself.

ONNX has no complex numbers: Fourier transforms are products with matrices of cosines and sines.
"""

import copy
import io
import math
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import MEL_FLOOR, MFCC, LogMel
from speechvq.audio.level import LOUDNESS
from speechvq.audio.source_filter import DEFAULT_PITCH, FFT_SIZE, MAX_PITCH, MIN_PITCH
from speechvq.codec import Codec
from speechvq.extras import needed_for
from speechvq.files import atomic_write, save_json
from speechvq.folder.readme import save_readme
from speechvq.nn.decoder.band_wavenet import BandWaveNetDecoder
from speechvq.nn.decoder.source_filter import FILTER_BANDS, INITIAL_GAIN, SourceFilterDecoder, white_noise

ENCODER, DECODER, ABOUT = "encoder.onnx", "decoder.onnx", "export.json"
OPSET = 17
PROBE_SECONDS = 2.0
LEAST_EQUAL = 0.99  # share of the codes of the probe that must be the same: a rounding may turn one in hundreds
MOST_ERROR = -50.0  # dB of the difference of its decoded speech, below the power of that


class RealLogMel(nn.Module):
    """`LogMel` without complex numbers: wav (B, T) -> (B, n_mels, T // hop)."""

    kernels: Tensor
    filters: Tensor

    def __init__(self, mel: LogMel) -> None:
        super().__init__()
        self.hop, self.n_fft, left = mel.hop, mel.n_fft, (mel.n_fft - len(mel.hann)) // 2
        window = F.pad(mel.hann, (left, mel.n_fft - len(mel.hann) - left))
        cosines, sines = dft(mel.n_fft)
        self.register_buffer("kernels", (torch.cat([cosines, sines]) * window)[:, None])
        self.register_buffer("filters", mel.filters.T.contiguous())

    def forward(self, wav: Tensor) -> Tensor:
        left = (self.n_fft - self.hop) // 2
        padded = F.pad(wav, (left, self.n_fft - self.hop - left))
        real, imaginary = F.conv1d(padded[:, None], self.kernels, stride=self.hop).chunk(2, 1)
        return (self.filters @ (real.square() + imaginary.square()).sqrt()).clamp(min=MEL_FLOOR).log()


class RealMFCC(nn.Module):
    """`MFCC` without complex numbers: wav (B, T) -> (B, 39, T // hop)."""

    dct: Tensor
    slope: Tensor

    def __init__(self, mfcc: MFCC) -> None:
        super().__init__()
        self.mel = RealLogMel(mfcc.mel)
        self.register_buffer("dct", mfcc.dct.T.contiguous())
        self.register_buffer("slope", torch.arange(-2.0, 3.0).repeat(len(self.dct), 1, 1) / 10)

    def forward(self, wav: Tensor) -> Tensor:
        cepstrum = self.dct @ self.mel(wav)
        delta = self.delta(cepstrum)
        return torch.cat([cepstrum, delta, self.delta(delta)], 1)

    def delta(self, values: Tensor) -> Tensor:
        """The slope (B, C, F) of values (B, C, F) over five frames, as torchaudio computes it."""
        first, last = values[..., :1], values[..., -1:]
        return F.conv1d(torch.cat([first, first, values, last, last], 2), self.slope, groups=len(self.slope))


class ExportedEncoder(nn.Module):
    """wav (1, T) at the high-pass and loudness of training, T a multiple of the hop length -> codes (1, N) int64."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.bottleneck = copy.deepcopy(codec.model.discrete).cpu()
        self.encoder = copy.deepcopy(codec.model.encoder).cpu()
        self.features: nn.Module = self.encoder.input
        if isinstance(self.encoder.input, LogMel):
            self.features = RealLogMel(self.encoder.input)
        elif isinstance(self.encoder.input, MFCC):
            self.features = RealMFCC(self.encoder.input)

    def forward(self, wav: Tensor) -> Tensor:
        return self.bottleneck.encode(self.encoder.from_features(self.features(wav)))


class ExportedSourceFilter(nn.Module):
    """codes (1, N) and speaker (1,) int64, noise (1, N * hop_length) of variance 1 -> wav (1, N * hop_length)."""

    to_gains: Tensor
    window: Tensor
    spectrum: Tensor
    phase: Tensor
    inverse: Tensor
    overlap: Tensor

    def __init__(self, codec: Codec, decoder: SourceFilterDecoder) -> None:
        super().__init__()
        self.bottleneck, self.decoder = copy.deepcopy(codec.model.discrete).cpu(), copy.deepcopy(decoder).cpu()
        hop = self.hop = decoder.frame_length
        cosines, sines = dft(FFT_SIZE)
        half = FFT_SIZE // 2
        # The weight of each bin of a half spectrum in its inverse transform.
        weight = torch.full((half + 1,), 2.0 / FFT_SIZE).double()
        weight[0] = weight[-1] = 1.0 / FFT_SIZE
        back_real, back_imaginary = cosines.double().T * weight, sines.double().T * weight
        fold = torch.full((half + 1,), 2.0).double()  # of a cepstrum onto its causal half
        fold[0] = fold[-1] = 1.0
        phase = sines.double()[:, : half + 1] * fold @ back_real[: half + 1]
        self.register_buffer("to_gains", self.decoder.sharper.clone())
        self.register_buffer("window", torch.diag(torch.hann_window(2 * hop))[:, None])
        self.register_buffer("spectrum", torch.cat([cosines, sines])[:, : 2 * hop].contiguous())
        self.register_buffer("phase", phase.float())
        self.register_buffer("inverse", torch.cat([back_real, back_imaginary], 1).float())
        self.register_buffer("overlap", torch.eye(FFT_SIZE)[:, None])

    def forward(self, codes: Tensor, speaker: Tensor, noise: Tensor) -> Tensor:
        frames = self.decoder.conditioner(self.bottleneck.lookup(codes), self.decoder.speakers(speaker))
        predicted = self.decoder.filters(self.decoder.project(frames.relu()))
        pitch = (DEFAULT_PITCH * predicted[:, -1].exp()).clamp(MIN_PITCH, MAX_PITCH)
        voice = self.to_gains @ (predicted[:, :FILTER_BANDS] + INITIAL_GAIN)
        breath = self.to_gains @ (predicted[:, FILTER_BANDS : 2 * FILTER_BANDS] + INITIAL_GAIN)
        return (self.filtered(self.pulses(pitch), voice) + self.filtered(noise, breath)).clamp(-1, 1)

    def pulses(self, pitch: Tensor) -> Tensor:
        """`source_filter.pulses` of a pitch (1, F) in Hz: a wav (1, F * hop)."""
        exact = pitch.double()
        before, after = torch.cat([exact[:, :1], exact[:, :-1]], 1), torch.cat([exact[:, 1:], exact[:, -1:]], 1)
        offset = (torch.arange(self.hop, dtype=torch.float64) + 0.5) / self.hop - 0.5
        left, right = offset.clamp(max=0).abs(), offset.clamp(min=0)
        parts = before[..., None] * left + after[..., None] * right + exact[..., None] * (1 - left - right)
        frequency = parts.flatten(1)
        cycles = (frequency / SAMPLE_RATE).cumsum(1)
        angle = (math.pi * (cycles - (cycles + 0.5).floor())).float()  # within half a cycle: exact enough
        count = (SAMPLE_RATE / 2 / frequency.float()).floor()
        sine = angle.sin()
        peak = (sine.abs() < 1e-6).float()
        train = ((2 * count + 1) * angle).sin() / (2 * (sine + peak)) - 0.5
        return (train * (1 - peak) + count * peak) * (2 / count).sqrt()

    def filtered(self, source: Tensor, log_gains: Tensor) -> Tensor:
        """`source_filter.apply_filters`: source (1, F * hop), log_gains (1, FFT_SIZE / 2 + 1, F) -> wav."""
        gains = torch.cat([log_gains[..., :1], log_gains, log_gains[..., -1:]], 2)
        first = self.hop + self.hop // 2
        frames = F.conv1d(F.pad(source, (first, 3 * self.hop - first))[:, None], self.window, stride=self.hop)
        real, imaginary = (self.spectrum @ frames).chunk(2, 1)
        angle = self.phase @ gains
        level_real, level_imaginary = gains.exp() * angle.cos(), gains.exp() * angle.sin()
        product = real * level_real - imaginary * level_imaginary, real * level_imaginary + imaginary * level_real
        pieces = self.inverse @ torch.cat(product, 1)
        added = F.conv_transpose1d(pieces, self.overlap, stride=self.hop)[:, 0]
        return added[:, first : first + source.shape[1]]


def dft(size: int) -> tuple[Tensor, Tensor]:
    """The matrices (size / 2 + 1, size) of the real and the imaginary part of a real signal's Fourier transform."""
    angle = 2 * math.pi / size * (torch.arange(size // 2 + 1)[:, None] * torch.arange(size) % size).double()
    return angle.cos().float(), -angle.sin().float()


def export_codec(codec: Codec, out: Path) -> dict[str, float]:
    """Write OUT/encoder.onnx, OUT/export.json and, of a source_filter or a vocoder decoder, OUT/decoder.onnx.

    Returns `codes_equal`, the share of the codes of a probe signal that ONNX Runtime finds as the codec does, and
    `decoder_error_db`, the power of the difference of its speech from the codec's, below that of the speech.
    Raises SpeechVQError if the model is continuous, a package is missing, or ONNX Runtime disagrees.
    """
    with needed_for("writing ONNX files", "export"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    wav, hop = probe_signal(codec.hop_length), codec.hop_length
    with torch.inference_mode():
        codes = codec.model.encode(wav.to(codec.device)).cpu()
    axes = {"wav": {1: "samples"}, "codes": {1: "codes"}}
    encoder = ExportedEncoder(codec).eval()
    _write(encoder, (wav,), out / ENCODER, ["wav"], ["codes"], axes)
    found = _run(out / ENCODER, {"wav": wav})
    figures = {"codes_equal": float((found == codes.numpy()).mean())}
    if figures["codes_equal"] < LEAST_EQUAL:
        raise SpeechVQError(f"{out / ENCODER}: only {100 * figures['codes_equal']:.1f} % of its codes are the model's")
    decoder = codec.model.decoder
    exports = isinstance(decoder, SourceFilterDecoder) and not isinstance(decoder, BandWaveNetDecoder)
    about = {
        "fingerprint": codec.fingerprint,
        "sample_rate": SAMPLE_RATE,
        "hop_length": hop,
        "codes": codec.alphabet.codes,
        "high_pass": codec.high_pass,
        "loudness": LOUDNESS,
        "speakers": list(codec.speakers),
        "decoder": exports,
    }
    if isinstance(decoder, SourceFilterDecoder) and exports:
        figures["decoder_error_db"] = _export_decoder(codec, decoder, codes, out / DECODER)
    save_json(out / ABOUT, about | {"checked": figures})
    if codec.readme:
        save_readme(out, codec.readme)
    return figures


def _export_decoder(codec: Codec, decoder: SourceFilterDecoder, codes: Tensor, path: Path) -> float:
    """Write a decoder -> its error in dB."""
    speaker, noise = torch.tensor([0]), white_noise(torch.empty(1, codes.shape[1] * codec.hop_length), seed=0)
    axes = {"codes": {1: "codes"}, "noise": {1: "samples"}, "wav": {1: "samples"}}
    exported = ExportedSourceFilter(codec, decoder).eval()
    _write(exported, (codes, speaker, noise), path, ["codes", "speaker", "noise"], ["wav"], axes)
    found = torch.from_numpy(_run(path, {"codes": codes, "speaker": speaker, "noise": noise}))
    expected = codec.decode(codes[0], codec.speakers[0], seed=0)
    error = 10 * math.log10((found - expected).square().mean().item() / expected.square().mean().item() + 1e-12)
    if error > MOST_ERROR:
        raise SpeechVQError(f"{path}: its speech differs from the model's by {error:.0f} dB")
    return error


def probe_signal(hop: int) -> Tensor:
    """A wav (1, T) of gliding harmonics and noise, T a multiple of the hop."""
    samples = round(PROBE_SECONDS * SAMPLE_RATE / hop) * hop
    time = torch.arange(samples) / SAMPLE_RATE
    phase = 2 * math.pi * (120 * time + 20 * time.square())
    tones = torch.stack([(n * phase).sin() / n for n in range(1, 20)]).sum(0)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    level = 0.5 + 0.5 * (2 * math.pi * 3 * time).sin()
    return (0.05 * level * tones + 0.02 * (1 - level) * noise)[None]


def _write(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
) -> None:
    said = io.StringIO()  # the exporter prints the whole graph if it cannot write it
    with atomic_write(path) as temporary, warnings.catch_warnings(), torch.inference_mode(), redirect_stdout(said):
        warnings.simplefilter("ignore")  # of tracing, and that it is the older exporter: the newer needs a package more
        try:
            torch.onnx.export(
                module,
                inputs,
                temporary,
                input_names=names,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise SpeechVQError(f"{path}: ONNX has no such operation ({str(error).partition('.')[0]})") from None


def _run(path: Path, inputs: dict[str, Tensor]) -> np.ndarray:
    """The first output of an ONNX file, by ONNX Runtime on the CPU."""
    with needed_for("writing ONNX files", "export"):
        import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]
    return result
