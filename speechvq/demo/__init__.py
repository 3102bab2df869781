"""Run the whole of speechvq on a corpus that espeak-ng synthesizes."""
