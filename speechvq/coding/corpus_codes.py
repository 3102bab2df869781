"""The codes of a prepared corpus, extracted once for each model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, read_treatment, utterances_digest
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.nn.distributed import rank_and_count, share_out

CODES_FOLDER = "codes"  # in the folder of a prepared corpus


def corpus_codes(codec: Codec, data: Path, utterances: Sequence[Utterance], cut: int = 0) -> list[np.ndarray]:
    """The codes (N,) int64 of each utterance.

    data: folder of the prepared corpus. The codes are kept in it, under the model's fingerprint, and read again as long
        as the utterances and their audio stay the same.
    cut: samples that are left out at the start of each utterance.

    Processes that train together share the work.
    """
    codec = codec.after_high_pass(read_treatment(data).high_pass)
    digest = utterances_digest(data, utterances)
    filtered = f"-{codec.high_pass:g}" if codec.high_pass else ""
    path = data / CODES_FOLDER / f"{codec.fingerprint}-{digest}-{cut}{filtered}.safetensors"
    if path.is_file():
        tensors, _ = load_tensors(path)
        rows = torch.split(tensors["codes"].long(), tensors["lengths"].tolist())
        return [row.numpy() for row in rows]

    def encode(u: Utterance) -> Tensor:
        wav = read(data / u.path)
        return codec.encode(wav[cut:] if len(wav) > cut else wav, SAMPLE_RATE)

    encoded = share_out(utterances, encode, unit="utterance")
    if rank_and_count()[0] == 0:
        lengths = torch.tensor([len(row) for row in encoded])
        save_tensors(path, {"codes": torch.cat(encoded).to(torch.int32), "lengths": lengths}, {})
    return [row.numpy() for row in encoded]
