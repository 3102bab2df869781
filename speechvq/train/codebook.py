"""Learn a codebook on the layers of a trained encoder; the result is a codec without a decoder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.codec.devices import torch_device
from speechvq.config import CausalEncoderConfig, CodecRun, EMAConfig, EncoderRun, ModelConfig, NoDecoderConfig
from speechvq.config.parsing import parse
from speechvq.data.feature_store import FeatureStore, feature_store
from speechvq.folder.card import WEIGHTS, Card, load_card, model_folder
from speechvq.folder.histogram import save_histogram
from speechvq.folder.weights import load_tensors, save_tensors, without_memory
from speechvq.nn.bottleneck.vq import VectorQuantizer
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.kmeans import assign, kmeans
from speechvq.nn.vqvae import build, perplexity
from speechvq.progress import progress
from speechvq.train.run import check_high_pass, check_run, open_run

QUIET = 3.0  # nats below the loudest tenth of an utterance's frames; silence is not clustered
NEW_PARTS = ("project", "posterior", "classify")  # of an encoder, which are not taken from its run
RIDGE = 1e-3  # of the mean variance, added to the scatter within clusters


@dataclass(frozen=True)
class Clustering:
    """The options of clustering.

    codes: size of the codebook, K.
    outputs: layers of the encoder that are joined; 0 is its local latents, i the output of block i.
    posteriors: weight of the square roots of its classifier's probabilities beside the layers; 0 leaves them out.
    stride: steps of the encoder per code.
    dim: width of the codebook's vectors, D.
    rounds: how often the rows are clustered and projected by linear discriminant analysis of the clusters.
    clusters: number of clusters in these rounds.
    frames: largest number of frames that are clustered.
    quiet: share of the frames of silence among them that are kept.
    seed: of all random numbers.
    more: further layers that the projection joins with weights of zero, so that a later training may take from them.
    """

    codes: int = 128
    outputs: tuple[int, ...] = (0, 3, 6)
    posteriors: float = 0.0
    stride: int = 2
    dim: int = 64
    rounds: int = 2
    clusters: int = 400
    frames: int = 100_000
    quiet: float = 0.0
    seed: int = 0
    more: tuple[int, ...] = ()

    @property
    def joined(self) -> tuple[int, ...]:
        """The layers that the projection joins."""
        return tuple(sorted({*self.outputs, *self.more})) if self.more else self.outputs


def make_codebook(
    run: Path, data: Path, out: Path, how: Clustering, force: bool = False, device: str = "cpu"
) -> dict[str, float]:
    """Cluster the layers of a run's encoder on the training speech prepared in `data` -> figures of the codes.

    `out` becomes the folder of a codec without a decoder: the encoder, a projection (the linear map that the rounds of
    discriminant analysis found), and the codebook. It encodes, can be evaluated, and starts other trainings.
    device: where the encoder computes; clusters are found on the CPU.
    Raises SpeechVQError as `load_encoder` and `check_high_pass` do, if a codec cannot have these sizes, if there is too
    little speech, if `out` is `run`, or if it holds a model and `force` is not given.
    """
    check_run(out, resume=False, force=force)  # before the work
    if out.resolve() == run.resolve():
        raise SpeechVQError(f"{out}: the codec cannot take the place of its encoder; --out names another folder")
    run = model_folder(run)
    high_pass, encoder = check_high_pass(run, load_card(run), data), load_encoder(run, how, device)
    model_config = ModelConfig(encoder.config, EMAConfig(codes=how.codes, dim=how.dim), NoDecoderConfig())
    config = parse(CodecRun, asdict(CodecRun(model_config)))  # refuses what could not be read again
    store = feature_store(data)
    rows = layer_rows(encoder, store, how)
    if len(rows) <= max(how.codes, how.clusters if how.rounds else 0):
        clusters = f" of {how.clusters} clusters" if how.rounds else ""
        raise SpeechVQError(f"{data}: {len(rows)} frames of speech are too few for {how.codes} codes{clusters}")
    if not rows.std(0).any():
        raise SpeechVQError(f"{data}: all frames of speech are alike, so that they cannot be clustered")
    generator = torch.Generator().manual_seed(how.seed)
    projection, centres = discriminant_clusters(rows, how, generator)
    centres = centres.half().float()  # as the encoder's weights
    model = build(config.model, 0)
    model.encoder.load_state_dict(encoder.state_dict() | folded(projection, how, encoder), strict=True)
    assert isinstance(model.bottleneck, VectorQuantizer)
    model.bottleneck.initialize(centres)
    codes = assign((rows - projection.mean) @ projection.matrix, centres)
    counts = torch.bincount(codes, minlength=how.codes)
    figures = {
        "frames": float(len(rows)),
        "used_codes": float((counts > 0).sum()),
        "perplexity": perplexity(counts),
    }
    open_run(out, Card(config, (), high_pass=high_pass, taught=load_card(run).taught), resume=False, force=force)
    save_histogram(out, counts.numpy())
    save_tensors(out / WEIGHTS, model.state_dict(), figures)  # last: with it, the folder holds a run
    return figures


@dataclass(frozen=True)
class Projection:
    """x -> (x - mean) @ matrix; mean (M,), matrix (M, D)."""

    mean: Tensor
    matrix: Tensor


def load_encoder(run: Path, how: Clustering, device: str = "cpu") -> CausalEncoder:
    """The encoder of a pretraining run or of a codec, to be projected as `how` says; its projection is not loaded.

    Raises SpeechVQError if it is not causal, has no such layers, these have too few dimensions, or the device cannot be
    used.
    """
    config = load_card(run).config
    trained = config.encoder if isinstance(config, EncoderRun) else None
    if isinstance(config, CodecRun) and isinstance(config.model.encoder, CausalEncoderConfig):
        trained = config.model.encoder
    if not isinstance(trained, CausalEncoderConfig):
        raise SpeechVQError(f"{run}: has no causal encoder; only the layers of one can be clustered")
    tensors = load_tensors(run / WEIGHTS)[0]
    learned = {name.rpartition(".")[2]: value for name, value in tensors.items() if "classify" in name}
    classes = len(learned.get("bias", ())) if how.posteriors else 0
    if how.posteriors and (not classes or how.stride != trained.strides[1]):
        raise SpeechVQError(f"{run}: has no classifier at {how.stride} steps of the encoder (--posteriors, --stride)")
    width = len(how.outputs) * trained.channels + classes
    if not width:
        raise SpeechVQError(f"{run}: no layer is named whose outputs are to be clustered (--layers)")
    if how.dim > width:
        raise SpeechVQError(
            f"{run}: the joined layers have {width} dimensions, of which {how.dim} cannot be chosen (--dim)"
        )
    settings = replace(trained, outputs=how.joined, strides=(trained.strides[0], how.stride), classes=classes)
    own = {
        name.removeprefix("encoder."): value
        for name, value in tensors.items()
        if name.startswith("encoder.") and name.split(".")[1] not in NEW_PARTS
    }
    own |= {f"classify.{name}": value for name, value in learned.items() if classes}
    # Rounded before anything is clustered, so that a model packed as float16 has the same codes; + 0, as averages of
    # weights in later trainings lose the sign of a zero, by which the fingerprint would be another.
    own = {
        name: (value.half() + 0.0).to(value.dtype) if value.is_floating_point() else value
        for name, value in own.items()
    }
    return _filled(settings, how.dim, own, f"{run / WEIGHTS}").eval().to(torch_device(device))


def _filled(settings: CausalEncoderConfig, dim: int, weights: dict[str, Tensor], source: str) -> CausalEncoder:
    """An encoder of these settings with these weights; those that are not given are new.

    Raises SpeechVQError if there are others, or of other shapes, before it is built.
    """
    with without_memory():
        shapes = {name: value.shape for name, value in CausalEncoder(settings, dim).state_dict().items()}
    odd = [name for name, value in weights.items() if shapes.get(name) != value.shape]
    odd += [name for name in shapes if name not in weights and name.split(".")[0] not in NEW_PARTS]
    if odd:
        raise SpeechVQError(f"{source}: the weights do not fit the configuration, first at '{odd[0][:100]}'")
    encoder = CausalEncoder(settings, dim)
    encoder.load_state_dict(encoder.state_dict() | weights)
    return encoder


@torch.inference_mode()
def layer_rows(encoder: CausalEncoder, store: FeatureStore, how: Clustering) -> Tensor:
    """The joined layers, averaged over the steps that share a code, and weighted posteriors, of at most `how.frames`
    frames of training speech -> (M, layers * channels + classes), of utterances in random order.

    Raises SpeechVQError if the split `train` has no utterances that are as long as a code.
    """
    hop = encoder.hop_length // store.hop_length
    lengths = np.diff(store.starts)
    train = [i for i, u in enumerate(store.utterances) if u.split == "train" and lengths[i] >= hop]
    if not train:
        raise SpeechVQError("no utterances to learn a codebook from")
    found: list[Tensor] = []
    count = 0
    random = np.random.default_rng(how.seed)
    for i in progress(random.permutation(train), unit="utterance"):
        feats = store.features(i)
        kept = loud(feats[0], hop) | torch.from_numpy(random.random(lengths[i] // hop) < how.quiet)
        found.append(joined_layers(encoder, feats, how.outputs, how.stride, how.posteriors)[0].T[kept])
        count += len(found[-1])
        if count >= how.frames:
            break
    return torch.cat(found)[: how.frames]


def joined_layers(
    encoder: CausalEncoder, feats: Tensor, outputs: Sequence[int], stride: int, posteriors: float = 0.0
) -> Tensor:
    """feats (B, 80, F) -> layers of the encoder, averaged over `stride` steps, one below another (B, C, N), on the CPU.

    posteriors: weight of the square roots of the classifier's probabilities, which follow; 0 leaves them out.
    """
    layers = encoder.layers(feats.to(next(encoder.parameters()).device))
    parts = [layers[k].unfold(2, stride, stride).mean(3) for k in outputs]
    if posteriors:
        parts.append(posteriors * encoder.root_probabilities(layers))
    return torch.cat(parts, 1).cpu()


def loud(feats: Tensor, hop: int) -> Tensor:
    """feats (C, F) -> which codes of `hop` frames each are of speech, (F / hop,) bool."""
    level = feats.exp().mean(0).log().unfold(0, hop, hop).mean(1)
    return level > torch.quantile(level, 0.9) - QUIET


def discriminant_clusters(rows: Tensor, how: Clustering, generator: torch.Generator) -> tuple[Projection, Tensor]:
    """Cluster rows (M, C) by k-means in the space of a linear discriminant analysis of earlier clusters (Heck et al.
    2016), `how.rounds` times -> the projection, to a variance of 1 on average, and the centres (K, D)."""
    projection = principal(rows, how.dim)
    for _ in range(how.rounds):
        projected = (rows - projection.mean) @ projection.matrix
        centres = kmeans(projected, how.clusters, init="k-means++", iterations=15, generator=generator)
        projection = discriminant(rows, assign(projected, centres), how.dim)
    projected = (rows - projection.mean) @ projection.matrix
    scale = 1 / projected.std()  # as decoders expect their inputs; distances keep their order
    projection, projected = Projection(projection.mean, scale * projection.matrix), scale * projected
    return projection, kmeans(projected, how.codes, init="k-means++", iterations=30, generator=generator)


def principal(rows: Tensor, dim: int) -> Projection:
    """The `dim` directions of most variance."""
    mean = rows.mean(0)
    _, vectors = eigh(torch.cov(rows.T).double().numpy(), subset_by_index=(rows.shape[1] - dim, rows.shape[1] - 1))
    return Projection(mean, torch.from_numpy(vectors).float())


def discriminant(rows: Tensor, classes: Tensor, dim: int) -> Projection:
    """Linear discriminant analysis (Fisher 1936): the directions in which classes differ most for their own spread.

    rows (M, C), classes (M,) -> a map to `dim` dimensions in which the mean covariance within classes is the identity.
    """
    count, mean = len(rows), rows.mean(0)
    one_hot = torch.zeros(int(classes.max()) + 1, rows.shape[1]).index_add_(0, classes, rows - mean)
    sizes = torch.bincount(classes).clamp(min=1)
    between = (one_hot / sizes[:, None]).T @ one_hot / count
    within = torch.cov(rows.T, correction=0) - between
    ridge = RIDGE * within.diagonal().mean() * torch.eye(len(within))
    top = rows.shape[1] - dim, rows.shape[1] - 1
    _, vectors = eigh(between.double().numpy(), (within + ridge).double().numpy(), subset_by_index=top)
    return Projection(mean, torch.from_numpy(vectors.copy()).float())


def folded(projection: Projection, how: Clustering, encoder: CausalEncoder) -> dict[str, Tensor]:
    """The projection as the weights of the encoder's last convolutions; that of the layers averages `stride` steps."""
    channels = encoder.config.channels
    *layers, classes = projection.matrix.split([*[channels] * len(how.outputs), encoder.config.classes])
    weights = {}
    if how.posteriors:
        weights["posterior.weight"] = how.posteriors * classes.T[..., None]
    if how.joined:
        if how.more:  # a layer that was named twice is joined once
            zero = torch.zeros(channels, how.dim)
            layers = [sum((m for k, m in zip(how.outputs, layers, strict=True) if k == i), zero) for i in how.joined]
        matrix = torch.cat(layers)
        weights["project.weight"] = matrix.T[..., None].repeat(1, 1, how.stride) / how.stride
    offset = "project.bias" if how.joined else "posterior.bias"
    return weights | {offset: -projection.mean @ projection.matrix}
