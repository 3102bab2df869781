"""Quantized latents and a speaker to speech. `DECODERS` maps a configuration's kind to its class."""

from speechvq.nn.decoder.band_wavenet import BandWaveNetDecoder
from speechvq.nn.decoder.contract import Decoder
from speechvq.nn.decoder.mel import MelDecoder
from speechvq.nn.decoder.mfcc import MFCCDecoder
from speechvq.nn.decoder.source_filter import SourceFilterDecoder
from speechvq.nn.decoder.vocoder import VocoderDecoder
from speechvq.nn.decoder.wavenet import WaveNetDecoder

__all__ = ["DECODERS", "Decoder"]
DECODERS: dict[str, type[Decoder]] = {
    "mel": MelDecoder,
    "source_filter": SourceFilterDecoder,
    "vocoder": VocoderDecoder,
    "mfcc": MFCCDecoder,
    "wavenet": WaveNetDecoder,
    "band_wavenet": BandWaveNetDecoder,
}
