"""The trigger for asset watchers: it tells of each sync that finishes, whoever started it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.defaults import AIRBYTE_CONN_ID, POLL_INTERVAL, at_least_min_poll_interval
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAuthenticationError,
    AirbyteConfigError,
    AirbyteError,
    may_heal,
)
from airflow_provider_airbyte_api.api.finding import Filter
from airflow_provider_airbyte_api.api.jobs import get_job
from airflow_provider_airbyte_api.api.models import FINISHED, Connection, Job, valid_uuid
from airflow_provider_airbyte_api.api.retry import ONCE
from airflow_provider_airbyte_api.api.safe import safe_float, safe_repr
from airflow_provider_airbyte_api.api.verdict import facts_of
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import Settings
from airflow_provider_airbyte_api.triggers import rows
from airflow_provider_airbyte_api.triggers.lookups import settings_for
from airflow_provider_airbyte_api.watch.feed import Batch, Listener
from airflow_provider_airbyte_api.watch.poller import OVERLAP
from airflow_provider_airbyte_api.watch.shared import CONNECTION_KEPT, Watch, watching
from airflow_provider_airbyte_api.watch.tasks import jitter

try:
    from airflow.triggers.shared_stream import SharedStreamProducer
except ImportError:  # Airflow before 3.3
    SharedStreamProducer = object  # type: ignore[assignment,misc]

SAVED_EVERY = 300.0
"""Seconds after which a cursor is saved although nothing has happened, so that a restart has little to look through."""

LONGEST_PAUSE = 300.0
"""Seconds between two tries while something is wrong. A watcher must never give up: nobody would start it again."""

RESOLVED_FOR = 600.0
"""Seconds for which a name stands for the same thing, and an Airflow connection is taken to be as it was."""

MOST_TRIES = 5
"""Tries to learn more of a job before it is told of without."""

JOB_TYPES = frozenset({"sync", "reset", "clear", "refresh"})
"""What the API knows. It makes a reset of each clear."""

MOST_UNDER_WAY = 200
"""Events that Airflow may still have to store."""


@dataclass(frozen=True)
class Cursor:
    """How far a watcher has come: it knows all that had changed at ``since``, in seconds since the epoch.

    ``told`` are the jobs of which it has told since a moment before that, each with when it ended.
    """

    since: float
    told: Mapping[int, float] = field(default_factory=dict)

    def is_news(self, job: Job) -> bool:
        """Tell whether ``job`` has not been told of."""
        return job.job_id not in self.told and job.ended_at >= self.since - OVERLAP

    def after(self, job: Job, server_time: float = math.inf) -> Cursor:
        """Return the cursor once ``job`` has been told of, and all that ended before it.

        A job that claims to have ended later than ``server_time`` does not take it beyond that.
        """
        return Cursor(self.since, {**self.told, job.job_id: job.ended_at}).at(min(job.ended_at, server_time))

    def at(self, server_time: float) -> Cursor:
        """Return the cursor once all is told of that had changed at ``server_time``."""
        told = {job_id: ended_at for job_id, ended_at in self.told.items() if ended_at >= server_time - OVERLAP}
        return Cursor(max(self.since, server_time), told)

    def dump(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"since": self.since, "told": {str(job_id): ended_at for job_id, ended_at in self.told.items()}}

    @classmethod
    def load(cls, value: Any) -> Cursor | None:
        """Return what :meth:`dump` wrote; None if it is nothing of that kind."""
        try:
            return cls(_moment(value["since"]), {int(name): _moment(moment) for name, moment in value["told"].items()})
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


Happening: TypeAlias = tuple[dict[str, Any] | None, Cursor]
"""What is to be told, or None where only time has passed; and how far that is."""


class AirbyteSyncEventTrigger(BaseEventTrigger):
    """Fires once for each sync that finishes, be it Airflow's, Airbyte's own schedule's or a person's.

    For Airflow's ``AssetWatcher`` (3.0 and newer). What is None lets all pass; what is given has to hold together. All
    such triggers that watch one Airbyte share one poll. The event is a dict: see the documentation of the events.

    On Airflow 3.3 and newer it goes on after a restart where it was: how far it has come is kept with the asset, once
    Airflow has stored the event. On older ones a restart begins anew with what finishes then.

    :param connection_id: only syncs of this Airbyte connection; or else
    :param connection_name: the same by name.
    :param workspace_id: only syncs in this workspace.
    :param workspace_name: the same by name.
    :param tags: only syncs of connections with one of these tags, by name or by id (Airbyte 1.6 and newer).
    :param statuses: how they have to have ended: of ``succeeded``, ``failed`` and ``cancelled``.
    :param job_types: which jobs: of ``sync``, ``reset``, ``clear`` and ``refresh``.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param from_row: whether :meth:`serialize` gave the arguments. What cannot be used is logged then.
    :param unknown: arguments of another version: ignored in a row.
    :raises AirbyteConfigError: for an argument that cannot be used, unless ``from_row``.
    """

    def __init__(
        self,
        *,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_id: str | None = None,
        workspace_name: str | None = None,
        tags: str | Iterable[str] | None = None,
        statuses: str | Iterable[str] = ("succeeded",),
        job_types: str | Iterable[str] = ("sync",),
        airbyte_conn_id: str = AIRBYTE_CONN_ID,
        poll_interval: float = POLL_INTERVAL,
        from_row: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.tags = _words(tags)
        self.statuses = _words(statuses)
        self.job_types = _words(job_types)
        self.airbyte_conn_id = airbyte_conn_id
        self.poll_interval = poll_interval
        self._tries: dict[int, int] = {}
        problem = rows.check(type(self).__name__, unknown, self._require_sense, self.log, from_row=from_row)
        if problem is not None:
            # A watcher that ends is started again at once, and again. So it does what it can.
            self.log.error("%s", problem)
            self.poll_interval = safe_float(poll_interval) or POLL_INTERVAL

    def _require_sense(self) -> None:
        for name in ("connection_id", "workspace_id"):
            if getattr(self, name) is not None:
                setattr(self, name, valid_uuid(getattr(self, name), name))
        if self.connection_id is not None and self.connection_name is not None:
            raise AirbyteConfigError(
                f"connection_id is {self.connection_id!r} and connection_name {self.connection_name!r}: give one."
            )
        if not self.statuses or not set(self.statuses) <= FINISHED:
            raise AirbyteConfigError(f"statuses is {self.statuses!r}, expected some of {', '.join(sorted(FINISHED))}.")
        if not self.job_types or not set(self.job_types) <= JOB_TYPES:
            raise AirbyteConfigError(
                f"job_types is {self.job_types!r}, expected some of {', '.join(sorted(JOB_TYPES))}."
            )
        self.poll_interval = rows.interval(self.poll_interval)
        rows.text(self.airbyte_conn_id, "airbyte_conn_id")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what to build this trigger of again. Airflow tells watchers apart by it."""
        return (
            "airflow_provider_airbyte_api.triggers.airbyte.AirbyteSyncEventTrigger",
            {
                "connection_id": self.connection_id,
                "connection_name": self.connection_name,
                "workspace_id": self.workspace_id,
                "workspace_name": self.workspace_name,
                "tags": self.tags,
                "statuses": self.statuses,
                "job_types": self.job_types,
                "airbyte_conn_id": self.airbyte_conn_id,
                "poll_interval": self.poll_interval,
                **rows.FROM_ROW,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each sync that finishes, for ever. For Airflow before 3.3, which keeps no cursor."""
        async with aclosing(self.happenings(None)) as happenings:
            async for facts, _ in happenings:
                if facts is not None:
                    yield TriggerEvent(facts)  # type: ignore[no-untyped-call] # Airflow's

    # -- what Airflow 3.3 and newer run instead ------------------------------------------------------------------

    def shared_stream_key(self) -> Hashable | None:
        """Return a key of this trigger's own, where Airflow can tell when an event is stored.

        It is not the poll that is shared by it: all triggers share that anyway, on any Airflow.
        """
        if self.asset_state_store is None or SharedStreamProducer is object:
            return None
        # The producer is made from the arguments alone, and needs to know where the cursor is kept.
        _STORES[self._stream_key] = _Store(self.asset_state_store, self._cursor_key)
        return self._stream_key

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return what finds the events, and is told when Airflow has stored them."""
        trigger = cls(**kwargs)
        return _Producer(trigger, _STORES.pop(trigger._stream_key))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each sync that the producer has found."""
        async for facts in shared_stream:
            yield TriggerEvent(facts)  # type: ignore[no-untyped-call] # Airflow's

    @property
    def _stream_key(self) -> str:
        return _digest(self.serialize()[1])

    @property
    def _cursor_key(self) -> str:
        """The cursor's name. It does not depend on how often one looks, which may be changed."""
        return _digest({name: value for name, value in self.serialize()[1].items() if name != "poll_interval"})

    @property
    def _interval(self) -> float:
        return at_least_min_poll_interval(self.poll_interval)

    # -- finding them --------------------------------------------------------------------------------------------

    async def happenings(self, cursor: Cursor | None) -> AsyncGenerator[Happening, None]:
        """Yield what is to be told of, each with how far that is; None where only time has passed.

        It never ends and never raises: Airflow would start a watcher that failed again at once, and again.
        """
        troubles = 0
        while True:
            try:
                settings = await settings_for(self.airbyte_conn_id)
                async with watching(settings) as watch, aclosing(self._listen(watch, settings, cursor)) as found:
                    async for facts, reached in found:
                        cursor, troubles = reached, 0
                        yield facts, reached
            except Exception as error:  # noqa: BLE001 - see above
                troubles += 1
                pause = min(self._interval * 2.0 ** min(troubles - 1, 10), LONGEST_PAUSE) * jitter()
                # Airflow's own errors name the connection, and ours hold no secret.
                self.log.warning("Watching Airbyte has met trouble, next try in %.0f s. %s", pause, error)
                await CLOCK.asleep(pause)

    async def _listen(self, watch: Watch, settings: Settings, cursor: Cursor | None) -> AsyncGenerator[Happening, None]:
        """Yield what happens, until somebody else is to be watched, or in another way."""
        connection, workspace_id = await self._whom_to_watch(watch)
        look_again_at = CLOCK.monotonic() + RESOLVED_FOR * jitter()
        since = None if cursor is None else cursor.since
        with watch.finished_jobs(workspace_id, since, self._interval) as listener:
            while True:
                batch = await self._next(listener, settings)
                if batch is None:
                    return
                wanted = [job for job in batch.jobs if self._wants(job, connection)]
                if cursor is None:
                    # What had finished before is no news.
                    cursor = Cursor(batch.server_time, {job.job_id: job.ended_at for job in wanted})
                for job in filter(cursor.is_news, wanted):
                    facts = await self._facts(watch, job)
                    cursor = cursor.after(job, batch.server_time)
                    if facts is not None:
                        yield facts, cursor
                cursor = cursor.at(batch.server_time)
                yield None, cursor
                if CLOCK.monotonic() >= look_again_at:
                    look_again_at = CLOCK.monotonic() + RESOLVED_FOR * jitter()
                    if await self._leads_elsewhere(settings):
                        return
                    if self._names_something and await self._whom_to_watch(watch) != (connection, workspace_id):
                        return

    async def _leads_elsewhere(self, settings: Settings) -> bool:
        """Tell whether the Airflow connection has been changed."""
        try:
            return await settings_for(self.airbyte_conn_id) != settings
        except Exception as error:  # noqa: BLE001 - the one that is known is as good, for now
            self.log.info("The Airflow connection cannot be looked up; watching on. %s", error)
            return False

    async def _next(self, listener: Listener, settings: Settings) -> Batch | None:
        """Return the next batch; None if the Airflow connection leads elsewhere by now.

        That Airbyte is away is waited out here: the feed knows when to ask again.
        """
        is_away = False
        while True:
            try:
                batch = await listener.next()
            except AirbyteError as error:
                if not may_heal(error):
                    raise
                if not is_away:
                    self.log.warning("Airbyte cannot tell what has finished; watching on. %s", error)
                is_away = True
                if await self._leads_elsewhere(settings):
                    return None
            else:
                if is_away:
                    self.log.info("Airbyte answers again.")
                return batch

    @property
    def _names_something(self) -> bool:
        return self.connection_name is not None or self.workspace_name is not None

    async def _whom_to_watch(self, watch: Watch) -> tuple[str | None, str | None]:
        """Return the ids of the one connection, if it is one, and of the workspace, if it is one."""
        if self.connection_id is not None or self.connection_name is not None:
            which = (self.connection_id, self.connection_name, self.workspace_id, self.workspace_name)
            found = await watch.ask(resources.find_connection(*which, ONCE))
            return found.connection_id, found.workspace_id or None
        if self.workspace_name is not None:
            (workspace_id,) = await watch.ask(resources.workspaces_named([self.workspace_name], ONCE))
            return None, workspace_id
        return None, self.workspace_id

    async def _facts(self, watch: Watch, job: Job) -> dict[str, Any] | None:
        """Return what is to be told of a job; None if its connection does not have the tags.

        What Airbyte cannot tell of it is left out after some tries: others shall not wait for that.
        """
        connection: Connection | None = None
        try:
            connection = await watch.connection(job.connection_id, self.poll_interval if self.tags else CONNECTION_KEPT)
            if job.rows_synced is None:
                # Some servers leave the numbers out of their lists.
                found = await watch.ask(get_job(job.job_id, ONCE))
                job = found if found.status == job.status else job  # a replica that lags may show it as running
        except AirbyteAuthenticationError:
            raise
        except AirbyteError as error:
            self._tries[job.job_id] = self._tries.get(job.job_id, 0) + 1
            if may_heal(error) and self._tries[job.job_id] < MOST_TRIES:
                raise
            self.log.warning("Not all is known of job %d. %s", job.job_id, error)
            connection = watch.last_known_connection(job.connection_id)
        self._tries.pop(job.job_id, None)
        if self.tags and connection is None:
            self.log.warning("Job %d is not told of: nobody knows the tags of its connection.", job.job_id)
        if not self._is_tagged(connection):
            return None
        if connection is None or not connection.workspace_id:
            return facts_of(job, None, "" if connection is None else connection.name, None)
        url = watch.root.job_url(connection.workspace_id, connection.connection_id, job.job_id)
        return facts_of(job, url, connection.name, connection.workspace_id)

    def _is_tagged(self, connection: Connection | None) -> bool:
        return not self.tags or (connection is not None and Filter(tags=tuple(self.tags)).lets_pass(connection))

    def _wants(self, job: Job, connection_id: str | None) -> bool:
        return (
            job.status in self.statuses
            and (job.job_type in self.job_types or (job.job_type == "reset" and "clear" in self.job_types))
            and connection_id in (None, job.connection_id)
        )


def _digest(arguments: Mapping[str, Any]) -> str:
    said = json.dumps(arguments, sort_keys=True).encode()
    return f"airbyte_sync_events_{hashlib.sha256(said).hexdigest()[:16]}"


class _Store:
    """Where a cursor is kept: with the assets that are watched, of which one trigger may have several."""

    def __init__(self, accessors: Any, key: str) -> None:
        # With more than one asset Airflow wants to know which, and does not tell a trigger their names.
        self._places = list(getattr(accessors, "_by_name", {}).values()) or [accessors]
        self._key = key

    async def load(self, log: Any) -> Cursor | None:
        """Return the cursor that has come farthest, None if there is none yet. It waits until Airflow can tell."""
        pause = 1.0
        while True:
            try:
                values = [await place.aget(self._key) for place in self._places]
            except Exception as error:  # noqa: BLE001 - to begin anew would lose events
                log.warning("How far this watcher has come cannot be read, next try in %.0f s. %s", pause, error)
                await CLOCK.asleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                cursors = filter(None, map(Cursor.load, values))
                return max(cursors, key=lambda cursor: (cursor.since, len(cursor.told)), default=None)

    async def save(self, cursor: Cursor, log: Any) -> None:
        """Keep ``cursor``."""
        for place in self._places:
            try:
                await place.aset(self._key, cursor.dump())
            except Exception as error:  # noqa: BLE001 - an asset may be gone, and the others are not
                log.warning("How far this watcher has come cannot be kept with %r. %s", place, error)


class _Producer(SharedStreamProducer):
    """Finds the events of one trigger, and moves its cursor once Airflow has stored them."""

    def __init__(self, trigger: AirbyteSyncEventTrigger, store: _Store) -> None:
        self._trigger = trigger
        self._store = store
        self._under_way = 0
        self._has_lost_one = False
        self._advanced = asyncio.Event()
        self._saved_at = 0.0

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield each event with the cursor that it leads to."""
        cursor = await self._store.load(self._trigger.log)
        async with aclosing(self._trigger.happenings(cursor)) as happenings:
            async for facts, reached in happenings:
                if facts is not None:
                    self._under_way += 1
                    yield facts, reached
                elif not self._under_way and not self._has_lost_one and CLOCK.time() >= self._saved_at + SAVED_EVERY:
                    await self._save(reached)
                while self._under_way >= MOST_UNDER_WAY:
                    self._advanced.clear()
                    await self._advanced.wait()

    async def advance(self, batch: Sequence[Any]) -> None:
        """Keep how far the events have come that Airflow has stored."""
        stored = list(itertools.takewhile(lambda item: item.outcome.is_clean, batch))
        if stored and not self._has_lost_one:
            await self._save(stored[-1].broker_payload)
        # Airflow ends this producer then, and the next one tells of it again.
        self._has_lost_one = self._has_lost_one or len(stored) < len(batch)
        self._under_way -= len(batch)
        self._advanced.set()

    async def _save(self, cursor: Cursor) -> None:
        self._saved_at = CLOCK.time()
        await self._store.save(cursor, self._trigger.log)


def _words(value: object) -> list[str]:
    if value is None or isinstance(value, str):
        return [] if value is None else [value]
    return sorted({str(each) for each in value} if isinstance(value, Iterable) else [safe_repr(value)])


def _moment(value: object) -> float:
    moment = safe_float(value)
    if moment is None:
        raise ValueError(value)
    return moment


_STORES: dict[str, _Store] = {}
"""Where the cursors of triggers are kept whose producers are about to be made."""
