"""Finding connections, sources, destinations and workspaces by name and other things that Airbyte does not filter by.

Airbyte has no search: lists are read whole, and filtered page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

from airflow_provider_airbyte_api.api.conversation import Conversation, gathered
from airflow_provider_airbyte_api.api.errors import AirbyteNameError
from airflow_provider_airbyte_api.api.models import Destination, Source

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

    ``name`` is exact, ``name_pattern`` has ``*``, ``?`` and ``[…]`` in it; both tell capitals from small letters.
    ``kind`` is a source's or destination's type. ``tags`` are names or ids, one of which a connection has to have.
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
            (self.name is None or self.name == row.name)
            and (self.name_pattern is None or fnmatchcase(row.name, self.name_pattern))
            and (self.kind is None or self.kind == _kind_of(row))
            and (self.status is None or self.status == row.status)
            and (not self.tags or any({tag.name, tag.tag_id} & set(self.tags) for tag in row.tags))
            and (self.source_id is None or self.source_id == row.source_id)
            and (self.destination_id is None or self.destination_id == row.destination_id)
        )


def _kind_of(row: Source | Destination) -> str:
    return row.source_type if isinstance(row, Source) else row.destination_type


def the_one(listing: Conversation[None], name: str, what: str, id_of: Callable[[Any], str]) -> Conversation[Any]:
    """Return the one row of ``listing`` whose name is ``name``.

    :param what: what the rows are, for the error: "Airbyte connection", say.
    :raises AirbyteNameError: if there is none, with the nearest names, or more than one, with their ids.
    """
    rows: Sequence[Any] = yield from gathered(listing)
    found = [row for row in rows if row.name == name]
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
    by_folded = {row.name.casefold(): row for row in rows}
    near = get_close_matches(name.casefold(), by_folded, n=CANDIDATES, cutoff=0.3)
    shown = [by_folded[each] for each in near] or sorted(rows, key=lambda row: row.name)[:CANDIDATES]
    names = ", ".join(f"{row.name!r} ({id_of(row)})" for row in shown)
    return f"{'The nearest are' if near else f'There are {len(rows)}, such as'} {names}."
