"""Audio. A wav is a float32 tensor (T,) in [-1, 1], mono, at SAMPLE_RATE unless said otherwise.

io: files, channels and sample rates.
level: loudness, and trimming of silence.
mulaw: samples as 256 classes.
features: log-mel spectrograms, MFCC, and Griffin-Lim.
source_filter: pitch, pulses and filters.
librosa_lock: librosa, imported safely by several processes.
"""

SAMPLE_RATE = 16_000
# What libsndfile reads, in lower case.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
