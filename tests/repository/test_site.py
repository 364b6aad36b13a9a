r"""The pages of the documentation: built without a warning, and opened in a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import sksoftmax
from sksoftmax._utils.estimators import DOCUMENTATION

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.stem for path in (ROOT / "examples").glob("*.py")}

# The notebook and an index of each kind of page.
OPENED = [
    "index",
    "getting_started",
    "gallery",
    "otto_kaggle",
    "auto_examples/otto",
    "auto_examples/inspection",
    "generated/sksoftmax.SoftmaxMLPClassifier",
]

# Put into a copy of a page, this tells what the browser could not show.
REPORT = """<script>
const failed = [];
addEventListener("error", event => { if (event.message) failed.push(event.message) });
addEventListener("load", () => {
  for (const picture of document.images)
    if (!picture.complete || !picture.naturalWidth) failed.push(picture.src);
  const report = {
    failed, pictures: document.images.length,
    width: document.documentElement.scrollWidth, window: innerWidth,
  };
  const text = encodeURIComponent(JSON.stringify(report));
  document.documentElement.setAttribute("data-report", text);
});
</script>"""


OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # No page needs another server to be readable.
    "--host-resolver-rules=MAP * ~NOTFOUND",
]


# sphinx-build in less time: Jinja compiles numpydoc's template once instead of for each
# docstring, and Python does not search for cycles of objects.
BUILD = """
import gc, sys
from jinja2 import Environment
from sphinx.cmd.build import main

gc.disable()
compiled = {}
compile_template = Environment.compile

def compile_once(self, *arguments, **options):
    key = type(self), arguments, tuple(options.items())
    if key not in compiled:
        compiled[key] = compile_template(self, *arguments, **options)
    return compiled[key]

Environment.compile = compile_once
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    r"""Return the folder of the built pages."""
    pytest.importorskip("sphinx_gallery")
    # The build writes beside its sources.
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "examples"):
        built = shutil.ignore_patterns("_build", "auto_examples", "generated")
        shutil.copytree(ROOT / name, folder / name, ignore=built)
    shutil.copy(ROOT / "CHANGELOG.md", folder)
    completed = subprocess.run(
        [sys.executable, "-c", BUILD, "-W", "-q", "-b", "html", "docs", "html"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    return folder / "html"


def test_documentation_builds_without_a_warning(pages):
    _, _, address = DOCUMENTATION.partition("/stable/")
    for name in sksoftmax.__all__:
        if name.startswith("Softmax"):
            page = (pages / address.format(estimator_name=name)).read_text()
            assert f'id="sksoftmax.{name}.fit"' in page


def test_pictures_of_all_pages_exist(pages):
    for page in pages.rglob("*.html"):
        for source in re.findall(r'<img[^>]* src="([^"]+)"', page.read_text()):
            if "://" not in source and not source.startswith("data:"):
                assert (page.parent / source.partition("?")[0]).is_file(), source


def test_every_example_has_an_output_and_a_thumbnail_of_its_own(pages):
    from PIL import Image
    from sphinx_gallery import glr_path_static
    from sphinx_gallery.utils import scale_image

    placeholder = pages / "placeholder.png"
    scale_image(Path(glr_path_static()) / "no_image.png", placeholder, 400, 280)
    seen = {Image.open(placeholder).convert("RGB").tobytes()}
    for name in EXAMPLES:
        path = pages / "_images" / f"sphx_glr_{name}_thumb.png"
        pixels = Image.open(path).convert("RGB").tobytes()
        assert pixels not in seen, name
        assert np.ptp(np.frombuffer(pixels, np.uint8)) > 100, name
        seen.add(pixels)
        page = (pages / "auto_examples" / f"{name}.html").read_text()
        assert "sphx-glr-script-out" in page, name


def test_gallery_shows_each_example_in_one_section(pages):
    gallery = (pages / "gallery.html").read_text()
    cards = re.findall(r'thumbcontainer"[^>]*><img[^>]*glr_(\w+)_thumb\.png', gallery)
    assert sorted(cards) == sorted(EXAMPLES)
    # The list at the left has the order of the page.
    listed = re.findall(r'toctree-l1.*href="auto_examples/(\w+)\.html"', gallery)
    assert listed == cards


def chromium():
    return shutil.which("chromium") or shutil.which("google-chrome")


def open_in_browser(page, screenshot):
    r"""Return what a browser reports about a page, and keep a screenshot."""
    copy = page.with_suffix(".checked.html")
    copy.write_text(page.read_text().replace("<head>", f"<head>{REPORT}", 1))
    profile = screenshot.parent / "profile"
    completed = subprocess.run(
        [
            chromium(),
            *OPTIONS,
            f"--user-data-dir={profile}",
            "--window-size=1280,1600",
            "--virtual-time-budget=3000",
            f"--screenshot={screenshot}",
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    shutil.rmtree(profile, ignore_errors=True)
    copy.unlink()
    report = re.search(r'data-report="([^"]+)"', completed.stdout)
    assert report is not None, completed.stderr
    return json.loads(unquote(report[1]))


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_pages_look_right_in_a_browser(pages, tmp_path_factory):
    r"""Screenshots stay in pytest's folder of temporary files, to be looked at."""
    screenshots = tmp_path_factory.mktemp("screenshots")
    for name in OPENED:
        screenshot = screenshots / f"{name.replace('/', '-')}.png"
        report = open_in_browser(pages / f"{name}.html", screenshot)
        assert report["failed"] == [], name
        # Nothing is wider than the window.
        assert report["width"] <= report["window"], name
        if name == "gallery":
            assert report["pictures"] == len(EXAMPLES)
        assert screenshot.stat().st_size > 20_000, name
