"""The wings of the design: who may import whom, and how large a wing, a file and a function may be."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import speechvq

PACKAGE = Path(speechvq.__file__).parent

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def picture() -> dict[str, list[str]]:
    """The wings and files of ARCHITECTURE.md, in its order, with the files inside a wing."""
    (block,) = re.findall(r"^```\n(files\.py.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\n +", " ", block).splitlines()  # a line that begins with spaces continues the one before
    return {line.split()[0]: re.findall(r"\w+", line.partition(": ")[2]) for line in lines}


# In the order of the data: a wing imports from those before it, never from those after.
WINGS = [name.removesuffix("/").removesuffix(".py") for name in picture() if name != "models/"]
# Inside a wing, files stand in the order of the data, too.
INSIDE = {name.removesuffix("/"): files for name, files in picture().items() if files}
IMPORT = re.compile(r"\s*(import|from) \w")


def name_of(path: Path) -> str:
    """The module's name inside the package, such as `nn.bottleneck.vq`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("speechvq.") for name in names} & MODULES


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
MODULES = {name_of(path) for path in FILES}
GRAPH = {name_of(path): imports(path) - {name_of(path)} for path in FILES}


def wing(module: str) -> str:
    return module.partition(".")[0]


def test_every_wing_and_file_is_in_the_picture():
    entries = {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir()}
    assert entries - {"__init__.py", "py.typed", "__pycache__/"} == set(picture())


def test_architecture_names_files_and_tables_that_are_there():
    roots = (PACKAGE, ROOT)
    tops = {path.name for root in roots for path in root.iterdir()}
    for name in re.findall(r"`([\w./]+)`", ARCHITECTURE):
        if name.split("/")[0] in tops and "NAME" not in name and ("/" in name or name.endswith(".py")):
            assert any((root / name).exists() for root in roots), name
    tables = re.findall(r"`([A-Z]+)` in `([\w./]+)`", ARCHITECTURE)
    assert len(tables) >= 4
    for table, path in tables:
        assert f"\n{table}: dict[" in (PACKAGE / path).read_text(encoding="utf-8"), path


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_before(module):
    later = [other for other in GRAPH[module] if WINGS.index(wing(other)) > WINGS.index(wing(module))]
    assert not later, f"{module} imports {sorted(later)}"


@pytest.mark.parametrize("name", INSIDE)
def test_inside_a_wing_files_stand_in_the_order_of_the_data(name):
    inside = {module: module.split(".")[1] for module in MODULES if wing(module) == name and "." in module}
    assert set(inside.values()) == set(INSIDE[name])
    for module, room in inside.items():
        for other in GRAPH[module] & inside.keys():
            assert INSIDE[name].index(inside[other]) <= INSIDE[name].index(room), f"{module} imports {other}"


def test_no_circles():
    assert list(TopologicalSorter(GRAPH).static_order())  # CycleError names the circle


def test_a_wing_is_seen_at_a_glance():
    for folder in {path.parent for path in FILES}:
        entries = {path.name for path in folder.iterdir()} - {"__pycache__", "py.typed"}
        assert len(entries) <= (20 if folder == PACKAGE else 12), f"{folder.name} has {len(entries)} entries"


def reached(module: str) -> set[str]:
    """All modules that are imported, and what those import."""
    seen: set[str] = set()
    todo = {module}
    while todo:
        todo = {other for one in todo for other in GRAPH[one]} - seen
        seen |= todo
    return seen


@pytest.mark.parametrize(
    ("module", "strangers"),
    [
        ("train.loop", {"nn.vqvae", "nn.encoder", "data", "audio", "nn.decoder", "nn.bottleneck"}),
        ("nn.vqvae", {"data", "train", "coding"}),
        ("wavenet.sampler", {"nn", "audio"}),
        ("codec", {"coding", "data", "train"}),
        ("train.codec", {"codec", "coding", "data.prepare", "cli"}),
        ("text", {"folder", "audio", "nn", "data"}),
    ],
)
def test_strangers(module, strangers):
    met = {other for other in reached(module) for name in strangers if f"{other}.".startswith(f"{name}.")}
    assert not met


def loaded(code: str) -> set[str]:
    """Top-level modules in memory after running code in a new interpreter."""
    code += "\nimport sys; print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_the_package_itself_costs_nothing():
    names = loaded("import speechvq; assert 'Codec' in dir(speechvq); speechvq.SpeechVQError")
    assert {"speechvq"} == names - loaded("import typing")


def test_codec_is_imported_when_it_is_asked_for():
    assert "torch" in loaded("from speechvq import Codec; import speechvq.codec; assert Codec is speechvq.codec.Codec")
    with pytest.raises(AttributeError, match=r"^module 'speechvq' has no attribute 'Codek'$"):
        _ = speechvq.Codek


def test_a_module_names_codec_by_its_file():
    """Else a wing could reach all that Codec imports, unseen by the tests of this file."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "speechvq":
                assert {alias.name for alias in node.names} <= {"SpeechVQError", "__version__"}, path


def test_training_does_without_librosa():
    names = loaded("import speechvq.train.codec, speechvq.codec")
    assert "torch" in names
    assert not names & {"librosa", "numba", "sklearn", "scipy", "accelerate", "tensorboard", "espeakng_loader"}


@pytest.mark.parametrize("module", ["text", "data.manifest", "data.corpora"])
def test_labels_manifests_and_corpora_are_read_without_torch(module):
    assert not loaded(f"import speechvq.{module}") & {"torch", "soundfile", "librosa", "praatio"}


def test_librosa_is_imported_in_one_place():
    for file in [*FILES, *Path(__file__).parent.glob("*.py")]:
        imported = {line.split()[1] for line in file.read_text(encoding="utf-8").splitlines() if IMPORT.match(line)}
        assert file.name == "librosa_lock.py" or not {
            name for name in imported if name.partition(".")[0] == "librosa"
        }, file


def test_help_is_fast_because_it_loads_nothing_heavy():
    code = """
import sys
from speechvq.cli import main
for arguments in (["--help"], ["train", "--help"], ["get", "--help"], ["prepare", "--help"], ["--version"]):
    try:
        main(arguments)
    except SystemExit as stop:
        assert not stop.code
"""
    assert not loaded(code) & {"torch", "numpy", "librosa", "soundfile", "tqdm"}


@pytest.mark.parametrize(
    "source", [[], ["phoneme-25hz/prior"], ["tests/golden/models/mel"], ["tests/golden/prior.svq"]]
)
def test_info_reads_no_model(source):
    assert "torch" not in loaded(f"from speechvq.cli import main; assert main(['info', *{source}]) == 0")


MODEL = ["--speaker", "p225"]  # of the default model, which is packaged


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["encode", "absent.wav", "out.svq"], "absent.wav: no such file"),
        (["decode", "absent.svq", "out.wav"], "absent.svq: no such file"),
        (["convert", "absent.wav", "out.wav", *MODEL], "absent.wav: no such file"),
        (["convert", "Makefile", "out.mp3", *MODEL], "the output ends in"),
        (["convert", "Makefile", "README.wav", "--speaker", "p999"], "unknown speaker 'p999'"),
        (["encode", "Makefile", "tests/golden/prior.svq"], "exists; --force overwrites it"),
        (["encode", "Makefile", "out.svq", "--model", "convert-60hz"], "no such model folder"),
        (["sample", "out.wav", "--prior", "phoneme-25hz/prior", "--prefix", "absent.wav", *MODEL], "no such file"),
        (["decode", "Makefile", "out.wav", "--prior", "absent"], "absent: no such model folder"),
        (["decode", "Makefile", "out.wav", "--prior", "convert-50hz"], "not a prior"),
        (["info", "absent"], "absent: no such file"),
        (["prepare", "vctk", "absent", "out"], "absent: no such folder"),
        (
            ["prepare", "timit", "recipes", "out"],
            "recipes: no recordings found; looked for TRAIN|TEST/DRn/SPEAKER/*.WAV",
        ),
        (["get", "vctk", "out", "--count", "3"], "VCTK is downloaded whole"),
    ],
)
def test_what_cannot_be_done_is_said_before_torch_is_loaded(command, reason):
    code = (
        "import contextlib, io\nfrom speechvq.cli import main\nwith contextlib.redirect_stderr(io.StringIO()) as said:"
    )
    code += f"\n    assert main({command}) == 2\nassert {reason!r} in said.getvalue(), said.getvalue()"
    assert "torch" not in loaded(code)


def test_no_room_is_a_junk_room():
    assert not {"utils", "helpers", "common", "misc"} & {part for module in MODULES for part in module.split(".")}
    for file in FILES:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 350, f"{file.name} has {len(lines)} lines"
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file.name}: {node.name} is too long"
                assert not node.args.kwarg, f"{file.name}: {node.name} takes **{node.args.kwarg.arg}"
