"""What is said and when: transcripts, phones, and files of labels. Read without NumPy and torch."""

from speechvq.text.labels import read_labels

__all__ = ["read_labels"]
