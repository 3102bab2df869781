"""Which files a command reads and writes. Everything that can be refused is refused here, before a model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.files import visible_files

CODE_SUFFIXES = (".svq",)


@dataclass(frozen=True)
class Job:
    """An input file and the output file that it becomes."""

    source: Path
    target: Path


def plan_files(source: Path, target: Path, suffixes: Sequence[str], outputs: Sequence[str], force: bool) -> list[Job]:
    """The jobs for a file, or for every file in a folder.

    suffixes: of the files of a folder that are taken.
    outputs: suffixes that an output file may have; the files of a folder get the first.
    force: whether existing files are overwritten.

    Raises SpeechVQError if the input is missing or has no files of these suffixes, or if an output exists (without
    `force`), has another suffix, or comes from two inputs.
    """
    require_input(source)
    if source.is_dir():
        files = visible_files(source, suffixes)
        jobs = [Job(path, (target / path.relative_to(source)).with_suffix(outputs[0])) for path in files]
        if not jobs:
            raise SpeechVQError(f"{source}: no files ending in {', '.join(suffixes)}")
    else:
        jobs = [Job(source, target / f"{source.stem}{outputs[0]}" if target.is_dir() else target)]
    targets = [job.target for job in jobs]
    if len(set(targets)) < len(targets):
        raise SpeechVQError(f"{source}: two files would both become {max(targets, key=targets.count)}")
    for path in targets:
        _check_output(path, outputs, force)
    return jobs


def plan_samples(target: Path, count: int, force: bool) -> list[Path]:
    """The output files for `count` samples: TARGET, or TARGET-1, TARGET-2, ... if there are several.

    Raises SpeechVQError if one exists (without `force`) or is neither audio nor codes.
    """
    names = [target.with_stem(f"{target.stem}-{i + 1}") for i in range(count)] if count > 1 else [target]
    for path in names:
        _check_output(path, (".wav", ".flac", *CODE_SUFFIXES), force)
    return names


def require_input(path: Path) -> None:
    """Raises SpeechVQError if there is no such file or folder."""
    if not path.exists():
        raise SpeechVQError(f"{path}: no such file")


def _check_output(path: Path, suffixes: Sequence[str], force: bool) -> None:
    if path.suffix.lower() not in suffixes:
        raise SpeechVQError(f"{path}: the output ends in {' or '.join(dict.fromkeys(suffixes))}")
    if path.exists() and not force:
        raise SpeechVQError(f"{path} exists; --force overwrites it")
