r"""The page of troubleshooting quotes the messages of the library, and all of them."""

import ast
import re
from functools import cache

import pytest

from .pages import DOCS, ROOT, sections

PAGE = DOCS / "guide" / "troubleshooting.md"

# Stands for a value in a message.
VALUE = "\0"
# Beginnings of sentences that say what to do.
REMEDY = re.compile(
    r"\b(?:Expected|expected|Pass|Set|Use|Scale|Convert|Install|Increase|Lower|Run|Fit"
    r"|Remove|Leave|Check|Encode|Load|Save|Start|Delete|Call|Drop) "
)
# Modules whose errors reach users of the library only if it has a bug, or whose callers
# are modules of this package.
INTERNAL = ("_convex/", "modules/_table_input.py", "modules/_layers.py")


def text_of(node):
    r"""Return the text of an expression, with VALUE for what is not constant."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.BinOp):
        return text_of(node.left)
    return VALUE


@cache
def messages():
    r"""Return {place: message} of each error and warning that is raised with a text."""
    found = {}
    for path in sorted((ROOT / "sksoftmax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not (isinstance(call, ast.Call) and call.args):
                continue
            is_warning = ast.unparse(call.func) == "warnings.warn"
            if isinstance(node, ast.Raise) or is_warning:
                where = f"{path.relative_to(ROOT / 'sksoftmax')}:{node.lineno}"
                found[where] = text_of(call.args[-1 if not is_warning else 0])
    return found


@cache
def constants():
    r"""Return the texts of the package: of messages that are put together elsewhere."""
    found = []
    for path in sorted((ROOT / "sksoftmax").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        texts = ast.Constant | ast.JoinedStr | ast.BinOp
        found += [
            text_of(node)
            for node in ast.walk(tree)
            if isinstance(node, texts) and node not in docstrings
        ]
    return found


def quotes():
    r"""Return the messages that the page quotes, one for each item or more."""
    found = []
    for name, section in sections(PAGE).items():
        if name.startswith("messages-about"):
            for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]:
                quoted = re.match(r"(?:`[^`]+`,?\s*)+(?=:)", " ".join(item.split()))
                assert quoted, item
                found += re.findall(r"`([^`]+)`", quoted[0])
    return found


def is_quoted(message, quote):
    r"""Return whether the parts of a quote, between its dots, are in a message."""
    position = 0
    for part in quote.split("..."):
        position = message.find(part.strip(), position)
        if position < 0:
            return False
    return True


QUOTES = quotes()


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_in_the_package(quote):
    assert len(quote.replace(".", "").strip()) > 4
    assert any(is_quoted(text, quote) for text in constants())


def test_every_message_with_a_remedy_is_quoted():
    missing = {
        place: message.replace(VALUE, "...")
        for place, message in messages().items()
        if REMEDY.search(message)
        and not place.startswith(INTERNAL)
        and not any(is_quoted(message, quote) for quote in QUOTES)
    }
    assert missing == {}
