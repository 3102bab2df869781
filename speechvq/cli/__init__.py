"""The command line. Until it can answer Ctrl-C, it imports nothing."""

import sys

TYPE_CHECKING = False  # as that of `typing`, which takes a while to import
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run one command.

    arguments: without the program's name; those of the process by default.

    Returns the exit code: 0, 1 if some of many files could not be used, 2 for an error that the user can correct, 130
    if interrupted, 141 if the reader of stdout has gone, 143 or 129 if ended by SIGTERM or SIGHUP.
    """
    try:
        from speechvq.cli.program import run

        return run(arguments)
    except KeyboardInterrupt:
        print("speechvq: interrupted", file=sys.stderr)
        return 130
