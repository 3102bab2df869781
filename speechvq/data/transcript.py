"""The words of a transcript."""

import re


def words(text: str) -> list[str]:
    """The words of a text in lower case; of punctuation only the apostrophes within words are kept."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
