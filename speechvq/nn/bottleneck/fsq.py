"""Finite scalar quantization (Mentzer et al. 2023): each of a few dimensions is bounded and rounded."""

import math

import torch
from torch import Tensor, nn

from speechvq import SpeechVQError
from speechvq.config import FSQConfig
from speechvq.nn.bottleneck.contract import Discrete, Latent

MAX_CODES = 2**16
EPSILON = 1e-3  # keeps the outermost levels a little inside the bound, as in the paper's appendix A.1


class FSQ(Discrete):
    """A linear projection to one dimension per level count, rounding, and a linear projection back.

    Dimension i takes levels[i] values between -1 and 1. A code is their indices (digits) in a number system of mixed
    radix, the first digit the lowest. There are no losses: the gradient passes the rounding as if it were not there.

    Raises SpeechVQError if the level counts make fewer than 2 or more than 2^16 codes.
    """

    levels: Tensor

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        self.config = config
        self.codes = config.codes
        if not 2 <= self.codes <= MAX_CODES:
            raise SpeechVQError(
                f"model.bottleneck.levels = {[*config.levels]} make {self.codes} codes; there are 2 to {MAX_CODES}"
            )
        self.down = nn.Conv1d(config.dim, len(config.levels), 1)
        self.up = nn.Conv1d(len(config.levels), config.dim, 1)
        # A buffer, so that weights of other levels are other weights even where their shapes agree.
        self.register_buffer("levels", torch.tensor(config.levels))
        self.register_load_state_dict_post_hook(refuse_other_levels)  # type: ignore[no-untyped-call, unused-ignore]

    def forward(self, z: Tensor) -> Latent:
        with torch.autocast(z.device.type, enabled=False):
            bounded = self._bound(self.down(z.float()))
            steps = bounded + (bounded.round() - bounded).detach()
            return Latent(self.up(steps / self._half), self._codes(bounded.detach()), {})

    def encode(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            return self._codes(self._bound(self.down(z.float())))

    def distances(self, z: Tensor) -> Tensor:
        """In the space of the bounded dimensions, in which neighbouring levels are 1 apart."""
        with torch.autocast(z.device.type, enabled=False):
            bounded = self._bound(self.down(z.float())).transpose(1, 2)
        levels = self.values(torch.arange(self.codes, device=z.device)[None])[0] * self._half
        found = z.new_zeros(len(z), z.shape[2], self.codes, dtype=torch.float32)
        for dimension, own in zip(bounded.unbind(2), levels, strict=True):
            found += (dimension[..., None] - own).square()
        return found

    def lookup(self, codes: Tensor) -> Tensor:
        z_q: Tensor = self.up(self.values(codes))
        return z_q

    def values(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> the rounded values (B, len(levels), N) in [-1, 1]."""
        digits = codes[:, None] // self._radix % self.levels[:, None]
        return (digits - self._half) / self._half

    @property
    def _half(self) -> Tensor:
        """(len(levels), 1): half of the levels, rounded down; the steps of a dimension begin that far below 0."""
        return self.levels[:, None] // 2

    @property
    def _radix(self) -> Tensor:
        """(len(levels), 1): what one step of each digit adds to the code."""
        levels = self.config.levels
        return torch.tensor([math.prod(levels[:i]) for i in range(len(levels))], device=self.levels.device)[:, None]

    def _bound(self, y: Tensor) -> Tensor:
        """y (B, len(levels), N) -> as many, within half a step of the outermost levels.

        An even number of levels has none in the middle: half a step to the side, so that all are reached, and y = 0
        stays near 0.
        """
        height = (self.levels[:, None] - 1) * (1 - EPSILON) / 2
        offset = (self.levels[:, None] % 2 == 0) / 2
        return (y + (offset / height).tan()).tanh() * height - offset

    def _codes(self, bounded: Tensor) -> Tensor:
        digits = bounded.round().long() + self._half
        return (digits * self._radix).sum(1)


def refuse_other_levels(module: FSQ, _: object) -> None:
    """Called when weights have been loaded; raises SpeechVQError if they are not of the configuration's levels."""
    found, asked = module.levels.tolist(), [*module.config.levels]
    if found != asked:
        raise SpeechVQError(f"the weights are of an FSQ with levels {found}, model.bottleneck.levels are {asked}")
