"""How well held-out speech is predicted from its codes, over a whole split."""

from pathlib import Path

from speechvq.codec import Codec
from speechvq.data.manifest import read_manifest
from speechvq.nn.vqvae import Batch
from speechvq.train.batches import held_out_batches


def evaluate_reconstruction(codec: Codec, data: Path, split: str, crop: int) -> dict[str, float]:
    """Compute `VQVAE.held_out` on all whole crops of a split.

    split: valid or test
    crop: samples; each crop is predicted without the speech before it, so that longer crops give slightly better
        figures

    Raises SpeechVQError if the model has no decoder, or the split too little speech of its speakers.
    """
    _ = codec.model.speech_decoder  # before the work
    utterances = [u for u in read_manifest(data) if u.split == split]
    length = max(crop // codec.hop_length, 1) * codec.hop_length
    batches = held_out_batches(data, utterances, codec.speakers, length)
    on_device = (Batch(wav.to(codec.device), speaker.to(codec.device)) for wav, speaker in batches)
    return codec.model.held_out(on_device)
