"""The rooms of the design: who may import whom."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import speechvq

PACKAGE = Path(speechvq.__file__).parent

# In the order of the data. A room imports from those before it, or from its own row.
ROOMS = [
    ["config", "parsing", "rosa", "layers", "text", "checkpoint", "hub", "progress", "vectors", "distributed"],
    ["audio", "bottleneck", "predictor"],
    ["augment", "quantizer", "corpus", "encoder", "source", "stack", "kernels"],
    ["prepare", "wavenet"],
    ["align"],
    ["compiled"],
    ["sampler"],
    ["decoder", "prior"],
    ["model", "exact"],
    ["coders"],
    ["bitstream"],
    ["dataset", "trainer"],
    ["training", "codec"],
    ["batch", "codes", "adapt"],
    ["evaluate"],
    ["report"],
    ["demo"],
    ["cli"],
]
IMPORT = re.compile(r"\s*(import|from) \w")
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path, late: bool = True) -> set[str]:
    """The rooms a file imports; late: also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if late else iter(tree.body)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    rooms = {name.split(".")[1] for name in names if name.startswith("speechvq.")}
    return {room for room in rooms if room in RANK or (PACKAGE / f"{room}.py").exists() or (PACKAGE / room).is_dir()}


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
GRAPH: dict[str, set[str]] = {}
for file in FILES:
    GRAPH.setdefault(room_of(file), set()).update(imports(file) - {room_of(file)})


def test_every_room_is_in_the_picture():
    assert set(GRAPH) == set(RANK)


@pytest.mark.parametrize("room", GRAPH)
def test_a_room_imports_only_from_before(room):
    later = {other for other in GRAPH[room] if RANK[other] > RANK[room]}
    assert not later, f"{room} imports {sorted(later)}"


def test_no_circles():
    assert list(TopologicalSorter(GRAPH).static_order())  # CycleError names the circle


def reached(room: str) -> set[str]:
    """All that is imported, and what that imports."""
    seen: set[str] = set()
    todo = {room}
    while todo:
        todo = {other for one in todo for other in GRAPH[one]} - seen
        seen |= todo
    return seen


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("trainer", {"model", "dataset", "corpus", "decoder", "encoder", "quantizer", "audio"}),
        ("model", {"dataset", "trainer", "corpus", "prepare", "training"}),
        ("wavenet", {"decoder", "sampler", "audio"}),
        ("codec", {"trainer", "dataset", "corpus", "training"}),
        ("training", {"codec", "prepare", "cli"}),
    ],
)
def test_strangers(room, strangers):
    assert not reached(room) & strangers


def test_the_package_itself_imports_nothing():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def loaded(code: str) -> set[str]:
    """Top-level modules in memory after running code in a new interpreter."""
    code += "\nimport sys; print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_training_does_without_librosa():
    names = loaded("import speechvq.training, speechvq.codec")
    assert "torch" in names
    assert not names & {"librosa", "numba", "sklearn", "scipy", "accelerate", "tensorboard", "espeakng_loader"}


def test_librosa_is_imported_in_one_place():
    for file in [*FILES, *Path(__file__).parent.glob("*.py")]:
        imported = {line.split()[1] for line in file.read_text(encoding="utf-8").splitlines() if IMPORT.match(line)}
        assert file.name == "rosa.py" or not {name for name in imported if name.partition(".")[0] == "librosa"}, file


def test_help_is_fast_because_it_loads_nothing_heavy():
    code = """
import sys
from speechvq.cli import main
for arguments in (["--help"], ["train", "--help"], ["--version"]):
    try:
        main(arguments)
    except SystemExit as stop:
        assert not stop.code
"""
    assert not loaded(code) & {"torch", "numpy", "librosa", "soundfile", "tqdm"}


def test_no_room_is_a_junk_room():
    assert not {"utils", "helpers", "common", "misc"} & set(GRAPH)
    for file in FILES:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 350, f"{file.name} has {len(lines)} lines"
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file.name}: {node.name} is too long"
                assert not node.args.kwarg, f"{file.name}: {node.name} takes **{node.args.kwarg.arg}"
