"""One command from its arguments to its exit code: parsing and messages only.

Modules that load torch are imported when a command needs them.
"""

import argparse
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from speechvq import SpeechVQError, __version__
from speechvq.cli.coding import add_commands as add_coding
from speechvq.cli.evaluating import add_commands as add_evaluating
from speechvq.cli.information import add_commands as add_information
from speechvq.cli.making import add_commands as add_making
from speechvq.cli.serving import add_commands as add_serving
from speechvq.extras import needed_for
from speechvq.files import message_line, printable


def run(arguments: Sequence[str] | None) -> int:
    """Run one command, as `speechvq.cli.main` does, without an answer to Ctrl-C."""
    _open_closed_streams()
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.root.handlers:
        handler.setFormatter(PrintableFormatter())
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every terminal or pipe of Windows has all letters
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        _require_folder()
        with _ended_by_signals():
            code = options.run(options) or 0
            sys.stdout.flush()  # what cannot be written is an error now, not when Python ends
            return code
    except SpeechVQError as error:
        print(f"speechvq: error: {message_line(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except _Ended as error:
        return 128 + error.number
    except BrokenPipeError:
        _give_up_stdout()  # its reader has gone (`speechvq info | head`)
        return 141
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        print(f"speechvq: error: {printable(name)}{error.strerror or message_line(str(error))}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        return 2


def _require_folder() -> None:
    """Raises SpeechVQError if the working folder has been removed, in which libraries of torch end the process."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise SpeechVQError("the working folder has been removed; change to another one") from None


def _give_up_stdout() -> None:
    """Keep Python from failing again at exit, on what it could not write to stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Give the process the standard streams that it was started without, so that no other file gets their numbers.

    To read from such a stdin, or write to such a stdout, is an error of the system; what is written to stderr is lost.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            way = os.O_RDONLY if name == "stdout" else os.O_WRONLY
            descriptor = os.open(os.devnull, way)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))


class _Ended(BaseException):
    """SIGTERM or SIGHUP has come."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have SIGTERM, and the end of the terminal, remove temporary files on the way out, as Ctrl-C does."""
    process = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() != process:  # a worker, which inherits this: it ends at once
            os._exit(128 + number)
        raise _Ended(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    if threading.current_thread() is not threading.main_thread():  # which alone may do this
        numbers = []
    changed = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


class _PrintableParser(argparse.ArgumentParser):
    """A parser whose errors repeat arguments without what would steer the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(message_line(message))


class PrintableFormatter(logging.Formatter):
    """A warning as one line, without what would steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return message_line(record.getMessage())


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` of the parsed options is the command's function."""
    top = _PrintableParser(prog="speechvq", description="Speech codecs with a discrete bottleneck.")
    top.add_argument("--version", action="version", version=f"speechvq {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for add_group in (add_making, add_coding, add_information, add_evaluating, add_serving):
        add_group(commands)
    completion = commands.add_parser("completion", help="print a script that completes commands and options in a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    completion.set_defaults(run=lambda options: _complete(top, options.shell))
    return top


def _complete(top: argparse.ArgumentParser, shell: str) -> None:
    """Print the script of shtab for a shell.

    Raises SpeechVQError if shtab is not installed.
    """
    with needed_for("shell completion", "completion"):
        import shtab

    _mark_paths(top, shtab.FILE)
    print(shtab.complete(top, shell))


def _mark_paths(command: argparse.ArgumentParser, completion: object) -> None:
    """Have the arguments of a command and of those below it that are paths completed by names of files."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _mark_paths(below, completion)
        elif action.type is Path:
            action.complete = completion  # type: ignore[attr-defined]
