"""Phone inventories: the symbols of label sets, mapped to lower-case ARPAbet without stress."""

import re

from speechvq import SpeechVQError

# Lee and Hon 1989, table II: a phone, then the symbols of TIMIT that are folded into it: 61 become 39, without `q`.
FOLDED = "aa ao, ah ax ax-h, er axr, hh hv, ih ix, l el, m em, n en nx, ng eng, sh zh, uw ux, sil"
FOLDED += " pcl tcl kcl bcl dcl gcl h# pau epi"
TIMIT_FOLDED = {old: row.split()[0] for row in FOLDED.split(",") for old in row.split()}
SILENCE = "sil"
# A phone of the inventory, then its aliases: ARPAbet without stress, TIMIT's flap, and the schwa of VCTK's labels.
PHONES = "aa, ae, ah, ao, aw, ax, ay, b, ch, d, dh, dx, eh, er axr, ey, f, g, hh h hv, ih ix, iy, jh, k, l el, m em"
PHONES += ", n en nx, ng eng, ow, oy, p, r, s, sh, t, th, uh, uw ux, v, w, y, z, zh"
PHONES += ", sil pau sp spn silence h# epi <s> </s> <sil> +nsn+ +spn+ [noise] [speech] <eps> <unk>"
ARPABET = {old: row.split()[0] for row in PHONES.split(",") for old in row.split()} | {"": SILENCE}
# A phone, then espeak-ng's mnemonics for it. Case matters: `D` is not ARPAbet's d, nor is `aa` (bath) its aa.
MNEMONICS = "aa 0 A: A@, ae a aa, ah V, ao O O: O@ O~ o@ O2, aw aU, ax @ @2 @5 @- a#, ay aI aI2 aI3 aI@, ch tS, dh D"
MNEMONICS += ", eh E e@, er 3 3: IR VR, ey eI, hh h, ih I I2 I# i@ i@3, iy i i:, jh dZ, k x, l @L l#, n n-, ng N, ow oU"
MNEMONICS += ", oy OI, r r-, sh S, t t# t2 t[ ?, th T, uh U U@, uw u:, w w#, y j ;, zh Z, sil pau"
ESPEAK = {new: row.split()[0] for row in MNEMONICS.split(",") for new in row.split()[1:]}
ESPEAK |= {symbol: symbol for symbol in "bdfgklmnprstvwz"}
# All of them, in the order in which a model numbers them.
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
    phone = ESPEAK.get(label) if espeak else ARPABET.get(re.sub(r"(?<=[a-z])[012]$", "", label.lower()))
    if phone is None:
        raise SpeechVQError(f"'{label}' is not a known phone")
    return phone
