"""An encoder for streams and for predictive pretraining, with local latents and a causal context over them."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.config import CausalEncoderConfig
from speechvq.nn.distributed import BatchNorm
from speechvq.nn.encoder.contract import Encoder

PRIOR_FRAMES = 20.0  # of the mean of all training speech, which is zero, counted beside the frames so far


class CausalBlock(nn.Module):
    """x + conv1x1(gelu(dilated(gelu(norm(x))))), (B, C, N) -> (B, C, N).

    ahead: later steps on which an output depends.
    """

    def __init__(self, channels: int, dilation: int, ahead: int) -> None:
        super().__init__()
        self.padding = 2 * dilation - ahead, ahead
        self.norm = BatchNorm(channels)
        self.dilated = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dilated(F.pad(F.gelu(self.norm(x)), self.padding))
        out: Tensor = x + self.out(F.gelu(hidden))
        return out


class RunningMean(nn.Module):
    """Subtract the mean spectrum of the speech of the last frames, which depends on voice, microphone and level.

    feats (B, C, F) -> (B, C, F). Loud frames count most, so that pauses do not move the mean; of few frames, it stays
    near zero, which is the mean of all training speech. It sees no frame of the future.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, feats: Tensor) -> Tensor:
        with torch.autocast(feats.device.type, enabled=False):
            feats = feats.float()
            weight = feats.mean(1, keepdim=True).exp()  # of standardised features: about 1 in speech
            sums = last_sums(torch.cat([weight * feats, weight], 1), self.frames)
            return feats - sums[:, :-1] / (sums[:, -1:] + PRIOR_FRAMES)


def last_sums(x: Tensor, count: int) -> Tensor:
    """x (B, C, F) -> at each frame the sum of it and the `count` - 1 before it; what is before the first is zero.

    By sums of 1, 2, 4, ... frames: exactly these frames matter, in the same order everywhere.
    """
    total, covered, power = torch.zeros_like(x), 0, 1
    while count:
        if count & 1:
            total, covered = total + F.pad(x, (covered, 0))[..., : x.shape[2]], covered + power
        count >>= 1
        x, power = x + F.pad(x, (power, 0))[..., : x.shape[2]], 2 * power
    return total


class CausalEncoder(Encoder):
    """Log-mel to local latents, dilated blocks over these, and a projection of the configured layers to D.

    One strided convolution and pointwise layers give the local latents. A latent depends on the past, and on little
    more of the future than the window of a frame. With `classes`, the probabilities of a classifier are projected, too,
    by their square roots, whose Euclidean distance is that of Hellinger between distributions.
    dim: D, or 0 for an encoder in pretraining, which has no projection yet.
    Raises SpeechVQError if it has none of the layers that are to be joined.
    """

    def __init__(self, config: CausalEncoderConfig, dim: int) -> None:
        super().__init__("logmel", config.hop_length)
        blocks = len(config.dilations)
        if config.lookahead > blocks:
            raise SpeechVQError(f"the encoder has {blocks} blocks, not {config.lookahead} (encoder.lookahead)")
        some = config.outputs or (0,) * bool(config.classes)
        if dim and not (some and 0 <= min(some) <= max(some) <= blocks):
            raise SpeechVQError(
                f"the layers of the encoder are 0 to {blocks}; got {[*config.outputs]} (encoder.outputs)"
            )
        self.config, channels = config, config.channels
        self.depth = blocks + 1
        first, last = config.strides
        pad = (first + 1) // 2
        self.centre = RunningMean(config.mean) if config.mean else nn.Identity()
        layers: list[nn.Module] = [nn.Conv1d(self.input.channels, channels, first + 2 * pad, first, pad)]
        for _ in range(config.pointwise):
            layers += [BatchNorm(channels), nn.GELU(), nn.Conv1d(channels, channels, 1)]
        self.local = nn.Sequential(*layers)
        ahead = [dilation * (i < config.lookahead) for i, dilation in enumerate(config.dilations)]
        pairs = zip(config.dilations, ahead, strict=True)
        self.blocks = nn.ModuleList(CausalBlock(channels, dilation, more) for dilation, more in pairs)
        # Without a scale of their own, so that layers can be joined and compared.
        self.norms = nn.ModuleList(BatchNorm(channels, affine=False) for _ in range(blocks + 1))
        # In pretraining the classifier is the objective's.
        self.classify = nn.Conv1d(channels, config.classes, last, last) if dim and config.classes else None
        self.posterior = nn.Conv1d(config.classes, dim, 1, bias=not config.outputs) if dim and config.classes else None
        joined = len(config.outputs) * channels
        self.project = nn.Conv1d(joined, dim, last, last) if dim and joined else nn.Identity()

    @property
    def lookahead(self) -> int:
        first, _ = self.config.strides
        hop, pad = self.input.hop, (first + 1) // 2
        window = math.ceil((self.input.receptive_field - hop) / 2)
        ahead = sum(block.padding[1] for block in self.blocks if isinstance(block, CausalBlock))
        return window + pad * hop + ahead * first * hop

    @property
    def memory(self) -> int:
        behind = sum(block.padding[0] - block.padding[1] for block in self.blocks if isinstance(block, CausalBlock))
        return self.lookahead + (behind * self.config.strides[0] + max(self.config.mean - 1, 0)) * self.input.hop

    def layers(self, feats: Tensor, last: int | None = None) -> list[Tensor]:
        """feats (B, 80, F) -> the normalised local latents and outputs of the blocks, (B, C, F / strides[0]) each.

        last: number of blocks that are computed; None for all.
        """
        x = self.local(self.centre(self.scale(feats)))
        found = [self.norms[0](x)]
        for block, norm in zip(self.blocks[:last], self.norms[1:][:last], strict=True):
            x = block(x)
            found.append(norm(x))
        return found

    def from_features(self, feats: Tensor) -> Tensor:
        layers = self.layers(feats)
        parts = []
        if self.config.outputs:
            parts.append(self.project(torch.cat([layers[i] for i in self.config.outputs], 1)))
        if self.posterior is not None:
            parts.append(self.posterior(self.root_probabilities(layers)))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    def root_probabilities(self, layers: list[Tensor]) -> Tensor:
        """All layers of some features -> square roots of the classifier's probabilities, (B, classes, N)."""
        assert self.classify is not None
        with torch.autocast(layers[-1].device.type, enabled=False):
            logits: Tensor = self.classify(layers[-1].float())
            return logits.softmax(1).sqrt()
