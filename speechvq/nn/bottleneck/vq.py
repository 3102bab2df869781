"""Vector quantization: a codebook learned by gradient or as a moving average."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import EMAConfig, VQConfig
from speechvq.nn.bottleneck.contract import CodeVectors, Discrete, Latent
from speechvq.nn.bottleneck.viterbi import penalized_paths
from speechvq.nn.distributed import all_rows, drawn_rows, from_first, over_all, rank_and_count
from speechvq.nn.kmeans import kmeans, nearest, sums_and_counts

COUNT_FLOOR = 1e-6  # the moving count of an unused code stops shrinking here
TINY = 1e-12  # in place of the zero counts of a codebook that is not initialized yet


class VectorQuantizer(Discrete):
    """The common part of vector quantizers: nearest-neighbour search, straight-through gradient, commitment loss.

    A subclass owns the codebook and defines `table`, `initialized`, `initialize` and `learn`. The first training batch
    initializes it, every training batch moves it.
    """

    def __init__(self, config: VQConfig | EMAConfig) -> None:
        super().__init__()
        self.config = config
        self.codes = config.codes

    @property
    def table(self) -> Tensor:
        """The codebook (K, D)."""
        raise NotImplementedError

    @property
    def initialized(self) -> bool:
        """Whether the codebook has been set from data (or loaded)."""
        raise NotImplementedError

    def initialize(self, table: Tensor) -> None:
        """Set the codebook (K, D)."""
        raise NotImplementedError

    def learn(self, vectors: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Move the codebook towards the vectors that chose its codes, at once or by a gradient.

        vectors: (B, N, D), the latents.
        codes: (B, N), the code of each.

        Returns the losses by name whose gradient moves the codebook.
        """
        raise NotImplementedError

    def encode(self, z: Tensor) -> Tensor:
        """z (B, D, N) -> the codes (B, N) of the nearest vectors of the codebook."""
        rows = z.transpose(1, 2).reshape(-1, z.shape[1]).float()
        return nearest(rows, self.table).view(z.shape[0], z.shape[2])

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> z_q (B, D, N)."""
        return F.embedding(codes, self.table).transpose(1, 2)

    def vectors(self, codes: Tensor) -> CodeVectors:
        return CodeVectors(self, codes)

    def forward(self, z: Tensor, *, penalized: bool = False) -> Latent:
        """Quantize z (B, D, N), with the straight-through gradient; in training mode also learn.

        penalized: whether changes of code are penalized as configured; a frozen codebook's, too.

        The loss `commitment` is beta * |z - sg[e]|^2, a mean over all elements (the paper sums over D).
        """
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            vectors = z.detach().transpose(1, 2)
            if self.training and not self.initialized:
                self.initialize(from_first(self._start(all_rows(vectors).flatten(0, 1))))
            codes = self._penalized(vectors) if penalized and self.config.penalty else self.encode(z.detach())
            # Before learning: vectors and losses belong to the codebook that chose the codes.
            chosen = self.lookup(codes).detach().clone()
            losses = {"commitment": self.config.beta * F.mse_loss(z, chosen)}
            if self.training:
                losses |= self.learn(vectors, codes)
            return Latent(z + (chosen - z).detach(), codes, losses)

    def _penalized(self, vectors: Tensor) -> Tensor:
        """The codes (B, N) of latents (B, N, D); each row draws its penalty, up to the one configured."""
        table = self.table
        products = torch.addmm(table.square().sum(1), vectors.flatten(0, 1), table.T, alpha=-2)
        distances = products.view(*vectors.shape[:2], -1) + vectors.square().sum(2, keepdim=True)
        typical = over_all(distances.amin(2).mean()) / rank_and_count()[1]
        shares = drawn_rows(torch.rand, (len(vectors),), vectors.device)
        return penalized_paths(distances, self.config.penalty * typical * shares)

    def _start(self, rows: Tensor) -> Tensor:
        """The first codebook (K, D), from the latents (M, D) of a batch."""
        codes = self.config.codes
        return kmeans(rows, codes) if self.config.init == "kmeans" else torch.randn(codes, rows.shape[1]).to(rows)


class GradientVQ(VectorQuantizer):
    """The codebook follows the gradient of the loss `codebook`, |sg[z] - e|^2 (van den Oord et al. 2017, equation 3).

    The parameter is the codebook divided by `rate`. Since the size of Adam's steps does not depend on a parameter's
    scale, it moves the codebook `rate` times as fast (the higher learning rate of Lancucki et al. 2020).
    """

    config: VQConfig
    codebook: nn.Parameter
    ready: Tensor

    def __init__(self, config: VQConfig) -> None:
        super().__init__(config)
        self.codebook = nn.Parameter(torch.randn(config.codes, config.dim))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    @property
    def table(self) -> Tensor:
        return self.config.rate * self.codebook

    @property
    def initialized(self) -> bool:
        return bool(self.ready)

    @torch.no_grad()
    def initialize(self, table: Tensor) -> None:
        self.codebook.copy_(table / self.config.rate)
        self.ready.fill_(True)

    def learn(self, vectors: Tensor, codes: Tensor) -> dict[str, Tensor]:
        return {"codebook": F.mse_loss(F.embedding(codes, self.table), vectors)}


class EMAVQ(VectorQuantizer):
    """The codebook is a moving average of the latents that chose each code (van den Oord et al. 2017, appendix A.1).

    The state is their moving sums (K, D) and counts (K,), the codebook is the quotient. Therefore the next update
    cannot undo the restart of a code, and an unused code stays where it is, since both shrink alike.
    """

    config: EMAConfig
    sums: Tensor
    counts: Tensor

    def __init__(self, config: EMAConfig) -> None:
        super().__init__(config)
        self.register_buffer("sums", torch.zeros(config.codes, config.dim))
        self.register_buffer("counts", torch.zeros(config.codes))

    @property
    def table(self) -> Tensor:
        return self.sums / self.counts.clamp(min=TINY)[:, None]

    @property
    def initialized(self) -> bool:
        return bool(self.counts.any())

    @torch.no_grad()
    def initialize(self, table: Tensor) -> None:
        self.counts.fill_(1.0)
        self.sums.copy_(table)

    @torch.no_grad()
    def learn(self, vectors: Tensor, codes: Tensor) -> dict[str, Tensor]:
        sums, counts = map(over_all, sums_and_counts(vectors.flatten(0, 1), codes.flatten(), self.config.codes))
        # A code long unused is left alone before its counts underflow, so that its quotient stays the same.
        weight = (1 - self.config.decay) * ((counts > 0) | (self.counts > COUNT_FLOOR))
        self.sums.lerp_(sums, weight[:, None])
        self.counts.lerp_(counts, weight)
        self._restart(all_rows(vectors).flatten(0, 1))
        return {}

    def _restart(self, vectors: Tensor) -> None:
        """Move each code that is used less than `restart` times the mean onto one of the vectors (M, D) at random."""
        mean = self.counts.mean()
        dead = self.counts < self.config.restart * mean
        picks = from_first(vectors[torch.randint(len(vectors), (self.config.codes,), device=vectors.device)])
        self.sums.copy_(torch.where(dead[:, None], picks * mean, self.sums))
        self.counts.copy_(torch.where(dead, mean, self.counts))
