"""The command line: parsing and messages only. Modules that load torch are imported when a command needs them."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from speechvq import SpeechVQError, __version__
from speechvq.cli import coding, evaluating, information, making, serving
from speechvq.extras import needed_for
from speechvq.files import message_line, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    arguments: without the program's name; those of the process by default.

    Returns the exit code: 0, 1 if some of many files could not be used, 2 for an error that the user can correct, 130
    if interrupted, 141 if the reader of stdout has gone.
    """
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.root.handlers:
        handler.setFormatter(PrintableFormatter())
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every terminal or pipe of Windows has all letters
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except SpeechVQError as error:
        print(f"speechvq: error: {message_line(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("speechvq: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout has gone (`speechvq info | head`); keep Python from failing again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        print(f"speechvq: error: {printable(name)}{error.strerror or message_line(str(error))}", file=sys.stderr)
        return 2


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
    for group in (making, coding, information, evaluating, serving):
        group.add_commands(commands)
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
