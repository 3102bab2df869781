"""Files of JSON, TOML and YAML that are not trusted: a value, or one line that names the file."""

import contextlib
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.config.guarded import MAX_DEPTH, json_lines, parse_json, read_json, read_toml, read_yaml_head
from speechvq.config.shapes import Each, Maybe, check_shape

READERS = {"x.json": read_json, "x.toml": read_toml, "README.md": read_yaml_head}


def refusal(path, data: str | bytes) -> str:
    """The one line with which the file's reader refuses it."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    before = time.process_time()
    with pytest.raises(SpeechVQError) as error:
        READERS[path.name](path)
    assert time.process_time() - before < 10
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "inside of more than"),
        ("1" * 400, "64 bits"),
        ("1" * 5000, "not JSON"),
        ('{"a": [9223372036854775808]}', "64 bits"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        (b'["\xff"]', "not UTF-8"),
        (" " * (2**25 + 1), "larger than"),
    ],
)
def test_json_beyond_the_limits_is_one_line(tmp_path, text, reason):
    assert reason in refusal(tmp_path / "x.json", text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "not TOML"),
        ("a = " + "[" * 30_000, "not TOML"),
        (".".join(["a"] * 2000) + " = 1", "periods in a line"),
        ("\n".join("a." * 250 + f"b{i} = 1" for i in range(100)), "inside of more than"),
        ("a = " + "1" * 400, "64 bits"),
        (b"a = '\xff'", "not UTF-8"),
        ("#" * 2**17, "larger than"),
    ],
)
def test_toml_beyond_the_limits_is_one_line(tmp_path, text, reason):
    assert reason in refusal(tmp_path / "x.toml", text)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: !!int x", "tags"),
        ("a: 2020-99-99", "not YAML"),
        ("- " * 30_000, "not YAML"),
        ("a: " + "[" * 3000, "not YAML"),
        ("? [1]\n: 2", "not YAML"),
        ("a: " + "1" * 400, "64 bits"),
        ("just text", "not a table"),
        ("#" * 2**17, "a head of more than"),
    ],
)
def test_a_yaml_head_beyond_the_limits_is_one_line(tmp_path, head, reason):
    assert reason in refusal(tmp_path / "README.md", f"---\n{head}\n---\n\n# A model\n")


def test_values_within_the_limits_are_read(tmp_path):
    path = tmp_path / "x"
    path.write_text('\ufeff{"a": [1, -2.5, null, true, "\\ud83d\\ude00"]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, -2.5, None, True, "\N{GRINNING FACE}"]}
    path.write_text("a.b = 1  # x.y\nc = ['\u00e9']\n", encoding="utf-8")
    assert read_toml(path) == {"a": {"b": 1}, "c": ["\u00e9"]}
    path.write_text("---\nlicense: mit\nx: {y: [1]}\n---\n# Text --- of anything", encoding="utf-8")
    assert read_yaml_head(path) == {"license": "mit", "x": {"y": [1]}}
    path.write_bytes(b"\xef\xbb\xbf\r\n--- \r\nlicense: mit\r\nx: a---b\r\n---\r\n# Text\r\n---\r\n")
    assert read_yaml_head(path) == {"license": "mit", "x": "a---b"}
    for text in (
        "",
        "# Text",
        "--- \n",
        "---\n---\n",
        "---\n# none\n---\n",
        "---\na: 1\n---b",
        "text\n---\na: 1\n---\n",
    ):
        path.write_text(text, encoding="utf-8")
        assert read_yaml_head(path) == {}
    path.write_bytes(b'"\xe2\x80\xa8"\n"\xff"\n{')
    (first, line), (second, damaged), (third, cut) = json_lines(path)
    assert (parse_json(line, first), first) == ("\u2028", f"{path}, line 1")
    for where, text in ((second, damaged), (third, cut)):
        with pytest.raises(SpeechVQError, match=re.escape(where)):
            parse_json(text, where)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(TREES)
def test_every_value_is_read_as_it_is_or_refused(value):
    text = json.dumps(value)
    with contextlib.suppress(SpeechVQError):
        assert json.dumps(parse_json(text, "here")) == text


SHAPE = {"name": str, "size?": int, "share": Maybe(float), "rows": [Each((str, bool))]}
GOOD = {"name": "x", "share": 1, "rows": [{"a": "b", "c": True}], "more": [[]]}


@pytest.mark.parametrize("change", [{}, {"size": 3}, {"share": None}, {"share": 0.5}, {"rows": []}, {"rows": [{}]}])
def test_values_of_a_shape(change):
    check_shape(GOOD | change, SHAPE, "here")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": None}, "'name' is not of type str"),
        ({"size": True}, "'size' is not of type int"),
        ({"size": None}, "'size' is not of type int"),
        ({"share": "0.5"}, "'share' is not of type number"),
        ({"share": False}, "'share' is not of type number"),
        ({"rows": {}}, "'rows' is not of type list"),
        ({"rows": [{}, []]}, "'rows[1]' is not of type dict"),
        ({"rows": [{"a": 1.0}]}, "'rows[0].a' is not of type str or bool"),
    ],
)
def test_other_shapes_are_named(change, reason):
    with pytest.raises(SpeechVQError) as error:
        check_shape(GOOD | change, SHAPE, "here")
    assert str(error.value) == f"here: {reason}"


def test_what_is_missing_is_named():
    with pytest.raises(SpeechVQError, match=r"^here: 'name' is missing$"):
        check_shape({}, SHAPE, "here")
    with pytest.raises(SpeechVQError, match=r"^here: the whole is not of type dict$"):
        check_shape([], SHAPE, "here")
