r"""Pages of Markdown: their code, their headings, their links and their prose."""

import linecache
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *GUIDE]

# Fences of Markdown: code in a language, or a directive of Sphinx.
FENCE = re.compile(r"^(```+|:::+)([^\n]*)\n(.*?)^\1\n", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,4}) (.+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def python_blocks(page):
    r"""Return (line of the page, code) of each block of Python."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(3)) + 1, match[3])
        for match in FENCE.finditer(text)
        if match[2].strip() == "python"
    ]


def run(page, line, code):
    r"""Run a block as a script of its own; tracebacks show the lines of the page.

    It runs in this process, which has imported PyTorch, unless it sets variables of the
    environment, which are read at imports.
    """
    name = f"{name_of(page)}:{line}"
    if "os.environ" in code:
        command = [sys.executable, "-W", "error", "-c", code]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        return
    # A traceback takes the lines of the code from this cache.
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


def without_code(text):
    r"""Return a page without its blocks of code and its comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)


def anchor(heading):
    r"""Return the anchor that GitHub and MyST give to a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def sections(page):
    r"""Return {anchor: text} of each section, up to a heading of the same level."""
    text = page.read_text(encoding="utf-8")
    in_code = {
        position
        for match in FENCE.finditer(text)
        for position in range(match.start(), match.end())
    }
    headings = [m for m in HEADING.finditer(text) if m.start() not in in_code]
    found = {}
    for index, heading in enumerate(headings):
        ends = [
            h.start() for h in headings[index + 1 :] if len(h[1]) <= len(heading[1])
        ]
        found[anchor(heading[2])] = text[heading.start() : min(ends, default=None)]
    return found


def links(page):
    r"""Return (text, target) of each link, but for those to the web."""
    text = without_code(page.read_text(encoding="utf-8"))
    return [pair for pair in LINK.findall(text) if "://" not in pair[1]]


def paragraphs(text, *, with_cells):
    r"""Return the prose of a page: paragraphs, items of lists and cells of tables.

    Headings, code blocks and pictures are left out. Code within a line stays in its
    backticks; of a link, its text stays.
    """
    text = without_code(text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\{[\w:]+\}`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    text = LINK.sub(r"\1", text)
    pieces = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("|"):
            if with_cells:
                rows = [line for line in lines if not re.fullmatch(r"[|\s:-]+", line)]
                pieces += [cell for row in rows for cell in row.strip("|").split(" | ")]
            continue
        prose = "\n".join(line for line in lines if not line.startswith("#"))
        pieces += re.split(r"^\s*(?:[-*]|\d+\.)\s+", prose, flags=re.MULTILINE)
    plain = (re.sub(r"[*_]{2,}|^>", "", " ".join(piece.split())) for piece in pieces)
    return [piece for piece in plain if piece.strip(" |")]


def sentences(piece):
    r"""Split prose into sentences; code counts as a word."""
    plain = re.sub(r"`[^`]+`", "Code", piece)
    return [s for s in re.split(r"(?<=[.!?])[\"')]*\s+(?=[A-Z0-9(])", plain) if s]
