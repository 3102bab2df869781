"""Filters as second-order sections, without the half second that importing scipy.signal takes."""

import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def filtered(sections: np.ndarray, samples: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The samples (T,) float64 after a filter, and its state after them, (n, 2): `scipy.signal.sosfilt`, bit for bit.

    sections: (n, 6), rows b0, b1, b2, 1, a1, a2.
    state: before the samples.
    """
    out, after = np.array(samples, np.float64)[None], np.array(state, np.float64)[None]
    _kernel()(np.ascontiguousarray(sections, np.float64), out, after)
    return out[0], after[0]


@cache
def _kernel() -> Kernel:
    """SciPy's filter of rows (1, T) in place, with their states (1, n, 2).

    Its compiled module is loaded by its file; where a version of SciPy has none, or another, through the package.
    """
    scipy = find_spec("scipy")
    folders = (scipy and scipy.submodule_search_locations) or []
    files = [Path(folder, "signal", f"_sosfilt{suffix}") for folder in folders for suffix in EXTENSION_SUFFIXES]
    for path in filter(Path.is_file, () if "scipy.signal" in sys.modules else files):
        kernel = _loaded(path)
        if kernel is not None:
            return kernel
    return _by_package


def _loaded(path: Path) -> Kernel | None:
    """The filter in a compiled module; None if the module is another."""
    loader = ExtensionFileLoader("_sosfilt", str(path))
    spec = spec_from_file_location("_sosfilt", path, loader=loader)
    assert spec is not None
    try:
        module = module_from_spec(spec)
        loader.exec_module(module)
        kernel: Kernel = module._sosfilt
        out, after = np.array([[1.0, 0.0, 0.0]]), np.array([[[0.5, 0.25]]])
        kernel(np.array([[2.0, 3.0, 4.0, 1.0, 0.5, 0.25]]), out, after)
    except Exception:  # of another version of SciPy, and what a compiled module raises has no limits
        return None
    return kernel if (out.tolist(), after.tolist()) == ([[2.5, 2.0, 2.375]], [[[-1.6875, -0.59375]]]) else None


def _by_package(sections: np.ndarray, samples: np.ndarray, state: np.ndarray) -> None:
    from scipy.signal import sosfilt

    samples[0], state[0] = sosfilt(sections, samples[0], zi=state[0])
