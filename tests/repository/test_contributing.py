r"""CONTRIBUTING.md, CITATION.cff and the workflows agree with the repository."""

import re
import tomllib
from pathlib import Path

import pytest

import sksoftmax

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WORKFLOW = (ROOT / ".github/workflows/tests.yml").read_text()


def table_rows(header):
    r"""Return the cells of each row of the table whose header line begins so."""
    _, _, table = CONTRIBUTING.partition(f"{header}\n")
    lines = table.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


CHANGES = table_rows("| change | files to open | tests |")


def test_there_is_a_table_of_changes():
    assert len(CHANGES) > 10


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change[0])
def test_a_change_opens_at_most_three_files_that_exist(change):
    name, files, tests = change
    paths = re.findall(r"(new )?`([\w./]+)`", files)
    assert 1 <= len(paths) <= (1 if '"auto"' in name or "default" in name else 3)
    for is_new, path in paths:
        if is_new:
            assert (ROOT / path).parent.is_dir()
            assert not (ROOT / path).exists()
        else:
            assert (ROOT / path).is_file()
    for path in re.findall(r"`([\w./]+)`", tests):
        assert (ROOT / path).exists()


def test_folders_of_the_map_are_those_of_the_package():
    _, _, text = CONTRIBUTING.partition("```text\n")
    named = re.findall(r"\b(\w+)/ ", text.partition("```")[0])
    folders = {path.parent.name for path in (ROOT / "sksoftmax").glob("*/__init__.py")}
    assert set(named) == folders


def test_test_that_is_an_example_exists():
    path, name = re.search(r"^pytest -n 0 (\S+)::(\w+)$", CONTRIBUTING, re.M).groups()
    assert f"def {name}(" in (ROOT / path).read_text()


def test_citation_has_the_version_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.M)[1] == sksoftmax.__version__
    assert re.search(r"^license: (.+)$", citation, re.M)[1] == PROJECT["license"]


def test_tested_versions_of_python_are_those_declared():
    prefix = "Programming Language :: Python :: "
    declared = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if prefix in c]
    declared = [version for version in declared if re.fullmatch(r"3\.\d+", version)]
    matrices = re.findall(r"python: \[(.+)\]", WORKFLOW)
    assert len(matrices) == 2
    for matrix in matrices:
        assert re.findall(r'"(.+?)"', matrix) == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_paths_that_workflows_name_exist():
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    text = "\n".join(path.read_text() for path in workflows)
    paths = re.findall(r"(?:tests|examples)(?:/\w+)+(?:\.\w+)?", text)
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_extras_that_are_named_exist():
    named = set(re.findall(r'pip install -e "\.\[([\w,]+)\]"', CONTRIBUTING + WORKFLOW))
    extras = {extra for text in named for extra in text.split(",")}
    assert extras
    assert extras <= set(PROJECT["optional-dependencies"])
