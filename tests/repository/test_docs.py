r"""The documentation is complete, builds, and its code runs."""

import ast
import doctest
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import sksoftmax
from sksoftmax import (
    datasets,
    distributed,
    inspection,
    modules,
    persistence,
    tuning,
)
from sksoftmax._utils.estimators import DOCUMENTATION

ROOT = Path(__file__).parents[2]

CLASSES = [
    value
    for name in sksoftmax.__all__
    if inspect.isclass(value := getattr(sksoftmax, name))
] + [getattr(modules, name) for name in modules.__all__]
DISPLAYS = [getattr(inspection, name) for name in inspection.__all__]
FUNCTIONS = [getattr(datasets, name) for name in datasets.__all__] + [
    distributed.fit_distributed,
    persistence.load,
    persistence.save,
    persistence.to_onnx,
]
TOOLS = [tuning.SearchSpace]
PUBLIC = CLASSES + DISPLAYS + TOOLS + FUNCTIONS
METHODS = [
    method
    for cls in CLASSES + DISPLAYS + TOOLS
    for name, method in inspect.getmembers(cls, inspect.isroutine)
    if not name.startswith("_") and method.__module__.startswith("sksoftmax")
]


def documented_parameters(documented):
    r"""Return {name: type and default} of the Parameters section."""
    doc = inspect.getdoc(documented) or ""
    section = re.search(
        r"Parameters\n-+\n(.*?)(?:\n\n\w[\w ]*\n-+\n|\Z)", doc, re.DOTALL
    )
    if section is None:
        return {}
    lines = re.findall(r"^(\*{0,2}\w+) : (.*(?:\n {8,}.*)*)$", section[1], re.MULTILINE)
    return {name.lstrip("*"): text for name, text in lines}


def qualified_name(documented):
    return f"{documented.__module__}.{documented.__qualname__}"


@pytest.mark.parametrize("documented", PUBLIC + METHODS, ids=qualified_name)
def test_documented_parameters_and_defaults_are_those_of_the_signature(documented):
    parameters = dict(inspect.signature(documented).parameters)
    parameters.pop("self", None)
    documented_names = documented_parameters(documented)
    assert list(documented_names) == list(parameters)
    for name, parameter in parameters.items():
        stated = re.search(r"default=(.+?)\s*$", documented_names[name])
        if parameter.default is inspect.Parameter.empty:
            assert stated is None, name
        else:
            assert stated is not None, name
            assert repr(parameter.default) == stated[1] or (
                ast.literal_eval(stated[1]) == parameter.default
            ), name


@pytest.mark.parametrize("documented", PUBLIC, ids=qualified_name)
def test_docstring_has_an_example_and_modules_a_shape(documented):
    doc = inspect.getdoc(documented)
    assert "Examples\n--------\n>>> " in doc
    if documented.__name__ in modules.__all__:
        assert "**Shape**" in doc


@pytest.mark.filterwarnings("ignore:Maximum number of epochs")
@pytest.mark.parametrize("cls", CLASSES, ids=qualified_name)
def test_fitted_attributes_are_documented(cls):
    if cls.__name__ in modules.__all__:
        return
    from PIL import Image
    from sklearn.datasets import load_digits
    from torch import nn

    X, y = load_digits(return_X_y=True)
    args = {
        sksoftmax.SoftmaxNetClassifier: (nn.Linear,),
        sksoftmax.SoftmaxGridSearchCV: (sksoftmax.SoftmaxRegression(), {"C": [1, 2]}),
    }.get(cls, ())
    classifier = cls(*args)
    if "max_epochs" in classifier.get_params():
        classifier.set_params(max_epochs=1)
    if cls is sksoftmax.ImageReader:
        X = [Image.fromarray(pixels.astype("uint8")) for pixels in X.reshape(-1, 8, 8)]
    classifier.fit(X, y)
    doc = inspect.getdoc(cls)
    attributes = doc[doc.index("Attributes\n---") : doc.index("See Also\n---")]
    documented = set(re.findall(r"^(\w+_) : ", attributes, re.MULTILINE))
    fitted = {name for name in vars(classifier) if name.endswith("_")}
    fitted |= {name for name in ("coef_", "intercept_") if hasattr(classifier, name)}
    assert fitted <= documented
    missing = {name for name in documented if not hasattr(classifier, name)}
    assert missing <= {"feature_names_in_"}


@pytest.mark.parametrize("documented", PUBLIC + METHODS, ids=qualified_name)
def test_docstring_passes_the_checks_of_numpydoc(documented):
    hook = pytest.importorskip("numpydoc.hooks.validate_docstrings")
    config = hook.parse_config(ROOT)
    name = qualified_name(documented)
    if config["exclude"].search(name):
        pytest.skip("excluded in pyproject.toml")
    errors = hook.validate.validate(name)["errors"]
    assert [error for error in errors if error[0] in config["checks"]] == []


def test_reference_lists_every_public_name():
    public = {
        f"{module.__name__}.{name}"
        for module in (
            sksoftmax,
            datasets,
            distributed,
            inspection,
            modules,
            persistence,
            tuning,
        )
        for name in module.__all__
        if not isinstance(getattr(module, name), ModuleType) and name != "__version__"
    }
    reference = (ROOT / "docs" / "api.rst").read_text()
    _, *sections = re.split(r"^\.\. currentmodule:: (\S+)$", reference, flags=re.M)
    listed = [
        f"{module}.{name}"
        for module, text in zip(sections[::2], sections[1::2], strict=True)
        for name in re.findall(r"^   (\w+)$", text, re.MULTILINE)
    ]
    assert sorted(listed) == sorted(public)


def test_code_of_getting_started_runs():
    failed, attempted = doctest.testfile(
        str(ROOT / "docs" / "getting_started.rst"), module_relative=False
    )
    assert attempted > 10
    assert failed == 0


def test_changelog_and_package_agree_on_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert versions[0] == "Unreleased" or versions[0] == sksoftmax.__version__


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/scaling_out.md"]
)
def test_paths_that_a_page_names_exist(name):
    text = (ROOT / name).read_text()
    paths = re.findall(r"(?<![\w/.:])(?:tests|examples|docs)(?:/\w+)+\.\w+", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
# Files at the address of the sources, for people and for pictures.
BLOB = f"{URLS['Source']}/blob/main/"
RAW = URLS["Source"].replace("//github.com", "//raw.githubusercontent.com") + "/main/"
PAGES = f"{URLS['Documentation']}/en/latest/"


def test_addresses_of_the_project_are_those_of_pyproject():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"repository-code: {URLS['Source']}\n" in citation
    assert f"url: {URLS['Documentation']}\n" in citation
    assert DOCUMENTATION.startswith(f"{URLS['Documentation']}/en/stable/")
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    texts += [p for kind in ("md", "rst") for p in (ROOT / "docs").glob(f"**/*.{kind}")]
    for path in texts:
        if {"auto_examples", "generated", "_build"} & set(path.parts):
            continue
        own = r"https://[\w.]*(?:github|readthedocs)[\w.]*/[^\s)>`]*"
        for url in re.findall(own, path.read_text(encoding="utf-8")):
            if "sksoftmax" in url:
                check_address(url)


def check_address(url):
    r"""Check that what an address of the project names is in the checkout."""
    for start in (BLOB, RAW):
        if url.startswith(start):
            assert (ROOT / url.removeprefix(start)).is_file(), url
            return
    if url.startswith(PAGES):
        name = url.removeprefix(PAGES).partition("#")[0].removesuffix(".html")
        kinds = [(ROOT / "docs" / f"{name}.{kind}") for kind in ("md", "rst")]
        assert any(path.is_file() for path in kinds), url
    else:
        assert url.startswith(tuple(URLS.values())), url


def test_readme_is_short_and_its_pictures_show_on_a_package_index():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme)
    assert len(pictures) == 1
    assert pictures[0].startswith(RAW)


def readme_blocks(language):
    readme = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


def test_readme_has_blocks_of_python_and_bash_only():
    languages = re.findall(
        r"^```(\w*)\n.*?^```", (ROOT / "README.md").read_text(), re.M | re.S
    )
    assert set(languages) <= {"python", "bash"}


@pytest.mark.parametrize("block", readme_blocks("bash"))
def test_readme_command_names_scripts_and_extras_that_exist(block):
    # CI runs the installations, in an environment of its own.
    for line in block.strip().splitlines():
        for script in re.findall(r"python (\S+\.py)", line):
            assert (ROOT / script).is_file()
            ast.parse((ROOT / script).read_text())
        for extras in re.findall(r'pip install -e "?\.(?:\[(\w+)\])?"?', line):
            if extras:
                assert f"\n{extras} = [" in (ROOT / "pyproject.toml").read_text()
