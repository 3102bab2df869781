"""Can one utterance be decoded in segments at once? python benchmarks/segments.py --model M --data PREPARED.

Held-out utterances of one voice, end to end, are decoded in one go, and in segments of half a second that begin
a receptive field early. The latter's samples do not continue the former's: at the joints, the spectral flux
(10 ms before and after) and the kink (second difference, in units of its RMS within 12 ms around) are compared
with those at the same places in one go. A kink above 1 is a click.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.audio.mulaw import mulaw_decode
from speechvq.codec import Codec
from speechvq.data.manifest import read_manifest
from speechvq.nn.decoder.wavenet import SILENT_CLASS, WaveNetDecoder
from speechvq.wavenet.sampler import Sampler, Sampling

WINDOW = 160


def flux(wav: np.ndarray, place: int) -> float:
    """The mean rise of the log spectrum over a place."""
    before, after = (
        np.abs(np.fft.rfft(wav[begin : begin + WINDOW] * np.hanning(WINDOW))) for begin in (place - WINDOW, place)
    )
    return float(np.maximum(np.log(after + 1e-3) - np.log(before + 1e-3), 0).mean())


def kink(wav: np.ndarray, place: int) -> float:
    """The largest second difference across a place, in units of the RMS around it."""
    around = np.diff(wav[place - 100 : place + 100], 2)
    return float(np.abs(around[97:100]).max() / (np.sqrt(np.square(around).mean()) + 1e-5))


@torch.inference_mode()
def decode(
    decoder: WaveNetDecoder, frames: torch.Tensor, vector: torch.Tensor, cuts: Sequence[int], warm: int
) -> np.ndarray:
    """Frames (1, C, F) -> wav, in segments from each of `cuts` to the next that begin `warm` frames early."""
    net, hop = decoder.wavenet, decoder.frame_length
    starts, ends = [max(cut - warm, 0) for cut in cuts[:-1]], cuts[1:]
    sampler, first = Sampler(net, Sampling()), torch.full((len(starts),), SILENT_CLASS)
    pieces = sampler.stream(
        first,
        [end - start for start, end in zip(starts, ends, strict=True)],
        hop,
        range(len(starts)),
        lambda i, begin, end: net.table(frames[..., starts[i] + begin : starts[i] + end], vector),
    )
    segments = [mulaw_decode(torch.cat(parts)).numpy() for parts in zip(*pieces, strict=True)]
    return np.concatenate([wav[(cut - start) * hop :] for wav, cut, start in zip(segments, cuts, starts, strict=False)])


def main() -> None:
    """Decode both ways and print both measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=24)
    options = parser.parse_args()
    codec = Codec.load(options.model)
    decoder = codec.model.decoder
    if not isinstance(decoder, WaveNetDecoder):
        raise SystemExit("this model's decoder is no WaveNet")
    test = [u for u in read_manifest(options.data) if u.split == "test" and u.speaker in codec.speakers]
    codes = torch.cat([codec.encode(read(options.data / u.path), SAMPLE_RATE) for u in test[: options.utterances]])
    vector = decoder.speakers(torch.zeros(1, dtype=torch.int64))
    frames = decoder.conditioner(codec.model.discrete.lookup(codes[None]), vector)
    size, hop = SAMPLE_RATE // 2 // decoder.frame_length, decoder.frame_length
    cuts = [*range(0, frames.shape[2], size), frames.shape[2]]
    whole = decode(decoder, frames, vector, [0, frames.shape[2]], 0)
    segmented = decode(decoder, frames, vector, cuts, -(-decoder.wavenet.receptive_field // hop))
    joints = [cut * hop for cut in cuts[1:-2]]
    for measure in (flux, kink):
        apart, through = (np.mean([measure(wav, joint) for joint in joints]) for wav in (segmented, whole))
        print(f"{measure.__name__}: {apart:.3f} at {len(joints)} joints, {through:.3f} there in one go")


if __name__ == "__main__":
    main()
