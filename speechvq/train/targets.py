"""Targets of masked prediction: clusters of frames that are neighbours of each other across speakers."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.config.guarded import LIBRARY_ERRORS, MAX_LINE_BYTES, parse_json
from speechvq.config.shapes import check_shape
from speechvq.data.feature_store import FeatureStore, feature_store
from speechvq.data.manifest import utterances_digest
from speechvq.files import atomic_write
from speechvq.folder.card import load_card, model_folder
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.kmeans import assign, kmeans
from speechvq.progress import progress
from speechvq.train.codebook import Clustering, Projection, joined_layers, load_encoder, loud, principal
from speechvq.train.run import check_high_pass

QUERIES = 1_024  # rows whose neighbours are searched at a time
WIDTH = 0.2  # of similarity: a neighbour at this distance counts 1/e of one at no distance
TARGET_OPTIONS = {"corpus": str, "hop_length": int, "clusters": int, "taught": str}
WHITENING = 0.25  # exponent of the standard deviation by which principal components are divided


@dataclass(frozen=True)
class Neighbourhood:
    """The options of targets.

    clusters: number of clusters.
    outputs: layers of the encoder that are compared; 0 is its local latents, i the output of block i.
    stride: steps of the encoder per target.
    dim: principal components of these layers that are compared.
    splice: targets on either side of a frame that are compared, too.
    neighbours: number of neighbours, all of other speakers.
    vectors: number of eigenvectors of the graph.
    frames: largest number of frames in the graph; the rest follow their neighbours in it.
    seed: of all random numbers.
    """

    clusters: int = 512
    outputs: tuple[int, ...] = (0, 3, 6)
    stride: int = 2
    dim: int = 64
    splice: int = 1
    neighbours: int = 20
    vectors: int = 80
    frames: int = 200_000
    seed: int = 0


def make_targets(
    run: Path, data: Path, out: Path, how: Neighbourhood, force: bool = False, device: str = "cpu"
) -> dict[str, float]:
    """Cluster the training and validation speech prepared in `data` by a run's encoder, into the file `out` -> figures.

    Neighbours of other speakers share what is said, and not the voice: spectral clusters of their graph (Ng, Jordan and
    Weiss 2002) follow phones better than clusters of the layers themselves do. The last target is silence.
    force: overwrite a file that is there.
    device: where the encoder computes and neighbours are searched.
    Raises SpeechVQError as `load_encoder`, `check_high_pass` and `FeatureStore.check_hop` do, for too little speech, or
    if the file exists and `force` is not given.
    """
    if out.exists() and not force:
        raise SpeechVQError(f"{out} exists; --force overwrites it")
    run = model_folder(run)
    card = load_card(run)
    check_high_pass(run, card, data)
    encoder = load_encoder(run, Clustering(outputs=how.outputs, stride=how.stride, dim=1), device)
    store = feature_store(data)
    store.check_hop(encoder.hop_length)
    hop = encoder.hop_length // store.hop_length
    rows, speakers, where = frame_rows(encoder, store, how)
    random = np.random.default_rng(how.seed)
    train = np.repeat([u.split == "train" for u in store.utterances], np.diff(store.starts) // hop)[where]
    pool = np.sort(random.permutation(np.flatnonzero(train))[: how.frames])
    if len(pool) <= max(how.clusters, how.vectors + 1, how.neighbours) or len(set(speakers[pool].tolist())) < 2:
        raise SpeechVQError(f"{data}: {len(pool)} frames of speech are too few, or of one speaker")
    nearest, similarity = neighbours(rows, speakers, pool, how.neighbours, device)
    weights = torch.exp((similarity - 1) / WIDTH)
    inside = torch.from_numpy(pool)
    embedding, values = graph_embedding(nearest[inside], weights[inside], how.vectors)
    # A frame is where its neighbours are on average; of the graph's own frames, this is what an eigenvector means.
    found = (embedding[nearest] * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1) / values
    found[inside] = embedding
    found = F.normalize(found, dim=1)
    generator = torch.Generator().manual_seed(how.seed)
    centres = kmeans(found[inside], how.clusters, init="k-means++", iterations=25, generator=generator)
    targets = np.full(int(store.starts[-1]) // hop, how.clusters, np.int32)
    targets[where] = assign(found, centres).numpy()
    origin = {"taught": card.taught, "hop_length": encoder.hop_length}
    described = asdict(how) | origin | {"corpus": utterances_digest(data, store.utterances)}
    with atomic_write(out) as temporary, temporary.open("wb") as file:
        np.savez(file, targets=targets, options=np.array(json.dumps(described)))
    used = np.bincount(targets[where], minlength=how.clusters)
    return {"frames": float(len(where)), "smallest": float(used.min()), "largest": float(used.max())}


@torch.inference_mode()
def frame_rows(encoder: CausalEncoder, store: FeatureStore, how: Neighbourhood) -> tuple[Tensor, Tensor, np.ndarray]:
    """The frames of speech of the splits train and valid.

    Returns rows of unit length (M, (2 splice + 1) dim), a number of the speaker of each (M,), and its index among all
    targets of the store (M,).
    """
    hop = encoder.hop_length // store.hop_length
    names = {name: i for i, name in enumerate(sorted({u.speaker for u in store.utterances}))}
    some = [i for i, u in enumerate(store.utterances) if u.split in ("train", "valid")]
    found, kept, speakers, where = [], [], [], []
    for i in progress(some, unit="utterance"):
        feats = store.features(i)
        found.append(joined_layers(encoder, feats, how.outputs, how.stride)[0].T.half())
        kept.append(loud(feats[0], hop))
        speakers += [names[store.utterances[i].speaker]] * len(found[-1])
        where.append(np.arange(store.starts[i] // hop, store.starts[i] // hop + len(found[-1])))
    if not found:
        raise SpeechVQError("no utterances to find targets of")
    speech, mixed = torch.cat(kept), torch.cat(found)
    sample = mixed[speech][:: max(int(speech.sum()) // 50_000, 1)].float()
    projection = principal(sample, min(how.dim, sample.shape[1]))
    spread = ((sample - projection.mean) @ projection.matrix).std(0) ** WHITENING
    projection = Projection(projection.mean, projection.matrix / spread)
    spliced = [splice((row.float() - projection.mean) @ projection.matrix, how.splice) for row in found]
    chosen = speech.numpy()
    return torch.cat(spliced)[speech], torch.tensor(speakers)[speech], np.concatenate(where)[chosen]


def splice(rows: Tensor, reach: int) -> Tensor:
    """rows (N, C) -> each with its `reach` neighbours in time on either side, at unit length (N, (2 reach + 1) C)."""
    padded = F.pad(rows.T, (reach, reach), mode="replicate").T
    return F.normalize(torch.cat([padded[k : k + len(rows)] for k in range(2 * reach + 1)], 1), dim=1)


def neighbours(
    rows: Tensor, speakers: Tensor, pool: np.ndarray, count: int, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The nearest rows of the pool that are of other speakers: their numbers in it and similarities, (M, count) both.

    rows: (M, C) of unit length.
    speakers: (M,) int64.
    pool: numbers of the rows that are searched.
    """
    rows, speakers = rows.to(device), speakers.to(device)
    candidates, owners = rows[pool], speakers[pool]
    nearest, similarity = [], []
    for begin in progress(range(0, len(rows), QUERIES), unit="block"):
        scores = rows[begin : begin + QUERIES] @ candidates.T
        scores.masked_fill_(speakers[begin : begin + QUERIES, None] == owners, -1)
        best = scores.topk(count)
        nearest.append(best.indices.cpu())
        similarity.append(best.values.cpu())
    return torch.cat(nearest), torch.cat(similarity)


def graph_embedding(nearest: Tensor, weights: Tensor, vectors: int) -> tuple[Tensor, Tensor]:
    """The leading eigenvectors of the random walk on a graph, without the constant one.

    nearest: (M, count) neighbours of each row.
    weights: (M, count) of these edges, which lead both ways.
    Returns (M, vectors) and the eigenvalues (vectors,), the largest first.
    """
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import eigsh

    size, count = nearest.shape
    begins = np.repeat(np.arange(size), count)
    graph = csr_matrix((weights.double().numpy().ravel(), (begins, nearest.numpy().ravel())), (size, size))
    graph = graph + graph.T
    root = diags(np.asarray(graph.sum(1)).ravel() ** -0.5)
    start = np.random.default_rng(0).standard_normal(size)
    values, found = eigsh(root @ graph @ root, vectors + 1, which="LA", tol=1e-2, v0=start)
    order = np.argsort(-values)[1:]
    return torch.from_numpy(root @ found[:, order]).float(), torch.from_numpy(values[order]).float()


@dataclass(frozen=True)
class Targets:
    """Saved targets.

    numbers: (N,) int64, one for every latent of a store; the last class is silence.
    classes: number of classes.
    taught: what other than audio the encoder was trained with that they are of (`Card.taught`).
    """

    numbers: np.ndarray
    classes: int
    taught: str


def read_targets(path: Path, data: Path, store: FeatureStore, hop_length: int) -> Targets:
    """The targets in a file, for a store of the corpus in `data` and an encoder of this hop length.

    Raises SpeechVQError if the file is missing or malformed, or of another corpus or rate.
    """
    largest = max(8 * int(store.starts[-1]), MAX_LINE_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            if max((entry.file_size for entry in archive.infolist()), default=0) > largest:
                raise ValueError("an array larger than the corpus")
        with np.load(path) as file:
            numbers, text = file["targets"].astype(np.int64), str(file["options"])
        options = parse_json(text, "options")
        check_shape(options, TARGET_OPTIONS, "options")
    except (
        OSError,
        EOFError,
        zipfile.BadZipFile,
        SpeechVQError,
        NotImplementedError,
        SyntaxError,
        TokenError,
        *LIBRARY_ERRORS,
    ) as error:
        raise SpeechVQError(f"{path}: not targets of `speechvq targets` ({error})") from None
    corpus, hop, classes, taught = (options[key] for key in TARGET_OPTIONS)
    if corpus != utterances_digest(data, store.utterances):
        raise SpeechVQError(f"{path}: targets of another corpus than {data}, or of other audio")
    if hop != hop_length:
        raise SpeechVQError(f"{path}: a target every {hop} samples, but a latent every {hop_length} (encoder.strides)")
    if numbers.shape != (int(store.starts[-1]) * store.hop_length // hop,) or not 0 <= classes < 2**16:
        raise SpeechVQError(f"{path}: {numbers.shape} targets of {classes + 1} classes, not one for every latent")
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= classes:
        raise SpeechVQError(f"{path}: targets are from 0 to {classes}")
    return Targets(numbers, classes + 1, taught)
