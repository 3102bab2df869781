"""Write run folders to one HTML file that needs no other: audio, pictures and style are in it."""

from collections.abc import Sequence
from pathlib import Path

from speechvq import SpeechVQError, __version__
from speechvq.audio import SAMPLE_RATE
from speechvq.extras import needed_for
from speechvq.files import atomic_write
from speechvq.report.result_tables import paper_table
from speechvq.report.runs import read_runs
from speechvq.report.sections import make_section, read_phones
from speechvq.text.labels import USUAL, LabelReading

with needed_for("a report", "report"):
    from jinja2 import Environment, PackageLoader, StrictUndefined

PAGE = "index.html"


def write_report(
    folders: Sequence[Path],
    out: Path,
    data: Path | None,
    labels: Path | None,
    count: int,
    reading: LabelReading = USUAL,
    device: str = "cpu",
) -> Path:
    """Write OUT/index.html of run folders.

    data, labels: prepared corpus and folder of label files, for the phones below spectrograms
    count: utterances of each run
    reading: how label files are read
    device: where models compute

    Returns the path of the page. Raises SpeechVQError if a folder is not a run.
    """
    if labels and not data:
        raise SpeechVQError("labels are of a prepared corpus: --labels needs --data")
    runs, phones = read_runs(folders, device), read_phones(data, labels, reading)
    environment = Environment(
        loader=PackageLoader("speechvq.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    html = environment.get_template("page.html").render(
        paper=paper_table(runs),
        sections=[make_section(run, phones, count) for run in runs],
        version=__version__,
        rate=SAMPLE_RATE,
    )
    with atomic_write(out / PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out / PAGE


def check_destination(out: Path, force: bool) -> None:
    """Raises SpeechVQError if OUT/index.html exists, unless `force`."""
    if (out / PAGE).exists() and not force:
        raise SpeechVQError(f"{out / PAGE} exists; --force overwrites it")
