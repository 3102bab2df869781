"""Whether a WaveNet can decode the segments of one utterance in parallel: clicks at the joints.

    python benchmarks/segments.py --model MODEL --data PREPARED [--utterances 24]

Decodes joined held-out utterances as a whole, and in parallel segments of half a second that begin a receptive field
early. The samples of one segment do not continue those of the one before. Measures, at the joints and at the same
positions of the whole, the spectral flux (10 ms before and after) and the kink (second difference, relative to its RMS
within 12 ms around). A kink above 1 is a click.
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
from speechvq.data.manifest import read_manifest, read_treatment
from speechvq.nn.decoder.wavenet import SILENT_CLASS, WaveNetDecoder
from speechvq.wavenet.sampler import Sampler, Sampling

WINDOW = 160  # samples: 10 ms


def flux(wav: np.ndarray, joint: int) -> float:
    """The mean rise of the log spectrum across a joint."""
    before, after = (
        np.abs(np.fft.rfft(wav[begin : begin + WINDOW] * np.hanning(WINDOW))) for begin in (joint - WINDOW, joint)
    )
    return float(np.maximum(np.log(after + 1e-3) - np.log(before + 1e-3), 0).mean())


def kink(wav: np.ndarray, joint: int) -> float:
    """The largest second difference across a joint, relative to the RMS around it."""
    around = np.diff(wav[joint - 100 : joint + 100], 2)
    return float(np.abs(around[97:100]).max() / (np.sqrt(np.square(around).mean()) + 1e-5))


@torch.inference_mode()
def decode(
    decoder: WaveNetDecoder, frames: torch.Tensor, vector: torch.Tensor, cuts: Sequence[int], lead: int
) -> np.ndarray:
    """Decode frames (1, C, F) in parallel segments from each of `cuts` to the next, begun `lead` frames early."""
    net, hop = decoder.wavenet, decoder.frame_length
    starts, ends = [max(cut - lead, 0) for cut in cuts[:-1]], cuts[1:]
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
    """Decode in both ways and print both measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model with a WaveNet decoder")
    parser.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    parser.add_argument("--utterances", type=int, default=24, help="utterances to join (default: 24)")
    options = parser.parse_args()
    codec = Codec.load(options.model).after_high_pass(read_treatment(options.data).high_pass)
    decoder = codec.model.decoder
    if not isinstance(decoder, WaveNetDecoder):
        raise SystemExit("the decoder of this model is not a WaveNet")
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
        at_joints, in_whole = (np.mean([measure(wav, joint) for joint in joints]) for wav in (segmented, whole))
        print(f"{measure.__name__}: {at_joints:.3f} at {len(joints)} joints, {in_whole:.3f} there in the whole")


if __name__ == "__main__":
    main()
