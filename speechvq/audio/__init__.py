"""Audio: files, levels, features, and the source-filter model.

A wav is a float32 tensor (T,) in [-1, 1], mono, at SAMPLE_RATE unless said otherwise.
"""

SAMPLE_RATE = 16_000
# What libsndfile reads, in lower case.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
