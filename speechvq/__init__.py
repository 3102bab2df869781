"""speechvq: speech codecs with a discrete bottleneck.

Letters, with one meaning everywhere: B batch, T samples, N codes (latent frames), F conditioning
frames, C channels, D code width, K codebook size, S speakers, L layers.
"""

__version__ = "0.1.0"


class SpeechVQError(Exception):
    """An error the user can mend: bad input, configuration or model. The command line prints its one
    line and exits with 2; everything else is a bug and keeps its traceback."""
