"""A file, or a part of one, as libsndfile takes it."""

import io
import os
from pathlib import Path


def native_name(path: Path) -> str | bytes:
    """A path as soundfile takes it whatever its name, which on POSIX need not be UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


class ByteRange(io.RawIOBase):
    """The bytes `prefix`, and then those of a file from `start` to `end`."""

    def __init__(self, path: Path, start: int, end: int, prefix: bytes = b"") -> None:
        self._file = path.open("rb")
        self._prefix, self._start = prefix, start
        self._size = len(prefix) + max(end - start, 0)
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        rest = max(self._size - self._position, 0)
        size = rest if size < 0 else min(size, rest)
        data = self._prefix[self._position : self._position + size]
        if len(data) < size:
            self._file.seek(self._start + max(self._position - len(self._prefix), 0))
            data += self._file.read(size - len(data))
        self._position += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
