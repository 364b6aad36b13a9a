r"""How Sphinx builds the documentation.

``sphinx-build -W -b html docs docs/_build/html`` writes it to ``docs/_build/html``.
"""

import shutil
import sys
import zlib
from pathlib import Path

# sphinx-gallery looks up the names that the examples import.
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

import sksoftmax

DOCS = Path(__file__).parent
# Our own extension lies beside this file.
sys.path.insert(0, str(DOCS))
# The notebook has its outputs; a page of the documentation lies in its folder.
shutil.copy(DOCS.parent / "examples" / "otto_kaggle.ipynb", DOCS)

project = "sksoftmax"
author = copyright = "The sksoftmax developers"
version = release = sksoftmax.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "recorded_outputs",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    # The page "gallery" has the examples by topic. Times of a build are of no use.
    "auto_examples/index.rst",
    "**sg_execution_times.rst",
    # Notebooks that sphinx-gallery makes of the examples, for download.
    "auto_examples/*.ipynb",
]
# The notebook takes a quarter of an hour. It is run when it changes.
nb_execution_mode = "off"
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
BUILD = DOCS / "_build"
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
    # The other scripts have recorded outputs, which their tests compare: the build is
    # quick, and needs no dataset and no cluster.
    "filename_pattern": r"/inspection\.py",
    "within_subsection_order": "FileNameSortKey",
    "minigallery_sort_order": "recorded_outputs.position_in_gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sksoftmax",),
    "reference_url": {"sksoftmax": None},
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "thumbnail_size": (400, 280),
}

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "github_url": "https://github.com/sksoftmax/sksoftmax",
    "header_links_before_dropdown": 5,
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "show_toc_level": 2,
}
html_static_path = ["_static"]
html_css_files = ["pages.css"]
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
