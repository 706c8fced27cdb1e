"""Filter connections, sources, destinations and workspaces by name and by other fields that Airbyte does not filter by.

Airbyte has no search, so lists are read completely and filtered page by page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

from airflow_provider_airbyte_api.api import checks
from airflow_provider_airbyte_api.api.flow import Flow, collect
from airflow_provider_airbyte_api.api.models import Destination, Source, Tag, parse_uuid
from airflow_provider_airbyte_api.exceptions import AirbyteResourceLookupError
from airflow_provider_airbyte_api.types import ConnectionStatus

MAX_SUGGESTIONS = 5
"""Maximum number of similar names in the error for a name that does not exist."""


class HasName(Protocol):
    """An object with a name."""

    @property
    def name(self) -> str:
        """Its name."""


N = TypeVar("N", bound=HasName)


@dataclass(frozen=True)
class ResourceFilter:
    """Conditions for rows. A field that is None or empty matches every row.

    ``name`` is an exact name, ``name_pattern`` a pattern with ``*``, ``?`` and ``[…]``. Both are case-sensitive, and
    compare the composed forms of accented letters (Unicode NFC). ``connector_type`` is the type of a source or
    destination, not case-sensitive. ``tags`` are names or ids; a connection needs to have one of them.
    """

    name: str | None = None
    name_pattern: str | None = None
    connector_type: str | None = None
    status: str | None = None
    tags: tuple[str, ...] = ()
    source_id: str | None = None
    destination_id: str | None = None

    def matches(self, row: Any) -> bool:
        """Return True if ``row`` fulfils all conditions."""
        return (
            (self.name is None or composed(self.name) == composed(row.name))
            and (self.name_pattern is None or fnmatchcase(composed(row.name), composed(self.name_pattern)))
            and (self.connector_type is None or self.connector_type.casefold() == _connector_type(row).casefold())
            and (self.status is None or self.status == row.status)
            and (not self.tags or any(self._names(tag) for tag in row.tags))
            and (self.source_id is None or self.source_id == row.source_id)
            and (self.destination_id is None or self.destination_id == row.destination_id)
        )

    def _names(self, tag: Tag) -> bool:
        wanted = set(map(composed, self.tags))
        return composed(tag.name) in wanted or tag.tag_id in {each.lower() for each in wanted}


def filter_of(
    *,
    name: object = None,
    name_pattern: object = None,
    kind: object = None,
    kind_name: str = "kind",
    status: object = None,
    tags: object = (),
    source_id: object = None,
    destination_id: object = None,
) -> ResourceFilter:
    """Return the filter for a user's values.

    A value that can match nothing is an error, because an empty list would look like success.

    :param kind_name: the name of the argument ``kind`` in error messages.
    :raises AirbyteConfigError: for a value of another type, an unknown status, or an id that is not a UUID.
    """
    return ResourceFilter(
        name=None if name is None else checks.parse_text(name, "name"),
        name_pattern=None if name_pattern is None else checks.parse_text(name_pattern, "name_pattern"),
        connector_type=None if kind is None else checks.parse_text(kind, kind_name),
        status=None if status is None else checks.parse_choice(status, "status", tuple(ConnectionStatus)),
        tags=checks.parse_texts(tags, "tags"),
        source_id=None if source_id is None else parse_uuid(source_id, "source_id"),
        destination_id=None if destination_id is None else parse_uuid(destination_id, "destination_id"),
    )


def composed(text: str) -> str:
    """Return ``text`` in Unicode's NFC: macOS and some keyboards write an accent as a separate character."""
    return unicodedata.normalize("NFC", text)


def _connector_type(row: Source | Destination) -> str:
    return row.source_type if isinstance(row, Source) else row.destination_type


def find_one_by_name(listing: Flow[None], name: str, resource_label: str, get_id: Callable[[Any], str]) -> Flow[Any]:
    """Return the one row of ``listing`` whose name is ``name``.

    :param resource_label: the kind of the rows for the error message, such as "Airbyte connection".
    :raises AirbyteResourceLookupError: if there is none, with similar names, or if there are several, with their ids.
    """
    rows: Sequence[Any] = yield from collect(listing)
    found = [row for row in rows if composed(row.name) == composed(name)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(get_id(row) for row in found))
        raise AirbyteResourceLookupError(
            f"There are {len(found)} {resource_label}s named {name!r}: {ids}. "
            "Use the id of one of them, or set its workspace."
        )
    raise AirbyteResourceLookupError(f"There is no {resource_label} named {name!r}. {_suggestions(rows, name, get_id)}")


def _suggestions(rows: Iterable[N], name: str, get_id: Callable[[Any], str]) -> str:
    rows = list(rows)
    if not rows:
        return "The application's user has access to none."
    by_folded = {composed(row.name).casefold(): row for row in rows}
    near = get_close_matches(composed(name).casefold(), by_folded, n=MAX_SUGGESTIONS, cutoff=0.3)
    shown = [by_folded[each] for each in near] or sorted(rows, key=lambda row: row.name)[:MAX_SUGGESTIONS]
    names = ", ".join(f"{row.name!r} ({get_id(row)})" for row in shown)
    return f"{'Similar names:' if near else f'There are {len(rows)}, such as'} {names}."
