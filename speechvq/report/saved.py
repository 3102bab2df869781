"""The shape of what `evaluate --save` and training leave in a run folder, as far as the page shows it."""

from pathlib import Path
from typing import Any

from speechvq.config.guarded import read_json
from speechvq.config.shapes import Each, Maybe, check_shape
from speechvq.evaluate.tables import CONVERSION_FIGURES

NUMBER = Maybe(float)
SHARE = {"value": NUMBER, "low": NUMBER, "high": NUMBER}
INTERVAL = {"value?": NUMBER, "low?": NUMBER, "high?": NUMBER}
ABX = {"within": NUMBER, "across": NUMBER}
ACCURACY = {"same": NUMBER, "held_out": NUMBER}
SCORE = {
    **dict.fromkeys(("codes", "shuffled", "random", "most_likely"), ACCURACY),
    "frames": int,
    "pnmi": float,
}
ROW = {
    **dict.fromkeys(("utterance", "source", "speaker", "kind"), str),
    "text?": str,
    "heard?": Maybe(str),
    "similarity?": NUMBER,
}
SEQUENCE = {"error_rate": SHARE, "f1": SHARE, **dict.fromkeys(("precision", "recall", "r_value"), NUMBER)}
CODE = {"code": int, "share": NUMBER, "phone": str, "phone_share": NUMBER, "runner_up": Maybe(str)}
SYSTEM = {"sentences": int, "speakers": int, "systems": Each(Each(INTERVAL))}

# The shape of each saved result, by its question.
RESULT_SHAPES: dict[str, dict[str, Any]] = {
    "reconstruction": {},
    "conversion": {
        "figures": Each(
            {key: Maybe(int if form == "d" else float) for key, (_, _, form) in CONVERSION_FIGURES.items()}
        ),
        "rows": [ROW],
        "threshold": NUMBER,
        "equal_error": NUMBER,
    },
    "phonemes": {
        "scores": {"centre": SCORE},
        "mfcc": {"codes": ACCURACY, "pnmi": float},
        "phones": [str],
        "abx": ABX,
        "abx_random": ABX,
        "runs_per_s?": float,
        "sequences?": Each(SEQUENCE),
        "classes?": Each({"frames": int, "phone": SHARE, "phone_class": {"value": NUMBER}}),
        "probes?": Each({"dimensions": int, "fitted": NUMBER, "held_out": SHARE}),
        "code_table?": Maybe([{**CODE, "runner_up_share": NUMBER}]),
    },
    "leakage": {},
    "rate": {
        "coders": Each(dict.fromkeys(("files", "payload", "bits_per_code"), float)),
        "nominal": float,
    },
    "samples": {},
    "intelligibility": {"kinds": Each(SYSTEM), "degraded": Each(Each(Each({"value": NUMBER})))},
}
COMMAND = {"command": str, "machine": str}
STARTS = [dict.fromkeys(("command", "machine", "speechvq", "python", "torch"), str)]


def read_result(path: Path, question: str) -> dict[str, Any]:
    """A saved result.

    question: the one that it answers, of `RESULT_SHAPES`.
    Raises SpeechVQError if it cannot be read or has another shape.
    """
    result: dict[str, Any] = read_json(path)
    check_shape(result, RESULT_SHAPES[question] | {"made_by?": COMMAND}, str(path))
    return result


def read_starts(path: Path) -> list[dict[str, str]]:
    """How training was started, and resumed, of a run's made.json; empty if it is not there.

    Raises SpeechVQError as `read_result` does.
    """
    if not path.is_file():
        return []
    starts: list[dict[str, str]] = read_json(path)
    check_shape(starts, STARTS, str(path))
    return starts
