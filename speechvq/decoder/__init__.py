"""Quantized latents and a speaker to a waveform. `DECODERS` maps a configuration's kind to its class."""

from speechvq.decoder.base import Conditioner, Decoder
from speechvq.decoder.cepstra import MFCCDecoder
from speechvq.decoder.frames import MelDecoder, SourceFilterDecoder
from speechvq.decoder.wavenet import SILENCE, WaveNetDecoder

__all__ = ["DECODERS", "SILENCE", "Conditioner", "Decoder", "WaveNetDecoder"]

DECODERS: dict[str, type[MelDecoder] | type[SourceFilterDecoder] | type[MFCCDecoder] | type[WaveNetDecoder]] = {
    "mel": MelDecoder,
    "source_filter": SourceFilterDecoder,
    "mfcc": MFCCDecoder,
    "wavenet": WaveNetDecoder,
}
