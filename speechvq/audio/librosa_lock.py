"""librosa, imported by one process at a time, so that what Numba compiles for it is compiled once.

Numba caches compiled functions on disk. A generalised ufunc takes two files that refer to one another. If two processes
compile one at the same time, the two files may come from different processes, and every process that loads them from
then on is killed by a segmentation fault.
"""

import os
import tempfile
from pathlib import Path

from filelock import FileLock

from speechvq.extras import let_numba_cache

let_numba_cache()
user = getattr(os, "getuid", str)()  # Windows has none, but a temporary folder for each user
with FileLock(Path(tempfile.gettempdir()) / f"speechvq-{user}.lock"):
    import librosa
    import librosa.core.audio
    import librosa.core.pitch
    import librosa.util.utils
__all__ = ["librosa"]
