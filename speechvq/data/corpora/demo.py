"""The demo corpus: our own sentences, synthesized with espeak-ng in the layout of VCTK 0.92."""

from dataclasses import replace
from pathlib import Path

from speechvq.data.corpora.vctk import VCTK


def _download(folder: Path, count: int | None) -> Path:
    from speechvq.data.corpora.demo_speech import speak_corpus

    speak_corpus(folder, count=count)
    return folder


DEMO = replace(VCTK, summary="our own sentences, synthesized with espeak-ng", download=_download)
