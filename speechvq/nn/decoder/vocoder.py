"""The decoder that predicts a log-mel spectrogram and pitch, and speaks them with a vocoder that is trained beside."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.audio import source_filter as source
from speechvq.config import BandWaveNetDecoderConfig, VocoderDecoderConfig
from speechvq.nn.decoder.other_speakers import SpeakerClassifier, row_before, transposed_pitch
from speechvq.nn.decoder.source_filter import FILTER_BANDS, SourceFilterDecoder, pitch_loss

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
    `vocoder` compares the spectra of what the vocoder says, at the pitch of the recording, to those of the recording.

    Two losses in training are on what is predicted for the speaker of another row, so that what codes give away of
    their own speaker is not believed. `transposed` is the difference from the row's pitch, moved to that speaker's (see
    `transposed_pitch`); `speaker` the cross-entropy of a classifier of speakers, which learns from recordings and
    predictions by the loss `classifier`.

    Raises SpeechVQError if frames are longer than MAX_FRAME_LENGTH.
    """

    def __init__(
        self, config: VocoderDecoderConfig | BandWaveNetDecoderConfig, dim: int, speakers: int, hop_length: int
    ) -> None:
        super().__init__(config, dim, speakers, hop_length)
        self.project = nn.Conv1d(config.conditioner.channels, FILTER_BANDS + 1, 1)
        self.vocoder = Vocoder(config.vocoder_channels, config.vocoder_blocks)
        self.transposed_weight = self.speaker_weight = 0.0
        if isinstance(config, VocoderDecoderConfig):
            self.transposed_weight, self.speaker_weight = config.transposed_weight, config.speaker_weight
        self.classifier = SpeakerClassifier(FILTER_BANDS, speakers) if self.speaker_weight else None

    @property
    def has_losses_of_others(self) -> bool:
        """Whether it is trained on what it predicts for other speakers."""
        return self.transposed_weight > 0 or self.speaker_weight > 0

    @property
    def reach(self) -> tuple[int, int]:
        return self.conditioner.reach(VOCODER_KERNEL // 2)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        predicted = self.predicted(z_q, speaker)
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
        if self.training and self.has_losses_of_others:
            losses |= self._losses_of_others(z_q, speaker, predicted, mel, pitch, voiced)
        return losses

    def _losses_of_others(
        self, z_q: Tensor, speaker: Tensor, predicted: Tensor, mel: Tensor, pitch: Tensor, voiced: Tensor
    ) -> dict[str, Tensor]:
        """The losses on what is predicted for other speakers.

        predicted: for the speakers themselves, (B, FILTER_BANDS + 1, F).
        mel, pitch, voiced: of the recording.
        """
        others = row_before(speaker)
        moved = self.predicted(z_q, others)
        losses = {}
        if self.transposed_weight:
            losses["transposed"] = self.transposed_weight * pitch_loss(moved[:, -1], *transposed_pitch(pitch, voiced))
        if self.classifier is not None:
            losses["classifier"] = self.classifier.learn((mel - MEL_MEAN) / MEL_SCALE, predicted[:, :-1], speaker)
            losses["speaker"] = self.speaker_weight * self.classifier.judge(moved[:, :-1], others)
        return losses

    def predicted(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """The spectrum and pitch (B, FILTER_BANDS + 1, F) predicted from z_q (B, D, N) for speakers (B,)."""
        prediction: Tensor = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        return prediction.float()

    def filters(self, predicted: Tensor) -> Tensor:
        pitch = predicted[:, -1:]
        return torch.cat([self.vocoder(log_mel(predicted), pitch), pitch], 1)


def log_mel(predicted: Tensor) -> Tensor:
    """The log-mel (B, FILTER_BANDS, F), in nats, of a prediction (B, FILTER_BANDS + 1, F)."""
    return MEL_MEAN + MEL_SCALE * predicted[:, :-1]
