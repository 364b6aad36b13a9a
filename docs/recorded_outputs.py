r"""Outputs and thumbnails of the examples that the build does not run.

An example that needs a dataset, a cluster or minutes is run by hand:
``SKSOFTMAX_DATA=folder python docs/recorded_outputs.py otto mnist`` writes what it
prints and draws to ``docs/recorded``. As an extension of Sphinx, this file puts the
recorded outputs into the page of the example, where sphinx-gallery puts the outputs of
those that it runs, and draws a thumbnail.
"""

import contextlib
import io
import re
import sys
import tempfile
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parent
RECORDED = DOCS / "recorded"

# A line of this text comes between the outputs of two code blocks.
SEPARATOR = "%%"

# The line with which sphinx-gallery begins a block of code.
CODE_BLOCK = "\n.. code-block:: Python\n"

# Images of MNIST have a license that is not that of the repository.
WITHOUT_FIGURES = {"mnist"}

# Width and height of a thumbnail, in pixels, and the text that fits into it.
THUMBNAIL = (400, 280)
LINES_OF_THUMBNAIL = 8
CHARACTERS_OF_THUMBNAIL = 34

NOTE = """
The outputs of this page were recorded on two x86-64 cores that other programs used as
well: seconds are longer than on an idle machine.

"""


def record(name):
    r"""Run an example in an empty folder, and write what it prints and draws."""
    from matplotlib import pyplot
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    pyplot.switch_backend("agg")
    path = DOCS.parent / "examples" / f"{name}.py"
    _, blocks = split_code_and_text_blocks(str(path))
    code = [block for block in blocks if block[0] == "code"]
    outputs = []
    namespace = {"__name__": "__main__", "__file__": str(path)}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, (_, source, line) in enumerate(code):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                # Tracebacks and pickles find the lines of the file.
                exec(compile("\n" * (line - 1) + source, str(path), "exec"), namespace)
            outputs.append(output.getvalue().strip("\n"))
            if pyplot.get_fignums() and name not in WITHOUT_FIGURES:
                pyplot.savefig(RECORDED / f"{name}_{number}.png", dpi=80)
            pyplot.close("all")
    text = f"\n{SEPARATOR}\n".join(outputs)
    (RECORDED / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")


def draw_text(text, path):
    r"""Draw the first lines of a text as a thumbnail."""
    from matplotlib.figure import Figure

    lines = [line for line in text.splitlines() if line.strip() not in ("", SEPARATOR)]
    lines = [line[:CHARACTERS_OF_THUMBNAIL] for line in lines[:LINES_OF_THUMBNAIL]]
    dpi = 100
    figure = Figure((THUMBNAIL[0] / dpi, THUMBNAIL[1] / dpi), facecolor="#14181e")
    figure.text(
        *(0.04, 0.94),
        "\n".join(lines),
        family="monospace",
        size=11.5,
        color="#e6e9ef",
        verticalalignment="top",
        linespacing=1.75,
        parse_math=False,
    )
    figure.savefig(path, dpi=dpi)


def write_thumbnails(app):
    r"""Write a thumbnail of each recorded output, which sphinx-gallery keeps."""
    from sphinx_gallery.utils import scale_image

    folder = DOCS / "auto_examples" / "images" / "thumb"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(RECORDED.glob("*.txt")):
        thumbnail = folder / f"sphx_glr_{path.stem}_thumb.png"
        figures = sorted(RECORDED.glob(f"{path.stem}_[0-9]*.png"))
        if figures:
            scale_image(figures[-1], thumbnail, *THUMBNAIL)
        else:
            draw_text(path.read_text(encoding="utf-8"), thumbnail)


def insert_outputs(app, name, source):
    r"""Put the recorded outputs below the code blocks of the page of an example."""
    folder, _, stem = name.partition("/")
    path = RECORDED / f"{stem}.txt"
    if folder != "auto_examples" or not path.is_file():
        return
    if "sphx-glr-script-out" in source[0]:  # the build has run the example
        return
    text = path.read_text(encoding="utf-8").removesuffix("\n")
    outputs = text.split(f"\n{SEPARATOR}\n")
    # The last part is the footer, with links to download the example.
    starts = r"(?=^\.\. GENERATED FROM PYTHON|^\.\. _sphx_glr_download)"
    *parts, footer = re.split(starts, source[0], flags=re.MULTILINE)
    with_code = [i for i, part in enumerate(parts) if CODE_BLOCK in part]
    if len(with_code) != len(outputs):
        raise ValueError(
            f"Got {len(outputs)} outputs in {path}, but expected {len(with_code)}, one "
            f"for each block of code. Run python docs/recorded_outputs.py {stem}."
        )
    for number, (index, output) in enumerate(zip(with_code, outputs, strict=True)):
        parts[index] += output_of_block(stem, number, output)
    source[0] = "".join([*parts, NOTE, footer])


def output_of_block(stem, number, text):
    r"""Return the lines of a page that show the output of a code block."""
    lines = []
    if text:
        lines = [
            ".. rst-class:: sphx-glr-script-out\n\n .. code-block:: none\n",
            textwrap.indent(text, " " * 4),
        ]
    if (RECORDED / f"{stem}_{number}.png").is_file():
        lines.append(f"\n.. image:: /recorded/{stem}_{number}.png\n   :alt: Figure\n")
    return "\n".join(["", *lines, "", ""])


def position_in_gallery(path):
    r"""Return where the page of all examples names the file of an example."""
    return (DOCS / "gallery.rst").read_text().find(f"/{Path(path).name}\n")


def setup(app):
    r"""Connect to the events of Sphinx; sphinx-gallery makes its pages later."""
    app.connect("builder-inited", write_thumbnails, priority=20)
    app.connect("source-read", insert_outputs)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    for example in sys.argv[1:]:
        record(example)
