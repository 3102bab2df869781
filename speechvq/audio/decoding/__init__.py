"""Audio files of any kind, decoded in order.

A header is believed only as far as the file bears it out: what is read ends where the data end, several recordings that
were joined to one file are read one after the other, and what a header promises and the file lacks is reported.

byte_range: a part of a file, as a file.
mpeg: the frames of an MP3 file.
chunks: the chunks of WAV and AIFF files.
parts: the recordings of which a file consists.
libsndfile: what libsndfile decodes.
media: what it does not, through PyAV or the program ffmpeg.
downmix: channels to one.
"""
