"""Where a result or a model comes from: command, versions, machine."""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from speechvq import __version__
from speechvq.files import save_json, utf8
from speechvq.folder.fingerprint import files_digest


def save_result(path: Path, result: dict[str, Any], model: Path | None = None) -> None:
    """Write a result as JSON, with where it comes from.

    model: the folder of the model that was measured; None for several.
    """
    made_by = provenance() | ({} if model is None else {"model": files_digest(model)})
    save_json(path, {"made_by": made_by, **result})


def is_of_another(result: dict[str, Any], model: Path) -> bool:
    """Whether a saved result is of another model than the one that is in the folder now, as far as that is known."""
    measured = result.get("made_by", {}).get("model")
    return measured is not None and measured != files_digest(model)


def provenance() -> dict[str, str]:
    """The command line of this process, the versions of Python and packages, and the machine."""
    import platform

    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text(encoding="utf-8") if path.is_file() else "")
    machine = f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        machine += f"; {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return {
        "command": utf8(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "speechvq": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine,
    }
