"""Phone inventories: the symbols of label sets, mapped to lower-case ARPAbet without stress."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from speechvq import SpeechVQError

# Lee and Hon 1989, table II: a phone, then the symbols of TIMIT that are folded into it: 61 become 39, without `q`.
FOLDED = "aa ao, ah ax ax-h, er axr, hh hv, ih ix, l el, m em, n en nx, ng eng, sh zh, uw ux, sil"
FOLDED += " pcl tcl kcl bcl dcl gcl h# pau epi"
TIMIT_FOLDED = {old: row.split()[0] for row in FOLDED.split(",") for old in row.split()}
SILENCE = "sil"
# A phone of the inventory, then its aliases: ARPAbet without stress, TIMIT's symbols, and the schwa of VCTK's labels.
PHONES = "aa, ae, ah, ao, aw, ax ax-h, ay, b, ch, d, dh, dx, eh, er axr, ey, f, g, hh h hv, ih ix, iy, jh, k, l el"
PHONES += ", m em, n en nx, ng eng, ow, oy, p, r, s, sh, t, th, uh, uw ux, v, w, y, z, zh"
PHONES += ", sil pau sp spn silence h# epi"
ARPABET = {old: row.split()[0] for row in PHONES.split(",") for old in row.split()} | {"": SILENCE}
# Labels of pauses and noises, in lower case, beside those in brackets: of MFA, FAVE, Buckeye and others.
NOISE_LABELS = "ns lg ls br cg sl nsn oov unk unknown noise vocnoise laugh laughter breath cough hesitation iver"
NOISES = frozenset(NOISE_LABELS.split())
BRACKETED = re.compile(r"<.*>|\{.*\}|\[.*\]|\+.*\+")  # <p:>, {LG}, [noise], +SPN+
GLOTTAL_STOP = "q"  # no phone of the inventory: a gap, as in TIMIT's 39
# A phone, then espeak-ng's mnemonics for it. Case matters: `D` is not ARPAbet's d, nor is `aa` (bath) its aa.
MNEMONICS = "aa 0 A: A@, ae a aa, ah V, ao O O: O@ O~ o@ O2, aw aU, ax @ @2 @5 @- a#, ay aI aI2 aI3 aI@, ch tS, dh D"
MNEMONICS += ", eh E e@, er 3 3: IR VR, ey eI, hh h, ih I I2 I# i@ i@3, iy i i:, jh dZ, k x, l @L l#, n n-, ng N, ow oU"
MNEMONICS += ", oy OI, r r-, sh S, t t# t2 t[ ?, th T, uh U U@, uw u:, w w#, y j ;, zh Z, sil pau"
ESPEAK = {new: row.split()[0] for row in MNEMONICS.split(",") for new in row.split()[1:]}
ESPEAK |= {symbol: symbol for symbol in "bdfgklmnprstvwz"}
# X-SAMPA as WebMAUS writes it for English; what it shares with espeak-ng means the same.
SAMPA = "aa A Q, ae {, ax 6, eh e E:, er @` 3` 3`:, ih I@, l 5 l=, m m=, n n=, ng N=, ow @U o: o, r r\\, dx 4, uw u }:"
SAMPA_AND_ESPEAK = {new: row.split()[0] for row in SAMPA.split(",") for new in row.split()[1:]} | ESPEAK
# IPA: the sets english_mfa, english_us_mfa and english_uk_mfa, and the usual letters for English.
IPA_ROWS = "aa ɑ ɒ aː, ae æ a, ah ʌ ɐ, ao ɔ ɒː, aw aʊ aw, ax ə, ay aɪ aj ɑj, b b, ch tʃ ʧ tɕ tʂ, d d ɖ, dh ð, dx ɾ"
IPA_ROWS += ", eh ɛ e eə ɛə, er ɚ ɝ ɜ ɹ̩ ə˞ ɜ˞, ey eɪ ej eː, f f, g ɡ g ɟ ɡb, hh h ç ɦ, ih ɪ ɨ ɪə, iy i, jh dʒ ʤ dʑ"
IPA_ROWS += ", k k c kp x, l l ɫ ʎ, m m ɱ, n n ɲ ɾ̃, ng ŋ, ow oʊ ow əʊ əw o, oy ɔɪ ɔj, p p, r ɹ r ɻ, s s, sh ʃ ɕ ʂ"
IPA_ROWS += ", t t ʈ ʔ, th θ, uh ʊ ʊə, uw u ʉ, v v ʋ, w w ʍ, y j, z z, zh ʒ ʑ"
IPA = {new: row.split()[0] for row in IPA_ROWS.split(",") for new in row.split()[1:]}
IPA_MARKS = str.maketrans("", "", "ˈˌːˑʰʲʷˠˤⁿˡ˞͜͡")  # stress, length, aspiration and other secondary articulation, ties
# All phones, in the order in which a model numbers them.
INVENTORY = tuple(sorted(set(ARPABET.values())))
# The phones of each class, by manner of articulation; diphthongs are vowels, the flap is a stop, /h/ a fricative.
PHONE_CLASSES = {
    "vowels": ["aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"],
    "stops": ["b", "d", "dx", "g", "k", "p", "t"],
    "fricatives": ["dh", "f", "hh", "s", "sh", "th", "v", "z", "zh"],
    "affricates": ["ch", "jh"],
    "nasals": ["m", "n", "ng"],
    "approximants": ["l", "r", "w", "y"],
}


def arpabet(label: str, espeak: bool = False) -> str:
    """The phone of a label, in lower-case ARPAbet without stress; `sil` for every kind of silence and noise.

    label: as CMUdict, MFA, TIMIT, HTS and pocketsphinx write it
    espeak: the label is a mnemonic of espeak-ng instead
    Raises SpeechVQError if the label is unknown.
    """
    phone = ESPEAK.get(label) if espeak else _from_arpabet(label)
    if phone is None:
        raise SpeechVQError(f"'{label}' is not a known phone")
    return phone


def _from_arpabet(label: str) -> str | None:
    lower = label.lower()
    if lower in NOISES or BRACKETED.fullmatch(lower):
        return SILENCE
    return GLOTTAL_STOP if lower in (GLOTTAL_STOP, "?", "ʔ") else ARPABET.get(re.sub(r"(?<=[a-z])_?[012]$", "", lower))


def _from_ipa(label: str) -> str | None:
    """Letters for a phone, without what does not make it another one."""
    composed = unicodedata.normalize("NFC", label)
    for one in (composed, composed.translate(IPA_MARKS)):
        bare = "".join(letter for letter in one if unicodedata.category(letter) != "Mn")
        phone = IPA.get(one) or IPA.get(bare)
        if phone:
            return phone
    return None


# The sets of symbols; the first of them that knows all labels of a file is the file's.
SETS: tuple[Callable[[str], str | None], ...] = (_from_arpabet, _from_ipa, SAMPA_AND_ESPEAK.get)


def phones_of(labels: Sequence[str], symbols: Mapping[str, str] | None = None) -> list[str | None]:
    """The phones of the labels of a file, by `symbols`, else by the first of SETS that knows them all; None for a gap.

    Of a label such as AH0_B (Kaldi's position in the word), l-ah+r (HTK's context), x^l-ah+r=t@... (HTS), and AH0,IH,s
    (L2-ARCTIC: what was to be said, what was, and the kind of error) only the phone that was said is read.

    symbols: the phones of symbols that SETS do not know, or know otherwise; GLOTTAL_STOP for a gap
    Raises SpeechVQError with the first label that is unknown to the set that knows the most.
    """
    own = symbols or {}
    left = [label for label in dict.fromkeys(labels) if label not in own]
    known = [{label: _known(label, phone_of) for label in left} for phone_of in SETS]
    table = min(known, key=lambda one: list(one.values()).count(None)) | dict(own)
    for label in labels:
        if table[label] is None:
            raise SpeechVQError(f"'{label}' is not a known phone (--map FILE says what it is)")
    return [None if table[label] == GLOTTAL_STOP else table[label] for label in labels]


def _known(label: str, phone_of: Callable[[str], str | None]) -> str | None:
    """The phone of a label by the symbols of one set, or as noise, which is in all sets; None if it is neither."""
    for symbol in _symbols(label):
        noise = _from_arpabet(symbol)
        phone = phone_of(symbol) or (noise if noise in (SILENCE, GLOTTAL_STOP) else None)
        if phone is not None:
            return phone
    return None


def _symbols(label: str) -> list[str]:
    """The label, and what it may be without what programs add to a symbol; the most likely first."""
    errors = [part.strip().rstrip("*") for part in label.split(",")]
    if len(errors) == 3 and errors[2].lower() in ("s", "a", "d"):  # substitution, addition, deletion
        return [GLOTTAL_STOP if errors[1].lower() == "err" else errors[1]]  # err: no phone of the language
    symbols = [label, re.sub(r"_[BIES]$", "", label), label.rstrip("*")]
    context = re.fullmatch(r"(?:[^-]*-)?([^-+]+)(?:\+.*)?", label.partition("/")[0])
    return [*symbols, context[1]] if context else symbols
