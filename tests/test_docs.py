"""Pages are true: their links lead somewhere, the parser accepts their commands, the README's Python runs."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechvq.cli import main
from speechvq.cli.program import parser

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "docs", "examples", "recipes/*", "speechvq/models/*", "tests")
PAGES = sorted({path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md")})
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page):
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def commands(page: Path) -> list[str]:
    """The `speechvq` commands in a page's blocks of shell."""
    blocks = [text for language, text in FENCE.findall(page.read_text(encoding="utf-8")) if language == "sh"]
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("speechvq ")]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_commands_are_accepted(page):
    for line in commands(page):
        parser().parse_args(shlex.split(line, comments=True)[1:])  # SystemExit, were it refused


def test_the_readme_names_every_command():
    """Also every question of `evaluate`; the corpora that it names can be prepared."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`speechvq ([a-z]+(?: [a-z]+| / [a-z]+)*)", text))
    words = {word for group in named for word in group.split()}
    for command, options in choices(parser()).items():
        assert command in words
        if command == "evaluate":
            assert choices(options).keys() <= words
    for line in ("prepare {} SRC OUT", "get {} DIR"):
        corpora = re.search(rf"`speechvq {line.format('{(.*)}')}`", text)[1].split(",")
        for corpus in corpora:
            parser().parse_args(line.format(corpus).split())


def choices(commands):
    """The subcommands of a parser by name."""
    return next(action.choices for action in commands._actions if hasattr(action.choices, "items"))


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """my.wav in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).standard_normal((8_000, 2))
    soundfile.write("my.wav", 0.1 * noise, 16_000)


def python_of(page: str) -> str:
    """The one block of Python of a page."""
    (block,) = (text for language, text in FENCE.findall((ROOT / page).read_text("utf-8")) if language == "python")
    return block


def test_the_readme_is_short():
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= 150


def test_the_python_of_the_readme_runs(recording):
    exec(python_of("README.md"), {})
    assert Path("my-model/model.safetensors").is_file()


def test_the_python_of_the_page_on_live_speech_runs(recording):
    names: dict[str, Any] = {}
    exec(python_of("docs/live.md"), names)
    assert sum(map(len, names["parts"])) == 8_000


def test_the_python_of_the_format_page_reads_a_file(recording):
    assert main(["encode", "my.wav", "my.svq"]) == 0
    names: dict[str, Any] = {}
    exec(python_of("docs/format.md"), names)
    assert len(names["codes"]) == 25  # half a second at 50 Hz
