"""Pack a trained run as a small model folder with a card that says how it was trained and how good it is.

    python recipes/models/pack.py RUN FOLDER [PRIOR]

The matrices of the decoder and of the prior become float16; the encoder and the codebook stay as they are, and so do
the codes. The card's text is NAME.md beside this file, where NAME is the last part of FOLDER; its figures are those of
RUN/conversion.json and RUN/phonemes.json.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.config import CodecRun
from speechvq.folder.card import WEIGHTS, load_card, save_card
from speechvq.folder.histogram import HISTOGRAM
from speechvq.folder.hub import TAGS
from speechvq.folder.readme import README
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.nn.vqvae import TRAINING_PARTS

PHONE_TABLE = "phones.tsv"  # of `evaluate phonemes --table`, if it was written there: `encode --phones` reads it
CORPUS = "VCTK 0.92 (a part), CMU ARCTIC bdl and slt, LibriSpeech 19, 26 and 27: 3.9 hours"
# By file of results: a figure's name on the card, its factor, and the keys that lead to it.
FIGURES = {
    "conversion.json": {
        "words misunderstood in conversions, %": (100, "figures", "conversion", "word_error_rate"),
        "words misunderstood in natural recordings, %": (100, "figures", "natural", "word_error_rate"),
        "conversions nearest to the target of all speakers, %": (100, "figures", "conversion", "nearest"),
        "conversions nearer to the target than to the source, %": (100, "figures", "conversion", "nearer"),
        "similarity to the target": (1, "figures", "conversion", "similarity"),
        "DNSMOS of conversions": (1, "figures", "conversion", "dnsmos"),
    },
    "phonemes.json": {
        "phone accuracy, speakers not trained on, %": (100, "scores", "centre", "codes", "held_out"),
        "most likely phone, the same speakers, %": (100, "scores", "centre", "most_likely", "held_out"),
        "phone accuracy, the frames of the mapping, %": (100, "scores", "centre", "codes", "same"),
        "PNMI": (1, "scores", "centre", "pnmi"),
    },
}


def main(run: Path, folder: Path, prior: Path | None = None) -> None:
    """Write the packed run, and the packed prior inside it, in place of what is in the folder."""
    name = folder.name
    text = Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    shrink(run, folder)
    shutil.copy(run / HISTOGRAM, folder)
    if (run / PHONE_TABLE).is_file():
        shutil.copy(run / PHONE_TABLE, folder)
    if prior:
        shrink(prior, folder / "prior")
    measured = figures(run)
    results = [EvalResult("audio-to-audio", "speech", CORPUS, text, value, text) for text, value in measured.items()]
    data = ModelCardData(model_name=name, license="cc-by-4.0", library_name="speechvq", tags=TAGS, datasets=[CORPUS])
    data.eval_results = results
    table = "\n".join(["| | |", "|---|---|", *(f"| {text} | {value} |" for text, value in measured.items())])
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text.replace('FIGURES', table)}").save(folder / README)


def shrink(run: Path, folder: Path) -> None:
    """Copy a model folder at half its size, without the paths of its machine and what only training needs."""
    card = load_card(run)
    config = card.config
    if isinstance(config, CodecRun):
        config = dataclasses.replace(config, model=config.model.trained, init=dataclasses.replace(config.init, path=""))
    save_card(folder, dataclasses.replace(card, config=config))
    tensors, metadata = load_tensors(run / WEIGHTS)
    kept = {key: to_float16(key, tensor) for key, tensor in tensors.items() if not key.startswith(TRAINING_PARTS)}
    save_tensors(folder / WEIGHTS, kept, metadata)


def to_float16(name: str, tensor: Tensor) -> Tensor:
    """Return a matrix as float16; as it is if it is out of range, or of encoder or codebook and would be rounded."""
    half = tensor.half()
    codes = name.startswith(("encoder.", "bottleneck.")) and not half.to(tensor.dtype).equal(tensor)
    return tensor if codes or tensor.ndim < 2 or tensor.abs().max() > 60_000 else half


def figures(run: Path) -> dict[str, float]:
    """Return the figures of the card: those of FIGURES that the run has, by their names on the card."""
    result = {}
    for file, keys in FIGURES.items():
        if not (run / file).is_file():
            continue
        data = json.loads((run / file).read_text(encoding="utf-8"))
        for text, (factor, *path) in keys.items():
            value = data
            for key in path:
                value = value[key]
            if value is not None:
                result[text] = round(factor * value, 3 if factor == 1 else 1)
    return result


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        main(*map(Path, sys.argv[1:]))
    except (SpeechVQError, OSError) as error:
        sys.exit(f"pack.py: error: {error}")
