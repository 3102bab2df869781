"""Light commands stay light: which modules a command loads, since seconds depend on the machine."""

import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
from conftest import speech
from scipy.signal import cheby2, sosfilt, sosfilt_zi

from speechvq.audio import HIGH_PASS, SAMPLE_RATE
from speechvq.audio.biquads import _loaded, filtered
from speechvq.audio.high_pass import FILTER_ORDER, STOP_EDGE, STOPPED, high_pass_filter
from speechvq.folder.card import PACKAGED, load_card, packaged

# Each takes a tenth of a second to import, or more.
SLOW = {"scipy.signal", "scipy.stats", "huggingface_hub", "librosa", "numba", "sklearn", "matplotlib", "accelerate"}


def loaded(arguments: list[str]) -> set[str]:
    """All modules in memory after a command in a new interpreter."""
    code = f"from speechvq.cli import main; import sys; assert main({arguments}) == 0; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("name", packaged())
def test_coding_loads_nothing_slow_but_torch(name, tmp_path):
    soundfile.write(tmp_path / "in.wav", speech(120.0, [0, 1, 2], np.random.default_rng(0)), 16_000)
    speaker = load_card(PACKAGED / name).speakers[0]
    options = ["--model", name, "--speaker", speaker]
    converted = loaded(["convert", str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), *options])
    assert "torch" in converted
    assert not converted & SLOW
    encoded = loaded(["encode", str(tmp_path / "in.wav"), str(tmp_path / "out.svq"), *options])
    assert not encoded & SLOW


@pytest.mark.parametrize("question", ["reconstruction", "conversion", "phonemes", "leakage", "rate", "samples"])
def test_a_wrong_folder_is_found_before_torch_is_loaded(question, tmp_path):
    more = {"phonemes": ["--labels", "absent"], "samples": ["--prior", "convert-50hz/prior"]}.get(question, [])
    code = "import sys; from speechvq.cli import main\n"
    code += f"wanted = ['evaluate', '{question}', *{more}, '--data', 'absent']\n"
    code += "assert main([*wanted, '--model', 'absent']) == main(wanted) == 2; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    model, data = done.stderr.splitlines()
    assert model.startswith("speechvq: error: absent: ")
    assert data == "speechvq: error: absent: not a prepared corpus, manifest.jsonl is missing"


def test_saving_a_codec_is_what_loads_the_hub(tmp_path):
    code = "import sys; from speechvq import Codec; codec = Codec.load('convert-50hz'); codec.describe(); "
    code += f"assert 'huggingface_hub' not in sys.modules; codec.save_pretrained({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "README.md").is_file()


ELSEWHERE = "import speechvq.audio.biquads as b; b.EXTENSION_SUFFIXES = ['.of-another-layout']"
DAMAGED = "import speechvq.audio.biquads as b; from pathlib import Path; Path('_sosfilt.so').write_bytes(b'ELF')\n"
DAMAGED += "found = b._loaded; b._loaded = lambda path: found(Path('_sosfilt.so'))"


@pytest.mark.parametrize(
    ("before", "by_package"), [("", False), ("import scipy.signal", True), (ELSEWHERE, True), (DAMAGED, True)]
)
def test_the_filter_is_scipys(before, by_package, tmp_path):
    """Loaded by its file, or through the package: where that is imported, or the file is elsewhere or damaged."""
    code = "import numpy as np, sys; from speechvq.audio.biquads import _loaded, filtered, _kernel\n"
    code += f"{before}\n"
    code += "r = np.random.default_rng(0); x = r.standard_normal(4000)\n"
    code += "s = np.array([[1., -2, 1, 1, -1.9, 0.95], [0.5, 0.1, 0, 1, -0.5, 0.2]]); z = r.standard_normal((2, 2))\n"
    code += "one = filtered(s, x, z)\n"
    code += f"assert ('scipy.signal' in sys.modules) == {by_package}\n"
    code += "assert np.array_equal(x, np.random.default_rng(0).standard_normal(4000))\n"
    code += "from scipy.signal import sosfilt\n"
    code += "assert all(np.array_equal(a, b) for a, b in zip(one, sosfilt(s, x, zi=z)))\n"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_a_compiled_module_of_another_kind_is_not_taken_for_the_filter(tmp_path):
    """A compiled module of SciPy without a filter, by the filter's name; and no file."""
    spec = find_spec("scipy.spatial._ckdtree")
    copy = tmp_path / f"_sosfilt{EXTENSION_SUFFIXES[0]}"
    shutil.copy(spec.origin, copy)
    assert _loaded(copy) is None
    assert _loaded(tmp_path / "absent.so") is None


@pytest.mark.parametrize("cutoff", [HIGH_PASS, 50.0])
def test_the_high_pass_is_scipys_design(cutoff):
    """Also the one that is written down."""
    sections, steady = high_pass_filter(cutoff)
    wanted = cheby2(FILTER_ORDER, STOPPED, STOP_EDGE * cutoff, "highpass", fs=SAMPLE_RATE, output="sos")
    np.testing.assert_allclose(sections, wanted, rtol=1e-12)
    np.testing.assert_allclose(steady, sosfilt_zi(wanted), rtol=1e-12, atol=1e-12)
    ones = np.ones(100)
    assert np.abs(filtered(sections, ones, steady)[0]).max() < 1e-12
    np.testing.assert_array_equal(filtered(wanted, ones, 0 * steady)[0], sosfilt(wanted, ones))


@pytest.mark.parametrize(
    ("variables", "code", "reason"),
    [
        ({"MPLBACKEND": "bogus"}, "import speechvq.report.heat_maps", "drawing: Key backend: 'bogus'"),
        (
            {"LOCAL_RANK": "0", "WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": ""},
            "from speechvq.train.loop import processes; import os; del os.environ['MASTER_ADDR']; processes()",
            "training: .*MASTER_ADDR",
        ),
        (
            {"NUMBA_DISABLE_JIT": "1"},
            "from speechvq.wavenet.compiled import announce; announce()",
            "compiled functions, which NUMBA_DISABLE_JIT forbids",
        ),
    ],
)
def test_variables_of_the_environment_that_a_package_refuses(variables, code, reason):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert re.search(f"speechvq.SpeechVQError: .*{reason}", done.stderr), done.stderr
