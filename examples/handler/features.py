"""Features of a text, as a model would take them."""

import re

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
SENTENCE = re.compile(r"[.!?…]+(?:\s|$)")


def describe(text: str) -> dict:
    """How long a text's words and sentences are, and how rich its vocabulary is."""
    words = WORD.findall(text)
    if not words:
        raise ValueError("the text has no words")
    sentences = len(SENTENCE.findall(text)) or 1
    return {
        "words": len(words),
        "sentences": sentences,
        "words_per_sentence": round(len(words) / sentences, 2),
        "letters_per_word": round(sum(map(len, words)) / len(words), 2),
        "vocabulary": round(len({word.lower() for word in words}) / len(words), 3),
    }


def describe_file(text: bytes, encoding: str = "utf-8") -> dict:
    """The same for a file that is given as an input."""
    return describe(text.decode(encoding))
