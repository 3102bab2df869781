"""The demo: a corpus spoken by espeak-ng, and the whole of speechvq run on it."""
