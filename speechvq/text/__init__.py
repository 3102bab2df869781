"""Transcripts, phones with their times, and files of labels. Reading them needs neither NumPy nor torch."""

from speechvq.text.labels import read_labels

__all__ = ["read_labels"]
