"""librosa, with all that Numba compiles at its imports compiled, by one process at a time.

Numba keeps what it compiles on disk. Of a generalised ufunc that is two files, which refer to one another: where two
processes compile one at once they can be left from different processes, and whoever loads them is killed by a
segmentation fault, then and ever after.
"""

import os
import tempfile
from pathlib import Path

from filelock import FileLock

with FileLock(Path(tempfile.gettempdir()) / f"speechvq-{os.getuid()}.lock"):
    import librosa
    import librosa.core.audio
    import librosa.core.pitch
    import librosa.util.utils
__all__ = ["librosa"]
