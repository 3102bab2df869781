"""Damage to the bytes of a file, by its kind: each function takes a random generator and bytes, and returns bytes."""

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any
from zlib import crc32

from speechvq.coding.header import Header, read_header, write_header
from speechvq.folder.card import Alphabet

Damage = Callable[[random.Random, bytes], bytes]

DEEP = "@deep@"  # stands for lists inside of each other, which `json` would not write
TEXTS = ["", "\x1b[31mred\x1b[0m", "../../outside", "/etc/passwd", "a/../../b", "x" * 70_000, "\ud800", "\0", "\n", "*"]
TEXTS += ["1", "nan", "\u202e", "natural", "conversion", "p225", "%s%n", "<script>", DEEP]
NUMBERS = [0, -1, 1, 2, 3, 0.5, 1e-320, 1e308, -1e308, float("inf"), float("nan"), 2**31, 2**32 - 1, 2**63, 10**400]
VALUES: list[Any] = [None, True, False, [], {}, [[]], [None], {"": {}}, [0] * 5000, *TEXTS, *NUMBERS]
TOML_VALUES = ["[]", "{}", "-1", "0", "nan", "inf", "1e400", "9" * 400, "true", "''", "[1, 'a']", "[" * 300, "1.5"]
TOML_VALUES += ["2020-01-01", '"\\u0000"', "[" + "2," * 500 + "]", "65536", "16777216", "1099511627776", '"causal"']
WORDS = ["", "-1", "0", "1e400", "9" * 400, "9" * 5000, "nan", "inf", "0x", "\x1b[31m", "\0", "\u00e9", '"', "\t"]
WORDS += [
    "---",
    "#",
    "..",
    "/",
    "\ufeff",
    "999999999999",
    "1.5",
    "a" * 5000,
    "[2]",
    "x[" + "9" * 5000 + "]",
    "<exists>",
    ":",
]
PATTERNS = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", struct.pack("<f", float("nan"))]


def in_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to eight changes of single bytes, runs of bytes, and the length."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(damaged) + 1)
        if rng.random() < 0.5:
            at = min(at, rng.choice((16, 64, 256)))  # heads are the interesting part
        run = rng.choice((1, 1, 2, 4, 8, 64, 1024))
        kind = rng.randrange(8)
        if kind == 0 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[at : at + run] = rng.randbytes(run)
        elif kind == 2:
            damaged[at : at + 4] = rng.choice(PATTERNS)
        elif kind == 3:
            del damaged[at : at + run]
        elif kind == 4:
            damaged[at:at] = damaged[at : at + run] * rng.choice((1, 1, 3, 100))
        elif kind == 5:
            del damaged[at:]
        elif kind == 6:
            damaged[at : at + run] = bytes(min(run, len(damaged) - at))
        else:
            other = rng.randrange(len(damaged) + 1)
            damaged[at : at + run] = damaged[other : other + run]
    return bytes(damaged)


def in_text(rng: random.Random, data: bytes) -> bytes:
    """Changes of lines and words; the encoding may change, too."""
    if rng.random() < 0.2:
        return in_bytes(rng, data)
    text = data.decode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2, 4))):
        parts = re.split(r"(\n|[ \t=\",]+)", text)
        at = rng.randrange(len(parts))
        kind = rng.randrange(7)
        if kind == 0:
            parts[at] = rng.choice(WORDS)
        elif kind == 1:
            parts.insert(at, rng.choice(WORDS))
        elif kind == 2:
            del parts[at]
        elif kind == 3:
            parts[at] *= rng.choice((2, 50, 2000))
        elif kind == 4:
            del parts[at:]
        elif kind == 5:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts[at:at] = ["\n", *rng.choice(text.split("\n")), "\n"]
        text = "".join(parts)
    encoding = rng.choice(("utf-8",) * 8 + ("utf-16", "utf-16-le", "latin-1"))
    return text.encode(encoding, "replace")


def in_json(rng: random.Random, data: bytes) -> bytes:
    """Changes of values, keys and lengths somewhere in a value of JSON."""
    if rng.random() < 0.15:
        return in_text(rng, data)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _changed(rng, value)
    return _dumped(value).encode("utf-8", "surrogatepass")


def in_json_lines(rng: random.Random, data: bytes) -> bytes:
    """Changes of one line as JSON, or of all lines as text."""
    lines = data.decode().removesuffix("\n").split("\n")
    if rng.random() < 0.2 or not lines[0]:
        return in_text(rng, data)
    at = rng.randrange(len(lines))
    lines[at] = in_json(rng, lines[at].encode()).decode("utf-8", "replace")
    return ("\n".join(lines) + "\n").encode()


def in_toml(rng: random.Random, data: bytes) -> bytes:
    """Other values of keys, or changes of the text."""
    text = data.decode()
    places = list(re.finditer(r"= *([^,}\n#]+)", text))
    if rng.random() < 0.3 or not places:
        return in_text(rng, data)
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.choice(places)
        text = text[: place.start(1)] + rng.choice(TOML_VALUES) + text[place.end(1) :]
        places = list(re.finditer(r"= *([^,}\n#]+)", text)) or places
    return text.encode()


def in_weights(rng: random.Random, data: bytes) -> bytes:
    """Changes of a safetensors file: of its head as JSON, of its values, of its bytes."""
    if rng.random() < 0.3:
        return in_bytes(rng, data)
    size = int.from_bytes(data[:8], "little")
    head, values = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    if rng.random() < 0.5 and values:
        for _ in range(rng.choice((1, 3, 100))):
            at = 4 * rng.randrange(max(len(values) // 4, 1))
            values[at : at + 4] = rng.choice(PATTERNS)
    else:
        name = rng.choice(list(head))
        if name == "__metadata__":
            key = rng.choice(list(head[name]) or ["format"])
            head[name][key] = rng.choice((_dumped(rng.choice(VALUES)), rng.choice(TEXTS)))
        elif rng.random() < 0.4:
            head[rng.choice(("other", "", "\x1b[31m", name + ".x"))] = head.pop(name)
        elif rng.random() < 0.5:
            head[name]["dtype"] = rng.choice(("F64", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "C64", "?"))
        else:
            head[name] = _changed(rng, head[name])
    text = _dumped(head).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + bytes(values)


def in_codes(rng: random.Random, data: bytes) -> bytes:
    """Changes of a .svq file, half of them with a valid checksum of the header."""
    header = read_header(data)
    kind = rng.randrange(3)
    if kind == 0:
        return in_bytes(rng, data)
    if kind == 1:
        head = bytearray(data[: header.size - 4])
        for _ in range(rng.choice((1, 2, 5))):
            head[rng.randrange(3, len(head))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        return bytes(head) + crc32(head).to_bytes(4, "little") + data[header.size :]
    return _other_header(rng, header, data)


def _other_header(rng: random.Random, header: Header, data: bytes) -> bytes:
    chunks, offset = [], header.size
    for chunk in (*header.chunks, *(header.melody or ())):
        chunks.append(data[offset : offset + chunk.size])
        offset += chunk.size
    own = len(header.chunks)
    chunks, melody = chunks[:own], None if header.melody is None else chunks[own:]
    if rng.random() < 0.5:
        chunks = [in_bytes(rng, chunk) for chunk in chunks] * rng.choice((1, 1, 2, 300))
    numbers = [header.sample_rate, header.alphabet.hop_length, header.alphabet.codes, header.samples]
    numbers[rng.randrange(4)] = rng.choice((0, 1, 2, 320, 2**16, 2**31, 2**40, 2**63, 2**3000))
    rate, hop, codes, samples = numbers
    speaker = rng.choice(("", "x" * 255, "\x1b[31m", "../../x", header.speaker))
    alphabet = Alphabet(header.alphabet.model, codes, hop)
    head = write_header(header.coder, alphabet, header.tag, rate, samples, speaker, chunks, melody)
    return head + b"".join((*chunks, *(melody or ())))


def _changed(rng: random.Random, value: Any) -> Any:
    """A value of JSON with one change somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            return {name: one for name, one in value.items() if name != key}
        if kind == 1:
            return {(rng.choice(TEXTS) if name == key else name): one for name, one in value.items()}
        if kind == 2:
            return {**value, rng.choice(TEXTS): rng.choice(VALUES)}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        kind = rng.randrange(8)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return [*value, *([rng.choice(VALUES)] * rng.choice((1, 300)))]
        return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    return rng.choice(VALUES)


def _dumped(value: Any) -> str:
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 3000)
