"""Where a result or a model comes from: command, versions, machine."""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from speechvq import __version__
from speechvq.files import save_json


def save_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, with where it comes from."""
    save_json(path, {"made_by": provenance(), **result})


def provenance() -> dict[str, str]:
    """The command line of this process, the versions of Python and packages, and the machine."""
    import platform

    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text(encoding="utf-8") if path.is_file() else "")
    machine = f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        machine += f"; {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "speechvq": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine,
    }
