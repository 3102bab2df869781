"""Quantized latents and a speaker to a waveform. `DECODERS` maps a configuration's kind to its class."""

from speechvq.nn.decoder.contract import Conditioner, Decoder
from speechvq.nn.decoder.frames import MelDecoder, SourceFilterDecoder
from speechvq.nn.decoder.mfcc import MFCCDecoder
from speechvq.nn.decoder.wavenet import SILENCE, WaveNetDecoder

__all__ = ["DECODERS", "SILENCE", "Conditioner", "Decoder", "WaveNetDecoder"]
DECODERS: dict[str, type[Decoder]] = {
    "mel": MelDecoder,
    "source_filter": SourceFilterDecoder,
    "mfcc": MFCCDecoder,
    "wavenet": WaveNetDecoder,
}
