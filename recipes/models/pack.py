"""A trained run as a packaged model: small, with a card that tells how it was made and how good it is.

    python recipes/models/pack.py RUN NAME [PRIOR]

The decoder's matrices, and the prior's, become float16; encoder and codebook stay as they are, and so do the codes.
NAME.md beside this file is the card's text; RUN/conversion.json and RUN/phonemes.json are its figures.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from torch import Tensor

from speechvq.config import CodecRun
from speechvq.folder.card import PACKAGED, WEIGHTS, load_card, save_card
from speechvq.folder.histogram import HISTOGRAM
from speechvq.folder.hub import README, TAGS
from speechvq.folder.weights import load_tensors, save_tensors

CORPUS = "VCTK 0.92 (a part), CMU ARCTIC bdl and slt, LibriSpeech 19, 26 and 27: 3.9 hours"
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


def main(run: Path, name: str, prior: Path | None = None) -> None:
    """Write speechvq/models/NAME."""
    folder = PACKAGED / name
    shutil.rmtree(folder, ignore_errors=True)
    shrink(run, folder)
    shutil.copy(run / HISTOGRAM, folder)
    if prior:
        shrink(prior, folder / "prior")
    measured = figures(run)
    results = [EvalResult("audio-to-audio", "speech", CORPUS, text, value, text) for text, value in measured.items()]
    data = ModelCardData(model_name=name, license="cc-by-4.0", library_name="speechvq", tags=TAGS, datasets=[CORPUS])
    data.eval_results = results
    table = "\n".join(["| | |", "|---|---|", *(f"| {text} | {value} |" for text, value in measured.items())])
    text = Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8")
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text.replace('FIGURES', table)}").save(folder / README)


def shrink(run: Path, folder: Path) -> None:
    """A model folder of half the size, without the paths of the machine that it was made on."""
    card = load_card(run)
    config = card.config
    if isinstance(config, CodecRun):
        config = dataclasses.replace(config, init=dataclasses.replace(config.init, path=""))
    save_card(folder, dataclasses.replace(card, config=config))
    tensors, metadata = load_tensors(run / WEIGHTS)
    save_tensors(folder / WEIGHTS, {key: halved(key, tensor) for key, tensor in tensors.items()}, metadata)


def halved(name: str, tensor: Tensor) -> Tensor:
    """float16 for matrices that are not of the encoder or the codebook."""
    codes = name.startswith(("encoder.", "bottleneck."))
    return tensor if codes or tensor.ndim < 2 or tensor.abs().max() > 60_000 else tensor.half()


def figures(run: Path) -> dict[str, float]:
    """What was measured, by what it is called."""
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
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
