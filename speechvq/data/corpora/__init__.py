"""The corpora that can be prepared, by name. A new one is a file with a `Corpus`, and a line here."""

from speechvq.data.corpora.contract import Corpus
from speechvq.data.corpora.demo import DEMO
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.corpora.librispeech import LIBRISPEECH
from speechvq.data.corpora.libritts import LIBRITTS
from speechvq.data.corpora.timit import TIMIT
from speechvq.data.corpora.vctk import VCTK

CORPORA: dict[str, Corpus] = {
    "vctk": VCTK,
    "folder": FOLDER,
    "demo": DEMO,
    "librispeech": LIBRISPEECH,
    "libritts": LIBRITTS,
    "timit": TIMIT,
}
