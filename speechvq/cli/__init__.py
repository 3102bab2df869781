"""The command line: parsing and messages only. Heavy imports wait until a command needs them."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from speechvq import SpeechVQError, __version__
from speechvq.cli import coding, evaluating, making


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command -> exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except SpeechVQError as error:
        print(f"speechvq: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("speechvq: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout went away (`speechvq info | head`); keep Python from failing again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"speechvq: error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` in its result is the command's function."""
    top = argparse.ArgumentParser(prog="speechvq", description="Speech codecs with a discrete bottleneck.")
    top.add_argument("--version", action="version", version=f"speechvq {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for group in (making, coding, evaluating):
        group.add_commands(commands)
    return top
