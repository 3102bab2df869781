"""JSON, TOML and YAML of files that anyone may have written: read within limits, or refused in one line."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError

MAX_JSON_BYTES = 2**25
MAX_LINE_BYTES = 2**20  # of JSON lines
MAX_HEAD_BYTES = 2**16  # of TOML, and of a head of YAML
MAX_DEPTH = 32  # tables and lists inside of each other
MAX_PERIODS = 256  # in a line of TOML: dotted keys take tomllib the square of their number
MAX_BRACKETS = 512  # in a head of YAML: those inside of each other take the square of their number
YAML_HEAD = re.compile(r"\s*---[ \t]*[\r\n](.*?)[\r\n]---[ \t]*(?:[\r\n]|$)", re.DOTALL)  # between two lines of dashes
MAX_WHOLE = 2**63  # whole numbers are below it, either way
LIBRARY_ERRORS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


def read_json(path: Path) -> Any:
    """The value in a file of JSON.

    Raises SpeechVQError if it cannot be read, is not JSON, or is beyond the limits of this module.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise SpeechVQError(f"{path}: not a file, but a pipe or a device")
    return parse_json(read_plain(path, MAX_JSON_BYTES), str(path))


def parse_json(text: str, where: str) -> Any:
    """The value of a text of JSON; Infinity and NaN are numbers, as Python writes them.

    where: the name of the text in errors.
    Raises SpeechVQError as `read_json` does.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpeechVQError(f"{where}: not JSON ({error})") from None
    check_value(value, where)
    return value


def json_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file of JSON lines, each as its name in errors and its text, which `parse_json` takes.

    Raises SpeechVQError if the file cannot be read, or a line is too long.
    """
    try:
        with path.open("rb") as file:
            # Not splitlines: an id may hold what Unicode, but not JSON, calls the end of a line.
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                where = f"{path}, line {number}"
                if len(line) == MAX_LINE_BYTES:
                    raise SpeechVQError(f"{where}: longer than {MAX_LINE_BYTES} bytes")
                yield where, line.removesuffix(b"\n").decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SpeechVQError(f"{path}: cannot be read ({error.strerror})") from None


def whole_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The lines of a file of JSON lines, each as its name in errors and its value, without those cut off by a kill.

    Raises SpeechVQError as `json_lines` does.
    """
    for where, line in json_lines(path):
        try:
            value = parse_json(line, where)
        except SpeechVQError:
            continue
        yield where, value


def read_toml(path: Path) -> dict[str, Any]:
    """The tables in a file of TOML.

    Raises SpeechVQError if it cannot be read, is not TOML, or is beyond the limits of this module.
    """
    text = read_plain(path, MAX_HEAD_BYTES)
    if any(line.count(".") > MAX_PERIODS for line in text.split("\n")):
        raise SpeechVQError(f"{path}: more than {MAX_PERIODS} periods in a line")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpeechVQError(f"{path}: not TOML: {error}") from None
    check_value(tables, str(path))
    return tables


def read_yaml_head(path: Path) -> dict[str, Any]:
    """The table of YAML between two lines of `---` at the beginning of a text; empty without such lines.

    Raises SpeechVQError if the text cannot be read, or its head is no table of YAML, has anchors or tags, with which
    few bytes can become a large value, or is beyond the limits of this module.
    """
    return parse_yaml_head(read_plain(path, MAX_JSON_BYTES), str(path))


def parse_yaml_head(text: str, where: str) -> dict[str, Any]:
    """`read_yaml_head` of a text, whose name in errors is `where`."""
    import yaml  # not before it is needed

    match = YAML_HEAD.match(text)
    if not match:
        return {}
    head = match[1]
    if len(head) > MAX_HEAD_BYTES:
        raise SpeechVQError(f"{where}: a head of more than {MAX_HEAD_BYTES} characters")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if max(head.count("["), head.count("{")) > MAX_BRACKETS:
            raise ValueError(f"more than {MAX_BRACKETS} brackets")
        depth = 0
        for event in yaml.parse(head, loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError("anchors, tags and deep nesting are not read")
        table = yaml.load(head, loader)
    except (yaml.YAMLError, *LIBRARY_ERRORS) as error:
        raise SpeechVQError(f"{where}: its head is not YAML ({' '.join(str(error).split())})") from None
    check_value(table, where)
    if table is None:
        return {}  # comments alone
    if not isinstance(table, dict):
        raise SpeechVQError(f"{where}: its head is not a table")
    return table


def check_value(value: Any, where: str) -> None:
    """Check that a value of JSON, TOML or YAML can be used without surprise, wherever it goes.

    Raises SpeechVQError if it is nested too deeply, or has a whole number of more than 64 bits, or a text that is not
    UTF-8.
    """
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise SpeechVQError(f"{where}: tables and lists inside of more than {MAX_DEPTH} others")
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str):
                _check_text(one, where)
            elif isinstance(one, int) and not -MAX_WHOLE < one < MAX_WHOLE:
                raise SpeechVQError(f"{where}: a whole number of more than 64 bits")
        level, depth = below, depth + 1


def _check_text(text: str, where: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SpeechVQError(
                f"{where}: half of a surrogate pair, or not UTF-8 (character {error.start} of a text)"
            ) from None


def read_plain(path: Path, limit: int = MAX_JSON_BYTES) -> str:
    """The text of a file of at most `limit` bytes.

    Raises SpeechVQError if it cannot be read, is larger, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SpeechVQError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise SpeechVQError(f"{path}: larger than {limit} bytes")
    return _decoded(data, str(path))


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpeechVQError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from None
