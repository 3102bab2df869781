"""The decoder of log-mel frames, the fastest to train."""

from torch import Tensor

from speechvq.audio.features import griffin_lim
from speechvq.config import MelDecoderConfig
from speechvq.nn.decoder.contract import MEL_WINDOW, UNCHANGED, MelHead, PitchChange
from speechvq.nn.decoder.frames import FrameDecoder, equal_power


class MelDecoder(FrameDecoder):
    """Log-mel frames, rendered by Griffin-Lim, which invents the phases of every piece anew."""

    reconstruction = "mel"

    def __init__(self, config: MelDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.mel = MelHead(config.conditioner.channels, self.frame_length)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        return {"mel": self.mel.loss(self.conditioner(z_q, self.speakers(speaker)), wav)}

    def render(self, frames: Tensor, seed: int, pitch: PitchChange = UNCHANGED) -> Tensor:
        return griffin_lim(self.mel(frames), self.frame_length, MEL_WINDOW, seed=seed)[0]

    def join(self, tail: Tensor, head: Tensor) -> Tensor:
        return equal_power(tail, head)
