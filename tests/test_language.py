"""The words of the package: one for each concept, as in the documentation of Airflow, httpx and stamina."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("airflow_provider_airbyte_api", "benchmarks", "dev", "example_dags")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md")
MAX_WORDS = 30
"""Of a sentence in a docstring. About 25 are the aim; the rest is room for names that are one word each."""

INSTEAD = {
    # time and attempts
    "anew": "again",
    "time-out": "timeout",
    "in the time given": "timed out waiting for …",
    "next try": "retrying",
    "trying again": "retrying",
    "an earlier try": "an earlier attempt",
    "goes? on waiting": "keeps waiting",
    "waiting on for": "waiting for",
    "watching on": "retrying",
    "by now": "in the meantime",
    # polling and events
    "looked at": "polled, checked",
    "looks? at it": "check it",
    "a look at": "a poll of",
    "told (of|apart)": "notified of, distinguished",
    "cannot tell": "could not get …",
    "woken by": "resumed by",
    # responses
    "answers again": "is reachable again",
    "something before": "a server in front of",
    "asks? for credentials": "requires credentials",
    "wants credentials": "requires credentials",
    "speaks https?": "expects http(s)",
    # plain English
    "whoever": "regardless of who …",
    "nobody knows": "is unknown",
    "nobody reads": "unknown",
    "at the most": "at most",
    "all the same": "anyway; the same",
    "beside": "as well as",
    "that it is none": "that it is not one",
    "is none of": "is not one of",
    "such a one": "one",
    "runs already": "is already running",
    "be over": "have finished",
    "is like that": "is up to date",
    "read along": "intercept",
    "in the clear": "unencrypted",
    "a schedule of its own": "is also scheduled",
    "to be found": "is listed",
    "mean the same": "are exclusive",
    "rendered to nothing": "rendered to an empty value",
    "is no (JSON|URL|list)": "is not a …",
    "has met trouble": "failed",
}
"""Words that the project does not write, as regular expressions, and what it writes instead."""

NAMES = {
    "say": "log",
    "said": "message",
    "told": "emitted",
    "look": "poll",
    "glance": "request",
    "news": "update",
    "heed": "check",
    "wish": "request",
    "pause": "delay",
    "patience": "timeout",
    "away": "unreachable",
    "began": "started_at",
    "woken": "resumed",
    "obeyed": "handled",
    "whoever": "any",
    "somebody": "user",
    "trouble": "error",
}
"""Words that are no part of a name, and a word to use instead."""


def modules() -> list[Path]:
    return sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))


def modules_of_tests() -> list[Path]:
    """Return the modules of which only the names of tests are checked."""
    return sorted((ROOT / "tests").rglob("test_*.py"))


def pages() -> list[Path]:
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each comment, docstring and string of a module, or of a page as a whole."""
    source = path.read_text()
    if path.suffix == ".md":
        yield 1, source
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything that a module defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line of each docstring of a module, with its sentences. Tables and trees have none."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for paragraph in re.split(r"\n\s*\n|\n\s*(?=:\w+|[-*] )", ast.get_docstring(node) or ""):
            if "===" not in paragraph and "├" not in paragraph:
                for sentence in re.split(r"(?<=[.:])\s+", paragraph):
                    yield node.body[0].lineno, sentence


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("path", [*modules(), *pages()], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_has_no_word_outside_of_the_vocabulary(path: Path) -> None:
    found = [
        f"{where(path, first + text[: match.start()].count(chr(10)))}: {match[0]!r}, write {instead!r}"
        for first, text in texts(path)
        for word, instead in INSTEAD.items()
        for match in re.finditer(rf"\b{word}\b".replace(" ", r"\s+"), text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", [*modules(), *modules_of_tests()], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_name_has_no_word_outside_of_the_vocabulary(path: Path) -> None:
    found = [
        f"{where(path, line)}: {name}, name it {NAMES[word.lower()]!r}"
        for line, name in names(path)
        if path not in modules_of_tests() or name.startswith("test_")
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
        if word.lower() in NAMES
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_sentence_of_a_docstring_is_short(path: Path) -> None:
    found = [
        f"{where(path, line)}: {len(sentence.split())} words, at most {MAX_WORDS}: {sentence}"
        for line, sentence in sentences(path)
        if len(sentence.split()) > MAX_WORDS
    ]
    assert not found, "\n".join(found)
