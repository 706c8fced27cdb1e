"""Finding connections, sources, destinations and workspaces by name and other things that Airbyte does not filter by.

Airbyte has no search: lists are read whole, and filtered page by page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

from airflow_provider_airbyte_api.api import checks
from airflow_provider_airbyte_api.api.conversation import Conversation, gathered
from airflow_provider_airbyte_api.api.errors import AirbyteNameError
from airflow_provider_airbyte_api.api.models import Destination, Source, Tag, valid_uuid

CONNECTION_STATUSES = ("active", "inactive", "locked", "deprecated")
"""What Airbyte connections can be filtered by."""

CANDIDATES = 5
"""How many of the nearest names are shown where one is not there."""


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Its name."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True)
class Filter:
    """What rows have to be like; what is None or empty lets all pass.

    ``name`` is exact, ``name_pattern`` has ``*``, ``?`` and ``[…]`` in it; both tell capitals from small letters, and
    neither tells a letter with its accent from a letter and an accent (Unicode NFC). ``kind`` is a source's or
    destination's type, in any case. ``tags`` are names or ids, one of which a connection has to have.
    """

    name: str | None = None
    name_pattern: str | None = None
    kind: str | None = None
    status: str | None = None
    tags: tuple[str, ...] = ()
    source_id: str | None = None
    destination_id: str | None = None

    def lets_pass(self, row: Any) -> bool:
        """Tell whether ``row`` is one of those."""
        return (
            (self.name is None or composed(self.name) == composed(row.name))
            and (self.name_pattern is None or fnmatchcase(composed(row.name), composed(self.name_pattern)))
            and (self.kind is None or self.kind.casefold() == _kind_of(row).casefold())
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
) -> Filter:
    """Return a filter of what a user gave. A value that can match nothing is refused: an empty list looks like success.

    :param kind_name: what the user knows ``kind`` as.
    :raises AirbyteConfigError: for a value of another type, a status that does not exist, or an id that is no UUID.
    """
    return Filter(
        name=None if name is None else checks.text(name, "name"),
        name_pattern=None if name_pattern is None else checks.text(name_pattern, "name_pattern"),
        kind=None if kind is None else checks.text(kind, kind_name),
        status=None if status is None else checks.one_of(status, "status", CONNECTION_STATUSES),
        tags=checks.texts(tags, "tags"),
        source_id=None if source_id is None else valid_uuid(source_id, "source_id"),
        destination_id=None if destination_id is None else valid_uuid(destination_id, "destination_id"),
    )


def composed(text: str) -> str:
    """Return ``text`` in Unicode's NFC: macOS and some keyboards write an accent as a character of its own."""
    return unicodedata.normalize("NFC", text)


def _kind_of(row: Source | Destination) -> str:
    return row.source_type if isinstance(row, Source) else row.destination_type


def the_one(listing: Conversation[None], name: str, what: str, id_of: Callable[[Any], str]) -> Conversation[Any]:
    """Return the one row of ``listing`` whose name is ``name``.

    :param what: what the rows are, for the error: "Airbyte connection", say.
    :raises AirbyteNameError: if there is none, with the nearest names, or more than one, with their ids.
    """
    rows: Sequence[Any] = yield from gathered(listing)
    found = [row for row in rows if composed(row.name) == composed(name)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(id_of(row) for row in found))
        raise AirbyteNameError(
            f"There are {len(found)} {what}s named {name!r}: {ids}. Use the id of one of them, or name its workspace."
        )
    raise AirbyteNameError(f"There is no {what} named {name!r}. {_nearest(rows, name, id_of)}")


def _nearest(rows: Iterable[N], name: str, id_of: Callable[[Any], str]) -> str:
    rows = list(rows)
    if not rows:
        return "There is none at all that the application's user may see."
    by_folded = {composed(row.name).casefold(): row for row in rows}
    near = get_close_matches(composed(name).casefold(), by_folded, n=CANDIDATES, cutoff=0.3)
    shown = [by_folded[each] for each in near] or sorted(rows, key=lambda row: row.name)[:CANDIDATES]
    names = ", ".join(f"{row.name!r} ({id_of(row)})" for row in shown)
    return f"{'The nearest are' if near else f'There are {len(rows)}, such as'} {names}."
