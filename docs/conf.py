r"""How Sphinx builds the documentation.

``sphinx-build -W -b html docs docs/_build/html`` writes it to ``docs/_build/html``.
"""

import zlib
from pathlib import Path

# sphinx-gallery looks up the names that the examples import.
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

import sksoftmax

project = "sksoftmax"
author = copyright = "The sksoftmax developers"
version = release = sksoftmax.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "literal"
# Links in pages of Markdown lead to headings of these levels.
myst_heading_anchors = 4
# Values of parameters in quotes can be copied into code.
smartquotes = False

suppress_warnings = [
    # Docstrings that are inherited from scikit-learn refer to its user guide and
    # glossary, which are unknown without network. Our pages refer with :doc:.
    "ref.ref",
    "ref.term",
    # Examples and benchmarks share a file name; benchmarks are not in the gallery.
    "sphinx_gallery.duplicate_filename",
]

autodoc_typehints = "none"
# The class template lists the members; numpydoc would list them again.
numpydoc_show_class_members = False

# An empty inventory comes second: without network, links to other projects become text,
# and the build does not fail.
BUILD = Path(__file__).parent / "_build"
BUILD.mkdir(exist_ok=True)
NO_INVENTORY = BUILD / "no.inv"
NO_INVENTORY.write_bytes(
    b"# Sphinx inventory version 2\n# Project: none\n# Version: 0\n"
    b"# The remainder of this file is compressed using zlib.\n" + zlib.compress(b"")
)
intersphinx_mapping = {
    name: (url, (None, str(NO_INVENTORY)))
    for name, url in {
        "PIL": "https://pillow.readthedocs.io/en/stable/",
        "joblib": "https://joblib.readthedocs.io/en/stable/",
        "matplotlib": "https://matplotlib.org/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "python": "https://docs.python.org/3/",
        "skops": "https://skops.readthedocs.io/en/stable/",
        "skorch": "https://skorch.readthedocs.io/en/stable/",
        "sklearn": "https://scikit-learn.org/stable/",
        "torch": "https://docs.pytorch.org/docs/stable/",
        "torchvision": "https://docs.pytorch.org/vision/stable/",
    }.items()
}
intersphinx_timeout = 10
# References to our own names must exist.
nitpicky = True
nitpick_ignore_regex = [("py:.*", rf"({'|'.join(intersphinx_mapping)})\b.*")]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # Scripts that are run: they need no dataset, no cluster and few seconds.
    "filename_pattern": (
        r"/(inspection|progress_and_callbacks|quickstart|save_and_export"
        r"|softmax_from_scratch)\.py"
    ),
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sksoftmax",),
    "reference_url": {"sksoftmax": None},
    "remove_config_comments": True,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"sksoftmax {version}"
html_show_sourcelink = False
# Pages without chapters below them have nothing to list at the left.
html_sidebars = {
    page: []
    for page in (
        "changelog",
        "comparisons",
        "getting_started",
        "guarantees",
        "how_do_i",
        "speed",
    )
}
toc_object_entries_show_parents = "hide"
