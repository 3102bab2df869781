"""The decoder that predicts a log-mel spectrogram and pitch, and speaks them with a vocoder that is trained beside."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.audio import source_filter as source
from speechvq.config import BandWaveNetDecoderConfig, VocoderDecoderConfig
from speechvq.nn.decoder.source_filter import FILTER_BANDS, SourceFilterDecoder, pitch_loss
from speechvq.nn.distributed import all_rows, rank_and_count

MEL_MEAN, MEL_SCALE = -5.0, 2.5  # nats: of the log-mel of speech, about
VOCODER_SHARE = 8  # one of so many rows of a batch trains the vocoder, which needs less speech than the conditioner
VOCODER_KERNEL = 5  # frames of the first convolution; the others have a kernel of 1


class Vocoder(nn.Module):
    """Log-mel (B, FILTER_BANDS, F) and log pitch (B, 1, F) to the filters (B, 2 * FILTER_BANDS, F) of pulses and noise.

    The filters are corrections of the spectrum itself: where it has a harmonic depends on the pitch, and how much of it
    is noise on its neighbours.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.input = nn.Conv1d(FILTER_BANDS + 2, channels, VOCODER_KERNEL, padding=VOCODER_KERNEL // 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GELU(), nn.Conv1d(channels, channels, 1), nn.GELU(), nn.Conv1d(channels, channels, 1))
            for _ in range(blocks)
        )
        self.output = nn.Conv1d(channels, 2 * FILTER_BANDS, 1)

    def forward(self, mel: Tensor, pitch: Tensor) -> Tensor:
        x = self.input(torch.cat([(mel - MEL_MEAN) / MEL_SCALE, pitch, pitch.square()], 1))
        for block in self.blocks:
            x = x + block(x)
        filters: Tensor = self.output(F.gelu(x)) + (mel - MEL_MEAN).repeat(1, 2, 1)
        return filters


class VocoderDecoder(SourceFilterDecoder):
    """Log-mel and pitch by regression, and a source-filter vocoder, which is trained on what is predicted.

    A predicted spectrum is smoother than a recording's: a vocoder of recordings would hear no noise in it, and buzz.
    The loss `mel` is the mean absolute difference of the log-mel, in nats; `pitch` as in `SourceFilterDecoder`;
    `vocoder` compares the spectra of what the vocoder says, at the pitch of the recording, to those of the recording;
    `transpose`, in training, compares the pitch that is predicted for another speaker (see `transposed_pitch`), so that
    the codes cannot give that of the source.

    Raises SpeechVQError if frames are longer than MAX_FRAME_LENGTH.
    """

    def __init__(
        self, config: VocoderDecoderConfig | BandWaveNetDecoderConfig, dim: int, speakers: int, hop_length: int
    ) -> None:
        super().__init__(config, dim, speakers, hop_length)
        self.project = nn.Conv1d(config.conditioner.channels, FILTER_BANDS + 1, 1)
        self.vocoder = Vocoder(config.vocoder_channels, config.vocoder_blocks)
        self.transpose = config.transpose if isinstance(config, VocoderDecoderConfig) else 0.0

    @property
    def reach(self) -> tuple[int, int]:
        return self.conditioner.reach(VOCODER_KERNEL // 2)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        predicted = self.project(self.conditioner(z_q, self.speakers(speaker)).relu()).float()
        with torch.autocast(wav.device.type, enabled=False):
            wav = wav.float()
            mel, (pitch, voiced) = self.short(wav), source.pitch(wav, self.frame_length)
            some = slice(-(-len(wav) // VOCODER_SHARE))
            spectrum, log_pitch = log_mel(predicted[some].detach()), (pitch[some, None] / source.DEFAULT_PITCH).log()
            filters = self.vocoder(spectrum, log_pitch)
            losses = {
                "mel": F.l1_loss(log_mel(predicted), mel),
                "pitch": pitch_loss(predicted[:, -1], pitch, voiced),
                "vocoder": torch.stack(self.spectral_losses(filters, pitch[some], wav[some])).sum(),
            }
        if self.training and self.transpose:
            others, target, known = transposed_pitch(speaker, pitch, voiced)
            predicted = self.project(self.conditioner(z_q, self.speakers(others)).relu()).float()
            losses["transpose"] = self.transpose * pitch_loss(predicted[:, -1], target, known)
        return losses

    def filters(self, predicted: Tensor) -> Tensor:
        pitch = predicted[:, -1:]
        return torch.cat([self.vocoder(log_mel(predicted), pitch), pitch], 1)


def transposed_pitch(speaker: Tensor, pitch: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pitch of each row of a batch as another speaker might have it, that of the row before.

    The contour is the row's own, moved by a constant to the other row's mean, of logarithms in voiced frames.

    speaker: (B,) int64.
    pitch, voiced: (B, F) (see `source_filter.pitch`).

    Returns the other speakers (B,), the pitch in their voices (B, F), and which of its frames are voiced (B, F): none
    in a row if one of the two has no voiced frame.
    """
    rank, count = rank_and_count()
    mean = (pitch.log() * voiced).sum(1) / voiced.sum(1).clamp(min=1)
    rows = torch.stack([speaker.to(mean), mean, voiced.any(1).to(mean)], 1)
    others, other_mean, other_voiced = all_rows(rows).roll(1, 0)[rank::count].T
    moved = (pitch * (other_mean - mean).exp()[:, None]).clamp(source.MIN_PITCH, source.MAX_PITCH)
    return others.long(), moved, voiced * (other_voiced > 0)[:, None]


def log_mel(predicted: Tensor) -> Tensor:
    """The log-mel (B, FILTER_BANDS, F), in nats, of a prediction (B, FILTER_BANDS + 1, F)."""
    return MEL_MEAN + MEL_SCALE * predicted[:, :-1]
