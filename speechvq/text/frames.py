"""The labels of frames."""

from collections.abc import Sequence

import numpy as np

from speechvq.text.segments import Segment


def frame_labels(
    segments: Sequence[Segment], frames: int, hop: float, offset: float = 0.0, majority: bool = False
) -> list[str | None]:
    """The label of each frame: that at its centre, or that of its largest part; None where there is none.

    segments: in the order of time, without overlaps
    frames: number of frames
    hop: length of a frame, in seconds
    offset: time at which the first frame begins, in seconds
    majority: take the label that has the largest part of the frame, not that at the centre
    """
    ends = np.array([segment.end for segment in segments])
    starts = np.array([segment.start for segment in segments])
    if majority:
        begin = np.arange(frames)[:, None] * hop + offset
        parts = np.minimum(ends, begin + hop) - np.maximum(starts, begin)  # (frames, segments), in seconds
        return [_longest(segments, row) for row in parts.clip(0)]
    centres = (np.arange(frames) + 0.5) * hop + offset
    candidates = np.searchsorted(ends, centres, side="right")  # the first segment that ends after each centre
    found = zip(candidates, centres, strict=True)
    return [segments[i].label if i < len(segments) and starts[i] <= centre else None for i, centre in found]


def _longest(segments: Sequence[Segment], parts: np.ndarray) -> str | None:
    totals: dict[str, float] = {}
    for segment, part in zip(segments, parts, strict=True):
        if part > 0:
            totals[segment.label] = totals.get(segment.label, 0.0) + part
    return max(totals, key=totals.__getitem__, default=None)
