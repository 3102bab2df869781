"""A high-pass against what is no speech: DC offset, rumble and hum of the mains."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE

FILTER_ORDER = 8


def high_passed(wavs: Iterable[Tensor], cutoff: float) -> Iterator[Tensor]:
    """Filter a wav at 16 kHz that comes in pieces; their lengths make no difference to the samples.

    cutoff: where a causal Butterworth filter of order 8 attenuates by 3 dB, in Hz; 0 filters nothing.

    The filter starts as if the first sample had been there for ever, so that an offset does not begin with a click.
    """
    if not cutoff:
        yield from wavs
        return
    from scipy.signal import butter, sosfilt, sosfilt_zi  # here, since training does without SciPy

    sections = butter(FILTER_ORDER, cutoff, "highpass", fs=SAMPLE_RATE, output="sos")
    state = None
    for wav in wavs:
        samples = wav.double().numpy()
        if state is None and len(samples):
            state = sosfilt_zi(sections) * samples[0]
        if len(samples):
            samples, state = sosfilt(sections, samples, zi=state)
        yield torch.from_numpy(samples).float()


def high_pass(wav: Tensor, cutoff: float) -> Tensor:
    """`high_passed` for a whole wav (T,)."""
    [filtered] = high_passed([wav], cutoff)
    return filtered
