"""All uses of Airflow's internals that differ between Airflow versions.

Each function has a test that runs on each supported Airflow. Call them in a running task only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def active_asset(*, name: str | None = None, uri: str | None = None) -> Asset | None:
    """Return the asset with this name or URI, or None if no DAG names it in its schedule, inlets or outlets."""
    if not AIRFLOW_V_3_0_PLUS:
        dataset: Asset | None = _active_dataset(uri or name or "")
        return dataset
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415 - Airflow 3
    from airflow.sdk.execution_time.context import OutletEventAccessors  # noqa: PLC0415 - as above

    try:
        found: Asset = OutletEventAccessors._get_asset_from_db(name=name, uri=uri)  # noqa: SLF001 - no other way
    except AirflowRuntimeError as error:
        if error.error.error == ErrorType.ASSET_NOT_FOUND:
            return None
        raise
    return found


def can_limit_events() -> bool:
    """Return True if :func:`event_extras` can request the events since a given time instead of all events."""
    if not AIRFLOW_V_3_0_PLUS:
        return True
    from airflow.sdk.execution_time.comms import GetAssetEventByAsset  # noqa: PLC0415 - Airflow 3

    return "after" in GetAssetEventByAsset.model_fields


def event_extras(asset: Asset, since: datetime) -> list[Mapping[str, Any]]:
    """Return the extras of the asset's events since the given time. Older events may be included."""
    if not AIRFLOW_V_3_0_PLUS:
        return _dataset_event_extras(asset.uri, since)
    from airflow.sdk.execution_time.context import InletEventsAccessors  # noqa: PLC0415 - Airflow 3

    events: Any = InletEventsAccessors([asset])[asset]
    if can_limit_events():
        events = events.after(since.isoformat())
    return [event.extra or {} for event in events]


def asset_state(asset: Asset) -> Any:
    """Return Airflow's state store of an asset, with ``get(key)`` and ``set(key, value)``; None before Airflow 3.3.

    It has no transactions: the last write of a key wins.
    """
    try:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor  # noqa: PLC0415 - 3.3 and newer
    except ImportError:
        return None
    return AssetStateStoreAccessor(uri=asset.uri)


def show_map_index(context: Context) -> None:
    """Show the rendered ``map_index_template`` in Airflow's UI now, and not only after the task has finished.

    Airflow before 3.2 does not support this.
    """
    try:
        from airflow.sdk.execution_time.comms import SetRenderedMapIndex  # noqa: PLC0415 - 3.2 and newer
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415 - exists in a task only
    except ImportError:
        return
    everything: Any = context
    template, ti = everything.get("map_index_template"), everything["ti"]
    if template is None:
        return
    shown = ti.task.dag.get_template_env().from_string(template).render(context)
    if shown and shown != getattr(ti, "rendered_map_index", None):
        ti.rendered_map_index = shown
        SUPERVISOR_COMMS.send(msg=SetRenderedMapIndex(rendered_map_index=shown))


def context_of_an_ended_deferral() -> Context | None:
    """Return the context of an Airflow 2 task whose deferral has ended; None in any other task.

    On Airflow 2, ``execution_timeout`` includes the deferral. If it has passed, Airflow calls the operator's
    ``on_kill`` and not its ``resume_execution``. Airflow 3 always calls ``resume_execution``.
    """
    if AIRFLOW_V_3_0_PLUS:
        return None
    from airflow.operators import python  # type: ignore[attr-defined] # noqa: PLC0415 - Airflow 2

    try:
        context: Any = python.get_current_context()  # noqa: AIR301 - as above
    except AirflowException:  # the task is not executing yet
        return None
    return context if context["ti"].next_method else None


def was_rescheduled(context: Context) -> bool:
    """Return True if this attempt of a sensor with ``mode="reschedule"`` has poked before."""
    everything: Any = context
    if AIRFLOW_V_3_0_PLUS:
        return bool(everything.get("task_reschedule_count"))
    from airflow.models.taskreschedule import TaskReschedule  # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        return session.scalars(TaskReschedule.stmt_for_task_instance(everything["ti"])).first() is not None


def _active_dataset(uri: str) -> Any:
    from airflow.models.dataset import DatasetModel  # type: ignore[import-not-found] # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        found = session.query(DatasetModel).filter(DatasetModel.uri == uri, ~DatasetModel.is_orphaned).first()
        return None if found is None else Asset(uri=uri)


def _dataset_event_extras(uri: str, since: datetime) -> list[Mapping[str, Any]]:
    from airflow.models.dataset import DatasetEvent, DatasetModel  # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        rows = session.query(DatasetEvent.extra).join(DatasetModel, DatasetModel.id == DatasetEvent.dataset_id)
        return [extra or {} for (extra,) in rows.filter(DatasetModel.uri == uri, DatasetEvent.timestamp >= since)]
