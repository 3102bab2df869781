"""Print the table of compare.sh in Markdown: python compare.py RUNS. A cell has the figures of all seeds."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOTTLENECKS = {"ae": "AE", "vae": "VAE", "vq": "VQ", "ema": "VQ-EMA"}
# By row of the table: the suffix of the run, the question, and what is taken from its result.
ROWS: dict[str, tuple[str, str, Callable[[dict[str, Any]], str]]] = {
    "bits per sample": ("-wavenet", "reconstruction", lambda r: f"{r['bits_per_sample']:.3f}"),
    "error of standardised MFCC": ("", "reconstruction", lambda r: f"{r['loss']:.3f}"),
    "gap: error added by another utterance's latents": ("", "reconstruction", lambda r: f"{r['gap']:.2f}"),
    "bits per latent": (
        "",
        "reconstruction",
        lambda r: f"{r['bits_per_latent']:.1f}" if "bits_per_latent" in r else "-",
    ),
    "accuracy on unseen speakers, %": (
        "",
        "phonemes",
        lambda r: f"{100 * r['scores']['centre']['codes']['held_out']:.1f}",
    ),
    "accuracy on the mapping's own frames, %": (
        "",
        "phonemes",
        lambda r: f"{100 * r['scores']['centre']['codes']['same']:.1f}",
    ),
    "PNMI": ("", "phonemes", lambda r: f"{r['scores']['centre']['pnmi']:.3f}"),
    "ABX within, across speakers, %": (
        "",
        "phonemes",
        lambda r: f"{100 * r['abx']['within']:.1f} {100 * r['abx']['across']:.1f}",
    ),
    "I(speaker; code), permuted": ("", "leakage", lambda r: f"{r['information']:.3f} {r['information_permuted']:.3f}"),
    "speaker identified, %": ("", "leakage", lambda r: f"{100 * r['accuracy']:.1f}"),
    "bit/s of codes": ("", "phonemes", lambda r: f"{r['bits_per_s']['unigram']:.0f}"),
    "codes in use": ("", "phonemes", lambda r: f"{r['scores']['centre']['used_codes']}"),
}


def cell(runs: Path, kind: str, suffix: str, question: str, take: Callable[[dict[str, Any]], str]) -> str:
    """Return the figures of all seeds that were measured, separated by commas."""
    paths = sorted(runs.glob(f"{kind}-[0-9]*{suffix}/{question}.json"))
    chosen = [path for path in paths if path.parent.name.endswith("-wavenet") == bool(suffix)]
    return ", ".join(take(json.loads(path.read_text(encoding="utf-8"))) for path in chosen)


def main() -> None:
    """Print the table."""
    runs = Path(sys.argv[1])
    print("| |", " | ".join(BOTTLENECKS.values()), "|")
    print("|---|" + "---|" * len(BOTTLENECKS))
    for name, (suffix, question, take) in ROWS.items():
        print(f"| {name} |", " | ".join(cell(runs, kind, suffix, question, take) for kind in BOTTLENECKS), "|")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
