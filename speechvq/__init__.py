"""speechvq: speech codecs with a discrete bottleneck.

>>> from speechvq import Codec

Letters, with one meaning everywhere: B batch, T samples, N codes (latent frames), F conditioning frames, C channels,
D code width, K codebook size, S speakers, L layers.
"""

TYPE_CHECKING = False  # as that of `typing`, which takes a while to import

__version__ = "0.1.0"
__all__ = ["Codec", "SpeechVQError"]


class SpeechVQError(Exception):
    """An error that the user can correct: bad input, configuration or model.

    The command line prints its one line and exits with 2, as for an OSError, such as that of a full disk or of a folder
    that may not be written. Every other exception is a bug and keeps its traceback.
    """


if TYPE_CHECKING:
    from speechvq.codec import Codec as Codec
else:

    def __getattr__(name: str) -> type:
        """`Codec`, imported when it is first asked for: it loads torch, `import speechvq` does not."""
        if name != "Codec":
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        from speechvq.codec import Codec

        return Codec


def __dir__() -> list[str]:
    return sorted({*globals(), "Codec"})
