"""Which files a command reads and writes. Everything that can be refused is refused here, before a model is loaded."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.coding.output_log import OutputLog
from speechvq.files import Failure, check_output, visible_files

CODE_SUFFIXES = (".svq",)
FAILED_FILE = "failed.tsv"  # names and reasons of the files of a folder that could not be used


@dataclass(frozen=True)
class Job:
    """An input file and the output file that it becomes; the speaker, if each has another."""

    source: Path
    target: Path
    speaker: str = ""


@dataclass(frozen=True)
class Plan:
    """The work of a command, in the order of names.

    jobs: to be done.
    kept: whose outputs are there already.
    failed: that cannot be done.
    folder: that the outputs go to; None if a single file is read.
    log: of the outputs in that folder.
    """

    jobs: list[Job]
    kept: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    folder: Path | None = None
    log: OutputLog | None = None

    def begin(self, job: Job) -> None:
        """Call this before the output of a job is written."""
        if self.log:
            self.log.begin(job.target)


def plan_files(
    source: Path,
    target: Path,
    suffixes: Sequence[str],
    outputs: Sequence[str],
    *,
    force: bool = False,
    skip_existing: bool = False,
    options: str = "",
    speakers: Sequence[str] = (),
) -> Plan:
    """The work on a file, or on every file in a folder.

    What an earlier run with the same options has written into the folder is kept.

    suffixes: of the files of a folder that are taken.
    outputs: suffixes that an output file may have; the files of a folder get the first.
    force: overwrite existing files.
    skip_existing: keep them, whoever wrote them.
    options: names all that the content of the outputs depends on, besides the inputs.
    speakers: for each of whom the work is done, into TARGET/SPEAKER.wav of a file, TARGET/SPEAKER/* of a folder.

    Raises SpeechVQError if the input is missing or has no files of these suffixes, or if an output is an input, has
    another suffix, or exists, and neither `force` nor `skip_existing` is given nor `options` are those of the output.
    """
    require_input(source)
    if not source.is_dir() and not speakers:
        job = Job(source, target / f"{source.stem}{outputs[0]}" if target.is_dir() else target)
        _check_suffix(job.target, outputs)
        if skip_existing and _exists(job.target):
            return Plan([], [job])
        _check_absent(job.target, force)
        return Plan([job])
    by_target = _outputs(source, target, suffixes, outputs[0], speakers)
    key = str.lower if _ignores_case(target) else str
    inputs = {key(str(job.source.resolve())) for jobs in by_target.values() for job in jobs}
    if any(key(str(path.resolve())) in inputs for path in by_target):
        raise SpeechVQError(f"{target}: its files would be overwritten by what is made of them; name another folder")
    log = OutputLog(target, options)
    plan = Plan([], folder=target, log=log)
    for path, job in _unambiguous(plan, by_target, key):
        made_with = log.options_of(path)
        if force or not _exists(path):
            plan.jobs.append(job)
        elif skip_existing or made_with == options:
            plan.kept.append(job)
        elif made_with is None:
            raise SpeechVQError(f"{path} exists; --force overwrites it, --skip-existing keeps it")
        else:
            raise SpeechVQError(f"{path} was made with other options; --force makes it again, --skip-existing keeps it")
    return plan


def _outputs(
    source: Path, target: Path, suffixes: Sequence[str], suffix: str, speakers: Sequence[str]
) -> dict[Path, list[Job]]:
    """The jobs by output, those of an input for all speakers one after another (see `plan_files`)."""
    by_target = defaultdict(list)
    if not source.is_dir():
        for name in speakers:
            path = target / f"{_file_name(name)}{suffix}"
            by_target[path].append(Job(source, path, name))
        return by_target
    for one in visible_files(source, suffixes, leave_out=None if _same(source, target) else target):
        for name in speakers or [""]:
            path = (target / _file_name(name) / one.relative_to(source)).with_suffix(suffix)
            by_target[path].append(Job(one, path, name))
    if not by_target:
        raise SpeechVQError(f"{source}: no files ending in {', '.join(suffixes)}")
    return by_target


def _file_name(speaker: str) -> str:
    """A speaker's name as that of a file. Raises SpeechVQError if it is none."""
    if speaker and (Path(speaker).name != speaker or "\0" in speaker):
        raise SpeechVQError(f"'{speaker}' cannot be the name of a file: name it by --speaker alone")
    return speaker


def _unambiguous(plan: Plan, by_target: dict[Path, list[Job]], key: Callable[[str], str]) -> Iterator[tuple[Path, Job]]:
    """The outputs of one input each; the inputs that would become the same output are noted as failed.

    key: the same for two paths that the file system takes for one.
    """
    by_key = defaultdict(list)
    for job in chain(*by_target.values()):
        by_key[key(str(job.target))].append(job)
    for jobs in by_key.values():
        names = dict.fromkeys(job.target.name for job in jobs)
        if len(jobs) == 1:
            yield jobs[0].target, jobs[0]
            continue
        reason = f"{' and '.join(one.source.name for one in jobs)} would both become {jobs[0].target.name}"
        if len(names) > 1:
            reason = f"{' and '.join(names)} are one name in this folder, which does not tell a from A"
        plan.failed.extend((job, Failure(reason)) for job in jobs)


def _ignores_case(folder: Path) -> bool:
    """Whether the file system of a folder takes `a` and `A` for one name, as those of macOS and Windows do.

    It is asked for the nearest folder that exists and whose name has letters; for none, it does not.
    """
    for one in (folder.absolute(), *folder.absolute().parents):
        other = one.with_name(one.name.swapcase()) if one.name else one
        if other.name != one.name and one.exists():
            return other.exists() and other.samefile(one)
    return False


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def plan_samples(target: Path, count: int, force: bool) -> list[Path]:
    """The output files for `count` samples: TARGET, or TARGET-1, TARGET-2, ... if there are several.

    Raises SpeechVQError if one exists (without `force`) or is neither audio nor codes.
    """
    names = [target.with_stem(f"{target.stem}-{i + 1}") for i in range(count)] if count > 1 else [target]
    for path in names:
        _check_suffix(path, (".wav", ".flac", *CODE_SUFFIXES))
        _check_absent(path, force)
    return names


def require_input(path: Path) -> None:
    """Raises SpeechVQError if there is no such file or folder."""
    if not path.exists():
        raise SpeechVQError(f"{path}: no such file")


def _check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() not in [suffix.lower() for suffix in suffixes]:
        raise SpeechVQError(f"{path}: the output ends in {' or '.join(dict.fromkeys(suffixes))}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, say: found out again, and reported, when it is written
        return False


def _check_absent(path: Path, force: bool) -> None:
    check_output(path)
    if _exists(path) and not force:
        raise SpeechVQError(f"{path} exists; --force overwrites it")
