"""How well held-out speech is predicted from its codes, over a whole split."""

from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.evaluate.left_out import LeftOut, share_out_usable
from speechvq.nn.vqvae import Batch
from speechvq.train.batches import held_out_batches


def evaluate_reconstruction(codec: Codec, data: Path, split: str, crop: int) -> tuple[dict[str, float], LeftOut]:
    """Compute `VQVAE.held_out` on all whole crops of a split.

    split: valid or test
    crop: samples; each crop is predicted without the speech before it, so that longer crops give slightly better
        figures

    Returns the figures, and (id, reason) of utterances that cannot be read in full. Raises SpeechVQError if the model
    has no decoder, or the split too little speech of its speakers.
    """
    _ = codec.model.speech_decoder  # before the work
    utterances = [u for u in read_manifest(data) if u.split == split and u.speaker in codec.speakers]

    def check(u: Utterance) -> None:
        samples = len(read(data / u.path))
        if samples < u.samples:
            raise SpeechVQError(f"{data / u.path}: holds {samples} samples, but {u.samples} by the manifest")

    checked, left_out = share_out_usable(utterances, check, lambda u: u.id, unit="utterance")
    length = max(crop // codec.hop_length, 1) * codec.hop_length
    batches = held_out_batches(data, [u for u, _ in checked], codec.speakers, length)
    on_device = (Batch(batch.wav.to(codec.device), batch.speaker.to(codec.device)) for batch in batches)
    return codec.model.held_out(on_device), left_out
