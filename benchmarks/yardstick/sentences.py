"""The sentences and the recordings that are measured, of speakers of three kinds."""

from collections.abc import Collection, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from speechvq.data.manifest import Utterance, rank_key, read_manifest, read_speakers
from speechvq.evaluate.rate import joined_recordings
from speechvq.text.transcript import words

# The corpora (`corpus` in speakers.json) of each kind of speaker; other corpora are the kind OTHER.
KINDS = {
    "native": ("vctk", "arctic", "librispeech"),
    "narrow": ("librispeech-dev-clean",),
    "non-native": ("speechocean762",),
}
OTHER = "other"
RATE_SECONDS = 20.0  # shortest recording of which the bit rate is measured
RATE_RECORDINGS = 4  # of each kind


def unseen_sentences(data: Path, known: Collection[str], kinds: Collection[str]) -> dict[str, list[Utterance]]:
    """The utterances with a text of the split `unseen`, by kind of speaker, in the order in which they are taken.

    A fixed order, in which the speakers take turns: more sentences of it hold all of fewer.

    known: speakers to leave out, since a model knows them
    kinds: of KINDS and OTHER
    """
    kind_of = {corpus: kind for kind, corpora in KINDS.items() for corpus in corpora}
    speakers = read_speakers(data)
    found: dict[str, dict[str, list[Utterance]]] = {kind: {} for kind in (*KINDS, OTHER) if kind in kinds}
    for u in sorted(read_manifest(data), key=lambda u: (rank_key(u.speaker), rank_key(u.id))):
        kind = kind_of.get(speakers.get(u.speaker, {}).get("corpus", ""), OTHER)
        if u.split == "unseen" and u.speaker not in known and words(u.text) and kind in found:
            found[kind].setdefault(u.speaker, []).append(u)
    in_turn = {kind: chain.from_iterable(zip_longest(*own.values())) for kind, own in found.items() if own}
    return {kind: [u for u in utterances if u] for kind, utterances in in_turn.items()}


def rate_recordings(data: Path, utterances: Sequence[Utterance]) -> list[list[Path]]:
    """The files of each recording of a kind of which the bit rate is measured.

    Utterances of one speaker, joined to at least RATE_SECONDS; all that there is where no speaker has as much.
    """
    joined = [paths for _, paths in joined_recordings(data, utterances, RATE_SECONDS)]
    if not joined:
        return [[data / u.path for u in utterances]]
    return sorted(joined, key=lambda paths: rank_key(paths[0].name))[:RATE_RECORDINGS]
