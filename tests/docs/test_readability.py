r"""Prose is plain: short words, short sentences.

The measure is Flesch's reading ease: 206.835 - 1.015 words per sentence - 84.6
syllables per word; 50 is plain English of a technical page. Blocks and words of code,
headings and tables are left out.
"""

import re

import pytest

from .pages import DOCS, GUIDE, ROOT, name_of, paragraphs, sentences

textstat = pytest.importorskip("textstat")

LEAST_EASE = 50.0
MOST_WORDS = 35
PLAIN = ["comparisons", "guarantees", "how_do_i", "scaling_out", "speed"]
PAGES = [ROOT / "README.md", *(DOCS / f"{name}.md" for name in PLAIN), *GUIDE]


def reading_ease(page):
    r"""Return Flesch's reading ease of the prose of a page."""
    prose = paragraphs(page.read_text(encoding="utf-8"), with_cells=False)
    code = re.compile(r"\(?`[^`]*`\)?")
    plain = [code.sub("", piece).strip(" :.,;") for piece in prose]
    # A decimal point ends no sentence.
    plain = [re.sub(r"(\d)\.(\d)", r"\1\2", piece) for piece in plain]
    # An item of a list or a paragraph ends a sentence.
    return textstat.flesch_reading_ease(". ".join(filter(None, plain)) + ".")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_is_easy_to_read(page):
    assert reading_ease(page) >= LEAST_EASE


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_sentence_is_long(page):
    text = page.read_text(encoding="utf-8")
    long = [
        sentence
        for piece in paragraphs(text, with_cells=True)
        for sentence in sentences(piece)
        if len(re.findall(r"[\w'.-]*\w", sentence)) > MOST_WORDS
    ]
    assert long == []
