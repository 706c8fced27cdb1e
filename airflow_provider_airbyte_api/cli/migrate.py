"""The command ``migrate``: DAG files of apache-airflow-providers-airbyte, rewritten for this package."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from airflow_provider_airbyte_api._airflow_compat import AirflowException

if TYPE_CHECKING:
    from argparse import Namespace

OFFICIAL = "airflow.providers.airbyte"
"""The package whose users are migrated."""

OTHER_FILES = frozenset({".yaml", ".yml", ".json", ".toml", ".jinja", ".j2"})
"""Suffixes of files in which DAG factories name classes. They are searched and not changed."""


@dataclass
class _File:
    path: Path
    old: bytes
    new: bytes
    notes: list[str] = field(default_factory=list)

    @property
    def diff(self) -> Iterator[str]:
        old, new = (content.decode(errors="replace").splitlines() for content in (self.old, self.new))
        return difflib.unified_diff(old, new, str(self.path), str(self.path), lineterm="", n=1)


def migrate_folder(args: Namespace) -> Callable[[], None]:
    """Return a function that prints what changes. With ``--write``, the files are changed first."""
    root = Path(args.dags_folder)
    if not root.exists():
        raise AirflowException(f"{root} does not exist.")
    files = [file for path in _paths(root) if (file := _read(path, native=args.native)) is not None]
    changed = [file for file in files if file.old != file.new]
    if args.write:
        for file in changed:
            file.path.write_bytes(file.new)
    return lambda: print(*_report(files, changed, written=args.write), sep="\n")


def _paths(root: Path) -> Iterable[Path]:
    if root.is_file():
        return [root]
    found = (path for path in sorted(root.rglob("*")) if path.suffix in {".py", *OTHER_FILES} and path.is_file())
    return (path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def _read(path: Path, *, native: bool) -> _File | None:
    """Return the file with its new content, or None if it does not name the official provider."""
    old = path.read_bytes()
    if OFFICIAL.encode() not in old:
        return None
    if path.suffix in OTHER_FILES:
        lines = [number for number, line in enumerate(old.splitlines(), 1) if OFFICIAL.encode() in line]
        return _File(path, old, old, [f"{path}:{line}: names {OFFICIAL}: change it by hand." for line in lines])
    codemod = _import_codemod()
    try:
        done = (codemod.to_native if native else codemod.to_drop_in)(old)
    except (codemod.ParserSyntaxError, UnicodeDecodeError) as error:
        return _File(path, old, old, [f"{path}: it is not a valid Python file, and was left unchanged. {error}"])
    return _File(path, old, done.content, [f"{path}:{note.line}: {note.text}" for note in done.notes])


def _report(files: list[_File], changed: list[_File], *, written: bool) -> Iterator[str]:
    for file in files:
        yield from file.diff
    notes = [note for file in files for note in file.notes]
    if notes:
        yield "\nCheck these places:"
        yield from notes
    names = _count(len(files), "file names", "files name")
    verb = "changed" if written else "would change"
    hint = "" if written or not changed else " Add --write to change them."
    yield f"\n{names} {OFFICIAL}: {len(changed)} {verb}, {_count(len(notes), 'place', 'places')} to check.{hint}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _import_codemod() -> ModuleType:
    try:
        from airflow_provider_airbyte_api.cli import codemod  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        raise AirflowException(
            "migrate needs LibCST: pip install 'airflow-provider-airbyte-api[migrate]', also in an environment of its "
            "own that has your DAG files."
        ) from None
    return codemod
