r"""Links of the pages lead somewhere, and each task leads to code that runs."""

import re

import pytest

from .pages import DOCS, GUIDE, PAGES, ROOT, links, name_of, sections

TASKS = DOCS / "how_do_i.md"
NUMBER_OF_TASKS = 40


def target_of(page, link):
    r"""Return the page and the anchor that a link names."""
    path, _, anchor = link.partition("#")
    return ((page.parent / path).resolve() if path else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_pages_and_sections_that_exist(page):
    for _, link in links(page):
        target, anchor = target_of(page, link)
        # Sphinx makes these pages and checks the links to them.
        if {"auto_examples", "generated"} & set(target.parts):
            continue
        assert target.exists(), link
        if anchor:
            assert anchor in sections(target), link


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), *GUIDE], ids=name_of)
def test_scripts_and_tests_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"(?<![\w/.:])(?:tests|examples|docs)(?:/\w+)+\.\w+", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_there_are_forty_tasks_of_one_sentence_each():
    items = re.findall(r"^- (.+)$", TASKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(items) == len(links(TASKS)) == NUMBER_OF_TASKS
    assert len({link for _, link in links(TASKS)}) == NUMBER_OF_TASKS
    for item in items:
        assert re.fullmatch(r"\[[^\]]+[?]\]\(\S+\)", item), item


@pytest.mark.parametrize(("task", "link"), links(TASKS))
def test_a_task_leads_to_a_section_with_code(task, link):
    target, anchor = target_of(TASKS, link)
    assert target in GUIDE
    # tests/docs/test_blocks.py runs it.
    assert "\n```python\n" in sections(target)[anchor]
