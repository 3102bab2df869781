"""A WaveNet over critically sampled bands: one step draws a sample of every band, each from a mixture of logistics.

The bands are divided by a scale that is known beforehand, so that loud and soft speech look alike, and their samples
are classes on a mu-law grid. The head predicts a mixture of logistic distributions over the grid (Salimans et al.
2017), which has a twentieth of the numbers of a softmax and learns faster.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import WaveNetConfig
from speechvq.wavenet.net import WaveNet

GRID_CLASSES = 256
BAND_RANGE = 16.0  # of the grid, in scales: what is predicted too soft still fits
SILENT_CLASS = GRID_CLASSES // 2
MEAN_FACTOR = 4.0  # of the head's output in a mean: its weights learn so much faster
MIN_LOG_SCALE, MAX_LOG_SCALE = -5.0, 3.0
GUIDE_FACTOR = 0.25  # of a guide in scales: the peaks of a voice are some four
GUIDE_LIMIT = 8.0
CONDITION_FACTOR = 0.25


class BandWaveNet(WaveNet):
    """The parameters of the mixtures, from the classes before, conditioning frames and a guide.

    bands: number of bands M.
    components: of a mixture, K.
    condition: channels C of the conditioning frames.
    window: steps of the guide before and after its own that a step sees.
    """

    offsets: Tensor

    def __init__(self, config: WaveNetConfig, bands: int, components: int, condition: int, window: int) -> None:
        super().__init__(config, bands * GRID_CLASSES, condition, 0, bands * 3 * components)
        self.bands, self.components, self.window = bands, components, window
        self.guide = nn.Linear(2 * bands * (2 * window + 1), config.residual)
        self.register_buffer("offsets", torch.arange(bands) * GRID_CLASSES, persistent=False)
        # Neighbouring classes begin alike, and components apart.
        grid = torch.linspace(-1, 1, GRID_CLASSES)[:, None] * math.pi
        waves = torch.cat([grid * 2 / math.pi, *((grid * i).sin() for i in (1, 2, 4)), grid.cos(), (2 * grid).cos()], 1)
        with torch.no_grad():
            rows = [waves @ torch.randn(waves.shape[1], config.residual) for _ in range(bands)]
            self.embed.weight.copy_(torch.cat(rows) / math.sqrt(3 * bands))
            weight, bias = self.head[3].parameters()
            weight.mul_(0.1)
            parameters = bias.view(bands, 3, components)
            parameters.zero_()
            parameters[:, 1] = torch.linspace(-0.02, 0.02, components)
            parameters[:, 2] = torch.linspace(-3, -1, components)

    @property
    def rule(self) -> tuple[int, float, float, float, float, float]:
        """The numbers by which the compiled sampler draws as `draw` does (`kernels.steps`)."""
        mu = float(GRID_CLASSES - 1)
        return self.components, MEAN_FACTOR, MIN_LOG_SCALE, MAX_LOG_SCALE, BAND_RANGE, mu

    def embedded(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """The input of the first layer: classes (..., M) and what is added (..., R) -> (..., R)."""
        x: Tensor = self.embed(inputs + self.offsets).sum(-2)
        return x if added is None else x + added

    def table(self, frames: Tensor | None, speaker: Tensor | None = None) -> Tensor:
        """The conditioning of every layer by frames (B, C, F), (L, F, B, 2G)."""
        assert frames is not None
        assert speaker is None
        return self._by_layer(self.frames(frames.permute(2, 0, 1) * CONDITION_FACTOR))

    def guided(self, guide: Tensor) -> Tensor:
        """The input that a guide adds to the first layer: (B, M, T + 2 * window), in scales -> (B, T, R)."""
        some = (guide * GUIDE_FACTOR).clamp(-GUIDE_LIMIT, GUIDE_LIMIT)
        both = torch.cat([some, some.sign() * (8 * some.abs()).log1p() / 2], 1)
        windows = both.transpose(1, 2).unfold(1, 2 * self.window + 1, 1).flatten(2)
        added: Tensor = self.guide(windows)
        return added

    def nll(self, outputs: Tensor, classes: Tensor) -> Tensor:
        """The negative log-likelihood of classes (B, T, M) by outputs (B, T, M * 3K), in nats, (B, T, M)."""
        weights, means, log_scales = self._mixtures(outputs)
        edge = grid_edges(classes.device)
        low, high = edge[classes][..., None], edge[classes + 1][..., None]
        inverse = (-log_scales).exp()
        a, b = (low - means) * inverse, (high - means) * inverse
        # log(sigmoid(b) - sigmoid(a)); the first class reaches down to minus infinity, the last one up to infinity.
        inside = F.logsigmoid(b) + F.logsigmoid(-a) + (-torch.expm1(a - b)).clamp(min=1e-12).log()
        lowest, highest = (classes == 0)[..., None], (classes == GRID_CLASSES - 1)[..., None]
        likelihood = torch.where(lowest, F.logsigmoid(b), torch.where(highest, F.logsigmoid(-a), inside))
        return -torch.logsumexp(weights.log_softmax(-1) + likelihood, -1)

    def draw(self, outputs: Tensor, chance: Tensor, temperature: float) -> Tensor:
        """Draw classes (B, M) by outputs (B, M * 3K) and uniform numbers (B, M).

        A number picks a component, and what is left of it a quantile of that. The temperature multiplies the scales;
        at 0 it is the mean of the likeliest component.
        """
        weights, means, log_scales = (part.double() for part in self._mixtures(outputs))
        if temperature == 0:
            return grid_classes(means.gather(-1, weights.argmax(-1, keepdim=True))[..., 0])
        share = weights.softmax(-1)
        ends = share.cumsum(-1)
        picked = (ends <= chance[..., None]).sum(-1, keepdim=True).clamp(max=self.components - 1)
        share, end, mean, log_scale = (part.gather(-1, picked)[..., 0] for part in (share, ends, means, log_scales))
        quantile = ((chance - end + share) / share).clamp(1e-6, 1 - 1e-6)
        return grid_classes(mean + temperature * log_scale.exp() * (quantile / (1 - quantile)).log())

    def _mixtures(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of weights, means and log scales, (..., M, K) each, in scales of the bands."""
        weights, means, log_scales = outputs.unflatten(-1, (self.bands, 3, self.components)).unbind(-2)
        return weights, means * MEAN_FACTOR, log_scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


def grid_classes(samples: Tensor) -> Tensor:
    """Samples (...) in scales -> classes (...) int64."""
    mu = GRID_CLASSES - 1
    x = (samples / BAND_RANGE).clamp(-1, 1)
    return ((x.sign() * (mu * x.abs()).log1p() / math.log1p(mu) + 1) / 2 * mu + 0.5).to(torch.int64)


def grid_samples(classes: Tensor) -> Tensor:
    """Classes (...) -> samples (...) in scales, at the middle of each."""
    mu = GRID_CLASSES - 1
    y = classes.float() / mu * 2 - 1
    return BAND_RANGE * y.sign() * (y.abs() * math.log1p(mu)).expm1() / mu


def grid_edges(device: torch.device) -> Tensor:
    """Between which samples each class lies, (GRID_CLASSES + 1,): the first and last edges are not used."""
    return grid_samples(torch.arange(GRID_CLASSES + 1, device=device) - 0.5)
