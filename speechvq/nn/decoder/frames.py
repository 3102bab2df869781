"""The common part of decoders that are not autoregressive: long speech is rendered in pieces that are joined."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from speechvq.nn.decoder.contract import UNCHANGED, Decoder, Latents, PitchChange
from speechvq.wavenet.sampler import Sampling

PIECE_LENGTH = 2**19  # samples: half a minute
PIECE_MARGIN = 16_000  # samples rendered on either side of a piece: more than its own samples depend on
FADE_LENGTH = 800  # samples rendered by both of two neighbouring pieces


class FrameDecoder(Decoder):
    """The contract of a decoder that renders all frames of a piece at once.

    A subclass defines `render` and `join`, or `pieces` if it can go on where a piece has ended.
    """

    @property
    def piece_codes(self) -> int:
        """The number of codes in a piece."""
        return max(PIECE_LENGTH // self.hop_length, 1)

    def render(self, frames: Tensor, seed: int, pitch: PitchChange = UNCHANGED) -> Tensor:
        """frames (1, C, F) -> wav (F * frame_length,).

        seed: of all random numbers.
        pitch: the change of these frames, for a decoder that predicts one.
        """
        raise NotImplementedError

    def join(self, tail: Tensor, head: Tensor) -> Tensor:
        """Lead from one piece to the next over the samples that both have rendered.

        tail, head: (n,), the same moment at the end of a piece and at the beginning of the next.

        Returns the wav (n,) of that moment. What fits follows from the phases: where those of two pieces have nothing
        to do with each other, `equal_power`; where they agree, a fade whose weights sum to 1, or `head` itself.
        """
        raise NotImplementedError

    def stream(
        self,
        latents: Sequence[Latents],
        speaker: Tensor,
        sampling: Sampling,
        utterances: Sequence[int],
        pitches: Sequence[PitchChange] = (),
    ) -> Iterator[list[Tensor]]:
        vectors = self.speakers(speaker)
        rows = zip(latents, vectors, pitches or [UNCHANGED] * len(latents), strict=True)
        pieces = [self.pieces(z_q, vector, sampling, pitch) for z_q, vector, pitch in rows]
        for row in zip_longest(*pieces, fillvalue=vectors.new_empty(0)):
            yield list(row)

    def pieces(
        self, z_q: Latents, vector: Tensor, sampling: Sampling, pitch: PitchChange = UNCHANGED
    ) -> Iterator[Tensor]:
        """The wav of one utterance, z_q (D, N), by a speaker's vector (E,)."""
        hop, codes = self.hop_length, z_q.shape[1]
        block, margin = self.piece_codes, PIECE_MARGIN // hop + 1
        tail = vector.new_empty(0)
        for begin in range(0, codes, block):
            left, end = max(begin - margin, 0), min(begin + block, codes)
            frames = self._frames(z_q[:, left : end + margin], vector)
            first = left * hop // self.frame_length
            change = pitch.of_frames(first, first + frames.shape[2])
            wav = self.render(frames, sampling.seed, change)[(begin - left) * hop :]
            shared = min(len(tail), len(wav))
            if shared:
                wav[:shared] = self.join(tail[:shared], wav[:shared])
            yield wav[: (end - begin) * hop]
            tail = wav[(end - begin) * hop :][:FADE_LENGTH]


def equal_power(tail: Tensor, head: Tensor) -> Tensor:
    """Fade from tail (n,) to head (n,), whose phases are independent: it is their power that adds up to 1."""
    angle = torch.linspace(0, math.pi / 2, len(head), device=head.device)
    return (tail * angle.cos() + head * angle.sin()).clamp(-1, 1)
