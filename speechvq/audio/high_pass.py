"""A high-pass against what is no speech: DC offset, rumble and hum of the mains."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE

FILTER_ORDER = 7  # odd, so that nothing of an offset is left
STOPPED = 40.0  # dB, of what lies below the stop band's edge
STOP_EDGE = 62 / 80  # of the cutoff: mains of 60 Hz, and half a hertz of drift, below 80 Hz


def high_passed(wavs: Iterable[Tensor], cutoff: float) -> Iterator[Tensor]:
    """Filter a wav at 16 kHz that comes in pieces; their lengths make no difference to the samples.

    cutoff: where the filter attenuates by 3 dB, in Hz; what lies below 0.775 of that is attenuated by 40 dB or more; 0
        filters nothing.

    A causal Chebyshev filter of the second kind, of order 7. A Butterworth filter that rings as briefly attenuates hum
    of 60 Hz by 20 dB only, and the rest still changes codes in pauses.

    The filter starts as if the first sample had been there for ever, so that an offset does not begin with a click.
    """
    if not cutoff:
        yield from wavs
        return
    from scipy.signal import cheby2, sosfilt, sosfilt_zi  # here, since training does without SciPy

    sections = cheby2(FILTER_ORDER, STOPPED, STOP_EDGE * cutoff, "highpass", fs=SAMPLE_RATE, output="sos")
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
