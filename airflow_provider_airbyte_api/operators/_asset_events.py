"""The asset events of a successful sync: one for each asset, however many tasks waited for the sync.

A task emits an event by adding its asset to the task's outlets before the task ends. Airflow then records the event
without creating an asset, so no conflict is possible. Events under an asset alias create the asset in the transaction
that sets the task's state. If two tasks end together on an asset that is new to Airflow, that fails one of them.
Airflow knows only assets that a DAG names, and a DAG names each asset that it waits for. So no DAG misses an event.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._airflow_compat import Asset
from airflow_provider_airbyte_api._defaults import SYNCS_ASSET

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context
    from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator

OWNER_HEAD_START = 5.0
"""Seconds that a task which only attached to the sync waits for the task that started it."""

MAX_JITTER = 5.0
"""Maximum random delay of attached tasks in seconds, so that the others see the event of the first one."""

POLL_INTERVAL = 1.0
"""Seconds between two polls for another task's event."""

CLAIM_SETTLE_TIME = 1.5
"""Seconds after which a task can see whether a concurrent claim has replaced its own."""

CLOCK_TOLERANCE = timedelta(hours=1)
"""Maximum difference between the clocks of Airbyte and Airflow."""


class AssetEventEmitter:
    """The asset events of one successful job.

    :param task: The operator, whose ``outlets`` are extended.
    :param context: The task's context.
    :param facts: The extra of the events: see :func:`~..api.outcome.build_asset_event_extra`.
    :param owned: True if this task started the job. False if it attached to it, so other tasks may emit the events.
    """

    def __init__(self, task: AirbyteJobOperator, context: Context, facts: Mapping[str, Any], *, owned: bool) -> None:
        ctx: Any = context
        self._task = task
        self._outlet_events = ctx.get("outlet_events")
        self._ti = ctx["ti"]
        self._extra = dict(facts)
        self._owned = owned

    def emit(self, connection_uri: str | None, stream_uris: Iterable[str] = ()) -> None:
        """Emit the events that no other task has emitted. It never raises.

        :param connection_uri: URI of the connection's asset. None: emit only on the task's own ``outlets``.
        :param stream_uris: URIs of the streams' assets.
        """
        if self._outlet_events is None:
            return
        declared = [outlet for outlet in self._task.outlets if isinstance(outlet, Asset)]
        self._emit(declared)
        try:
            known = {asset.uri for asset in declared}
            named = [] if connection_uri is None else _declared_assets(connection_uri, stream_uris, known)
            emitted_before = self._emitted_before([*declared, *(group[0] for group in named)])
        except Exception as error:  # noqa: BLE001 - the sync has succeeded, so the task must not fail
            self._task.log.warning(
                "Could not get the assets that DAGs are scheduled on; their events are not emitted. "
                "The sync itself succeeded. %s: %s",
                type(error).__name__,
                error,
            )
            return
        left = [asset for group in named if group[0] not in emitted_before for asset in group]
        self._emit(left)
        self._task.outlets = [*(each for each in self._task.outlets if each not in emitted_before), *left]
        if emitted_before:
            self._task.log.info("Asset events of job %d are emitted by another task.", self._extra["job_id"])

    def _emit(self, assets: Iterable[Asset]) -> None:
        for asset in assets:
            self._outlet_events[asset].extra.update(self._extra)

    def _emitted_before(self, assets: Sequence[Asset]) -> list[Asset]:
        """Return the ``assets`` that need no event from this task, because another task emits it.

        A task that started the job polls once. A task that attached to it first waits for the task that started it.
        Concurrent tasks agree on one of them. That concerns tasks that attached to a job which no task has started. It
        also concerns tasks that all appear to have started it: Airbyte returns a pending sync for another request.
        """
        pollable = [asset for asset in assets if _airflow_compat.can_limit_events() or asset.name != SYNCS_ASSET]
        until = time.monotonic() + (0.0 if self._owned else OWNER_HEAD_START + random.uniform(0, MAX_JITTER))  # noqa: S311
        while True:
            found = [asset for asset in pollable if self._has_event(asset)]
            if len(found) == len(pollable) or time.monotonic() >= until:
                break
            time.sleep(POLL_INTERVAL)
        return found + self._claimed_by_others([asset for asset in pollable if asset not in found])

    def _has_event(self, asset: Asset) -> bool:
        ended = self._extra["end_time"]
        now = datetime.now(tz=timezone.utc)
        since = (now if ended is None else min(datetime.fromisoformat(ended), now)) - CLOCK_TOLERANCE
        keys = ("job_id", "connection_id")
        return any(
            all(extra.get(key) == self._extra[key] for key in keys)
            for extra in _airflow_compat.event_extras(asset, since)
        )

    def _claimed_by_others(self, assets: Sequence[Asset]) -> list[Asset]:
        """Return the ``assets`` that another task has claimed, and claim the others for this task.

        This is Fischer's mutual exclusion: write a claim, wait longer than a write takes, and check that it is still
        there.
        """
        stores = [(asset, store) for asset in assets if (store := _airflow_compat.asset_state(asset)) is not None]
        if not stores:
            return []
        key = f"airbyte_events_{self._extra['connection_id']}"
        ti, job = self._ti, [self._extra["job_id"], self._extra["start_time"]]
        claim = {"job": job, "task": f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"}

        def is_lost(store: Any) -> bool:
            """Return True if another task has claimed the events of this job. Claims for other jobs do not count."""
            standing = store.get(key)
            return isinstance(standing, dict) and standing.get("job") == job and standing != claim

        lost = []
        for asset, store in stores:
            if is_lost(store):
                lost.append(asset)
            else:
                store.set(key, claim)
        if len(lost) < len(stores):
            time.sleep(CLAIM_SETTLE_TIME)
        return [asset for asset, store in stores if asset in lost or is_lost(store) or self._has_event(asset)]


def _declared_assets(connection_uri: str, stream_uris: Iterable[str], known: set[str]) -> list[list[Asset]]:
    """Return the assets that a DAG names, without duplicates, in groups whose events are emitted together.

    One group is the connection's asset with the asset for all syncs. The other is the streams' assets, which not every
    task emits.
    """
    all_syncs = None if SYNCS_ASSET in known else _airflow_compat.active_asset(name=SYNCS_ASSET)
    of_connection = [*_active([connection_uri], known), *([] if all_syncs is None else [all_syncs])]
    return [group for group in (of_connection, list(_active(stream_uris, known))) if group]


def _active(uris: Iterable[str], known: set[str]) -> Iterator[Asset]:
    found = (_airflow_compat.active_asset(uri=uri) for uri in uris if uri not in known)
    yield from (asset for asset in found if asset is not None)
