"""Audio. A wav is a float32 tensor (T,) in [-1, 1], mono, at SAMPLE_RATE unless said otherwise.

decoding: the samples of any file.
io: files, channels and sample rates.
biquads: filters as second-order sections.
high_pass: offset, rumble and hum removed.
level: loudness, and trimming of silence.
mulaw: samples as 256 classes.
features: log-mel spectrograms, MFCC, and Griffin-Lim.
source_filter: pitch, pulses and filters.
librosa_lock: librosa, imported safely by several processes.
"""

SAMPLE_RATE = 16_000
# Cutoff in Hz, of newly prepared audio: below the pitch of nearly all voices, above the mains of 50 and 60 Hz.
HIGH_PASS = 80.0
# Samples per value of a melody (`codec.melody`), and values that a file codes by themselves, 20 s.
MELODY_HOP, MELODY_CHUNK = 2560, 128
# Suffixes of audio files, in lower case: those that libsndfile reads, and those for FFmpeg.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"),
    *(".m4a", ".aac", ".webm", ".mka", ".amr", ".wma"),
)
