"""The examples in README and in docs/, run as they stand there."""

from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path

from sybil import Sybil
from sybil.parsers import markdown, rest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE
_KINDS = {
    ".md": Sybil([markdown.PythonCodeBlockParser(doctest_optionflags=_FLAGS)]),
    ".rst": Sybil([rest.DocTestParser(_FLAGS), rest.PythonCodeBlockParser()]),
}


def run(page):
    """Runs a page from top to bottom; returns what it has defined."""
    document = _KINDS[page.suffix].parse(page)
    for example in document.examples():
        example.evaluate()
    return document.namespace
