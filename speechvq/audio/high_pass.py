"""A high-pass against what is no speech: DC offset, rumble and hum of the mains."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from speechvq.audio import HIGH_PASS, SAMPLE_RATE
from speechvq.audio.biquads import filtered

FILTER_ORDER = 7  # odd, so that nothing of an offset is left
STOPPED = 40.0  # dB, of what lies below the stop band's edge
STOP_EDGE = 62 / 80  # of the cutoff: mains of 60 Hz, and half a hertz of drift, below 80 Hz
# For the cutoff HIGH_PASS, as `high_pass_filter` designs them: most models have it, and scipy.signal is slow to import.
SECTIONS = (
    (0.955542136692831, -0.955542136692831, 0.0, 1.0, -0.9799626064400517, 0.0),
    (1.0, -1.9998883957609799, 0.9999999999999999, 1.0, -1.9636743550643316, 0.9641862259851285),
    (1.0, -1.9996376460293115, 1.0, 1.0, -1.974317917844316, 0.9750802024620173),
    (1.0, -1.999436583071142, 1.0, 1.0, -1.9900662712733679, 0.9910348342889808),
)
STEADY = ((-0.9555421366928308, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))


class HighPass:
    """The filter of a wav at 16 kHz that comes in pieces; their lengths make no difference to the samples.

    cutoff: where the filter attenuates by 3 dB, in Hz; what lies below 0.775 of that is attenuated by 40 dB or more; 0
        filters nothing.

    A causal Chebyshev filter of the second kind, of order 7. A Butterworth filter that rings as briefly attenuates hum
    of 60 Hz by 20 dB only, and the rest still changes codes in pauses.

    The filter starts as if the first sample had been there for ever, so that an offset does not begin with a click.
    """

    def __init__(self, cutoff: float) -> None:
        self.cutoff = cutoff
        self._state: np.ndarray | None = None
        if cutoff:
            self._sections, self._steady = high_pass_filter(cutoff)

    def push(self, wav: Tensor) -> Tensor:
        """The next samples (T,), filtered."""
        if not self.cutoff or not len(wav):
            return wav
        samples = wav.double().numpy()
        if self._state is None:
            self._state = self._steady * samples[0]
        samples, self._state = filtered(self._sections, samples, self._state)
        return torch.from_numpy(samples).float()


def high_passed(wavs: Iterable[Tensor], cutoff: float) -> Iterator[Tensor]:
    """The pieces of a wav after `HighPass`."""
    high_pass = HighPass(cutoff)
    yield from map(high_pass.push, wavs)


def high_pass(wav: Tensor, cutoff: float) -> Tensor:
    """`high_passed` for a whole wav (T,)."""
    [filtered] = high_passed([wav], cutoff)
    return filtered


def high_pass_filter(cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """The second-order sections (n, 6) of the filter, and its state (n, 2) after samples that have always been 1."""
    if cutoff == HIGH_PASS:
        return np.array(SECTIONS), np.array(STEADY)
    from scipy.signal import cheby2, sosfilt_zi

    sections = cheby2(FILTER_ORDER, STOPPED, STOP_EDGE * cutoff, "highpass", fs=SAMPLE_RATE, output="sos")
    return sections, sosfilt_zi(sections)
