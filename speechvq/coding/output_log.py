"""The log of what a folder of outputs was made with, so that a later run knows what it need not do again."""

import json
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.config.guarded import json_lines, parse_json
from speechvq.config.shapes import check_shape
from speechvq.files import atomic_write

OUTPUT_LOG = ".speechvq.jsonl"  # hidden: no command takes it for an input


class OutputLog:
    """The outputs in a folder, each with the options that it was made with.

    folder: of the outputs; need not exist.
    options: names the options of this run.
    """

    def __init__(self, folder: Path, options: str) -> None:
        self.folder, self.options = folder, options
        self.entries: dict[str, str] = {}
        path = folder / OUTPUT_LOG
        for where, line in json_lines(path) if path.is_file() else []:
            try:
                row = parse_json(line, where)
                check_shape(row, {"file": str, "options": str}, where)
                self.entries[row["file"]] = row["options"]
            except SpeechVQError:
                continue  # cut off by a kill
        self.rewritten = False

    def options_of(self, path: Path) -> str | None:
        """The options that an output was made with; None if that is not known."""
        return self.entries.get(self._name(path))

    def begin(self, path: Path) -> None:
        """Note that an output is about to be written. An older one is removed before.

        So an output that is there was made with the options that are noted for it, whenever the run is killed.
        """
        path.unlink(missing_ok=True)
        self.entries[self._name(path)] = self.options
        if self.rewritten:
            with (self.folder / OUTPUT_LOG).open("a", encoding="utf-8") as file:
                file.write(_line(self._name(path), self.options))
            return
        with atomic_write(self.folder / OUTPUT_LOG) as temporary:
            lines = [_line(name, options) for name, options in self.entries.items()]
            temporary.write_text("".join(lines), encoding="utf-8")
        self.rewritten = True

    def _name(self, path: Path) -> str:
        """The name of an output in the log; bytes of it that are not UTF-8 are escaped."""
        return path.relative_to(self.folder).as_posix().encode("utf-8", "backslashreplace").decode()


def _line(name: str, options: str) -> str:
    return json.dumps({"file": name, "options": options}) + "\n"
