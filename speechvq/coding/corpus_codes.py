"""The codes of a prepared corpus, extracted once for each model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, read_treatment, utterances_digest
from speechvq.files import Failure, attempt
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.nn.distributed import rank_and_count, share_out

CODES_FOLDER = "codes"  # in the folder of a prepared corpus


def corpus_codes(
    codec: Codec, data: Path, utterances: Sequence[Utterance], cut: int = 0, penalty: float = 0.0
) -> list[np.ndarray]:
    """The codes (N,) int64 of each utterance.

    data: folder of the prepared corpus. The codes are kept in it, under the model's fingerprint, and read again as long
        as the utterances and their audio stay the same.
    cut: samples that are left out at the start of each utterance.
    penalty: for each change of code, see `Codec.encode`.

    Processes that train together share the work. Raises SpeechVQError if an utterance's audio cannot be read.
    """
    kept, encode = _kept_and_encoder(codec, data, utterances, cut, penalty)
    if kept.is_file():
        return _load(kept, len(utterances), codec.alphabet.codes)
    return _save(kept, share_out(utterances, encode, unit="utterance"))


def usable_codes(
    codec: Codec, data: Path, utterances: Sequence[Utterance], penalty: float = 0.0
) -> tuple[list[Utterance], list[np.ndarray], list[tuple[str, str]]]:
    """The utterances whose audio can be read, their `corpus_codes`, and (id, reason) of the others.

    Codes are kept only if there are no others.
    """
    kept, encode = _kept_and_encoder(codec, data, utterances, penalty=penalty)
    if kept.is_file():
        return [*utterances], _load(kept, len(utterances), codec.alphabet.codes), []
    found = zip(utterances, share_out(utterances, lambda u: attempt(encode, u), unit="utterance"), strict=True)
    usable, rows, left_out = list[Utterance](), list[Tensor](), list[tuple[str, str]]()
    for u, result in found:
        if isinstance(result, Failure):
            left_out.append((u.id, result.reason))
        else:
            usable.append(u)
            rows.append(result)
    return usable, [row.numpy() for row in rows] if left_out else _save(kept, rows), left_out


def _kept_and_encoder(
    codec: Codec, data: Path, utterances: Sequence[Utterance], cut: int = 0, penalty: float = 0.0
) -> tuple[Path, Callable[[Utterance], Tensor]]:
    """The file in which the codes of utterances are kept, and the function that computes them."""
    codec = codec.after_high_pass(read_treatment(data).high_pass)
    digest = utterances_digest(data, utterances)
    options = f"-{codec.high_pass:g}" * bool(codec.high_pass) + f"-penalty{penalty:g}" * bool(penalty)

    def encode(u: Utterance) -> Tensor:
        wav = read(data / u.path)
        return codec.encode(wav[cut:] if len(wav) > cut else wav, SAMPLE_RATE, penalty=penalty)

    return data / CODES_FOLDER / f"{codec.fingerprint}-{digest}-{cut}{options}.safetensors", encode


def _load(kept: Path, utterances: int, size: int) -> list[np.ndarray]:
    """The codes that were kept in a file.

    size: of the codebook.
    Raises SpeechVQError if the file is damaged.
    """
    tensors, _ = load_tensors(kept)
    codes, lengths = tensors.get("codes", torch.empty(0)), tensors.get("lengths", torch.empty(0))
    valid = codes.dtype == torch.int32 and lengths.dtype == torch.int64 and lengths.shape == (utterances,)
    valid = valid and bool((lengths >= 0).all()) and codes.shape == (int(lengths.sum()),)
    if not valid or ((codes < 0) | (codes >= size)).any():
        raise SpeechVQError(f"{kept}: not the codes of this corpus; remove it")
    return [row.numpy() for row in torch.split(codes.long(), lengths.tolist())]


def _save(kept: Path, rows: Sequence[Tensor]) -> list[np.ndarray]:
    if rank_and_count()[0] == 0:
        lengths = torch.tensor([len(row) for row in rows])
        save_tensors(kept, {"codes": torch.cat([*rows]).to(torch.int32), "lengths": lengths}, {})
    return [row.numpy() for row in rows]
