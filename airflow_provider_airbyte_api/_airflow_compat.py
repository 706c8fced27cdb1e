"""Everything of Airflow that is private, that only some of the supported versions have, or that has moved.

Each function names those versions and the reason, and has a test that runs on each supported Airflow. All imports
happen within the functions, and a name is imported at its first use: a DAG file loads this module each time that it is
parsed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow import __version__ as _airflow_version

AIRFLOW_V_3_0_PLUS = not _airflow_version.startswith("2.")

DUPLICATE_WINDOW = timedelta(days=1)
"""How far back :func:`register_asset_events` looks for an earlier event."""

# -- public names that have moved --------------------------------------------------------------------------------

if TYPE_CHECKING:
    from airflow.sdk import DAG as DAG
    from airflow.sdk import Asset as Asset
    from airflow.sdk import BaseHook as BaseHook
    from airflow.sdk import BaseOperator as BaseOperator
    from airflow.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.sdk import BaseSensorOperator as BaseSensorOperator
    from airflow.sdk import Connection as Connection
    from airflow.sdk import Context as Context
    from airflow.sdk import PokeReturnValue as PokeReturnValue
    from airflow.sdk import TaskGroup as TaskGroup
    from airflow.sdk.configuration import conf as conf
    from airflow.sdk.exceptions import AirflowException as AirflowException
    from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
    from airflow.sdk.exceptions import AirflowNotFoundException as AirflowNotFoundException
    from airflow.sdk.exceptions import AirflowSensorTimeout as AirflowSensorTimeout
    from airflow.sdk.exceptions import AirflowSkipException as AirflowSkipException
    from airflow.sdk.exceptions import AirflowTaskTimeout as AirflowTaskTimeout
    from airflow.sdk.execution_time.xcom import XCom as XCom

_EXCEPTION = ("airflow.sdk.exceptions", "airflow.exceptions")  # before 3.2 in the second alone

_HOMES = {
    "Asset": ("airflow.sdk", "airflow.datasets:Dataset"),
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
    "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),
    "TaskGroup": ("airflow.sdk", "airflow.utils.task_group"),
    "XCom": ("airflow.sdk.execution_time.xcom", "airflow.models.xcom"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),  # before 3.2 in the second alone
    "AirflowException": _EXCEPTION,
    "AirflowFailException": _EXCEPTION,
    "AirflowNotFoundException": _EXCEPTION,
    "AirflowSensorTimeout": _EXCEPTION,
    "AirflowSkipException": _EXCEPTION,
    "AirflowTaskTimeout": _EXCEPTION,
}
"""The modules that may have a name, newest first, and after a colon the name that it has there.

``apache-airflow-providers-common-compat`` has these names too, but only versions of it that the constraints of older
Airflows do not admit.
"""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        for home in _HOMES.get(name, ()):
            module, _, renamed = home.partition(":")
            try:
                found = getattr(import_module(module), renamed or name)
            except (ModuleNotFoundError, AttributeError):
                continue
            globals()[name] = found
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# -- in an API server --------------------------------------------------------------------------------------------


def has_react_apps() -> bool:
    """Return True if plugins can add pages to Airflow's UI: on Airflow 3.1 and newer."""
    from airflow.plugins_manager import AirflowPlugin  # noqa: PLC0415 - not while a DAG is parsed

    return hasattr(AirflowPlugin, "react_apps")


def has_scoped_tabs() -> bool:
    """Return True if a plugin can limit a tab to the tasks of some operators: on Airflow 3.4 and newer.

    Older versions ignore the limit and show the tab on each task.
    """
    return tuple(map(int, _airflow_version.split(".")[:2])) >= (3, 4)


def register_asset_events(
    *, name: str, uri_pattern: str, extra: Mapping[str, Any], is_same: Callable[[Any], bool]
) -> list[str]:
    """Register an event on active assets, in the API server's database, and return their names.

    Skipped are assets with a watcher, which emits the events, and assets that have the event already. Airflow has no
    public way for a plugin.

    :param name: Name of one asset.
    :param uri_pattern: Pattern of SQL's ``LIKE`` for the URIs of other assets.
    :param extra: The extra of the event.
    :param is_same: Returns True for the extra of an earlier event that makes this one a duplicate.
    """
    from airflow.assets.manager import asset_manager  # noqa: PLC0415 - Airflow 3
    from airflow.models.asset import AssetEvent, AssetModel  # noqa: PLC0415 - as above
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above
    from sqlalchemy import or_, select  # noqa: PLC0415 - only in an API server

    since = datetime.now(tz=timezone.utc) - DUPLICATE_WINDOW
    registered = []
    with create_session() as session:
        named = or_(AssetModel.name == name, AssetModel.uri.like(uri_pattern))
        # The lock lets several API servers agree.
        assets = select(AssetModel).where(named, AssetModel.active.has()).order_by(AssetModel.id).with_for_update()
        for asset in session.scalars(assets).all():
            events = select(AssetEvent.extra).where(AssetEvent.asset_id == asset.id, AssetEvent.timestamp >= since)
            if asset.triggers or any(map(is_same, session.scalars(events))):
                continue
            asset_manager.register_asset_change(asset=asset, extra=dict(extra), session=session)
            registered.append(asset.name)
    return registered


# -- in a running task -------------------------------------------------------------------------------------------


def active_asset(*, name: str | None = None, uri: str | None = None) -> Asset | None:
    """Return the asset with this name or URI, or None if no DAG names it in its schedule, inlets or outlets.

    Airflow has no public way to ask. Airflow 3 asks its API server by a private method. On Airflow 2, tasks read the
    database.
    """
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
    """Return True if :func:`event_extras` can request the events since a given time instead of all events.

    Airflow 3.0 and 3.1 cannot: their request has no such field.
    """
    if not AIRFLOW_V_3_0_PLUS:
        return True
    from airflow.sdk.execution_time.comms import GetAssetEventByAsset  # noqa: PLC0415 - Airflow 3

    return "after" in GetAssetEventByAsset.model_fields


def event_extras(asset: Asset, since: datetime) -> list[Mapping[str, Any]]:
    """Return the extras of the asset's events since the given time. Older events may be included.

    A task's context has the events of its own inlets only. Airflow 3 gives those of any asset to a private accessor. On
    Airflow 2, tasks read the database.
    """
    if not AIRFLOW_V_3_0_PLUS:
        return _dataset_event_extras(asset.uri, since)
    from airflow.sdk.execution_time.context import InletEventsAccessors  # noqa: PLC0415 - Airflow 3

    events: Any = InletEventsAccessors([asset])[asset]
    if can_limit_events():
        events = events.after(since.isoformat())
    return [event.extra or {} for event in events]


def asset_state(asset: Asset) -> Any:
    """Return Airflow's state store of an asset, with ``get(key)`` and ``set(key, value)``; None before Airflow 3.3.

    It has no transactions: the last write of a key wins. A task's context has the stores of its own inlets and outlets
    only, so the accessor is created here.
    """
    try:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor  # noqa: PLC0415 - 3.3 and newer
    except ImportError:
        return None
    return AssetStateStoreAccessor(uri=asset.uri)


def show_map_index(context: Context) -> None:
    """Show the rendered ``map_index_template`` in Airflow's UI now, and not only after the task has finished.

    Airflow before 3.2 does not support this. Later versions have the message to the supervisor, but no function that
    sends it.
    """
    try:
        from airflow.sdk.execution_time.comms import SetRenderedMapIndex  # noqa: PLC0415 - 3.2 and newer
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415 - exists in a task only
    except ImportError:
        return
    ctx: Any = context
    template, ti = ctx.get("map_index_template"), ctx["ti"]
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
    from airflow.exceptions import AirflowException  # type: ignore[attr-defined] # noqa: PLC0415 - as above
    from airflow.operators import python  # type: ignore[attr-defined] # noqa: PLC0415 - Airflow 2

    try:
        context: Any = python.get_current_context()  # noqa: AIR301 - as above
    except AirflowException:  # the task is not executing yet
        return None
    return context if context["ti"].next_method else None


def was_rescheduled(context: Context) -> bool:
    """Return True if this attempt of a sensor with ``mode="reschedule"`` has poked before.

    Airflow 3 puts the number of reschedules into the context. Airflow 2 keeps them in the database only.
    """
    ctx: Any = context
    if AIRFLOW_V_3_0_PLUS:
        return bool(ctx.get("task_reschedule_count"))
    from airflow.models.taskreschedule import TaskReschedule  # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        return session.scalars(TaskReschedule.stmt_for_task_instance(ctx["ti"])).first() is not None


def task_state_store(context: Context) -> Any:
    """Return Airflow's state store of a task, with ``get``, ``set`` and ``delete``; None before Airflow 3.3.

    What it holds survives both a retry and a clear of the task.
    """
    ctx: Any = context
    return ctx.get("task_state_store")


def current_state(ti: Any) -> str | None:
    """Return the state that Airflow's database has for the running task instance; None if it was cleared or deleted.

    The context has the state from the start of the process. On Airflow 2, tasks read the database.
    """
    if not AIRFLOW_V_3_0_PLUS:
        return _state_in_database(ti)
    states = ti.get_task_states(dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id])
    return _state_of(ti, states)


def stops_after_on_kill() -> bool:
    """Return True if a task's process ends as soon as ``on_kill`` has returned: Airflow 2.

    On Airflow 3 the task continues until its supervisor kills the process, 5 s after it has sent the signal.
    """
    return not AIRFLOW_V_3_0_PLUS


def is_run_by_airflow() -> bool:
    """Return True if this process can read and write Airflow's Variables.

    On Airflow 3 a task asks its supervisor. There is none if an operator is executed outside of Airflow.
    """
    if not AIRFLOW_V_3_0_PLUS:
        return True
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - Airflow 3

    return hasattr(task_runner, "SUPERVISOR_COMMS")


def get_variable(key: str) -> str | None:
    """Return the value of a Variable, or None if there is none. Airflow 3 has renamed the parameter for the default."""
    value: str | None = _variable().get(key, **{"default" if AIRFLOW_V_3_0_PLUS else "default_var": None})
    return value


def set_variable(key: str, value: str, description: str) -> None:
    """Create or replace a Variable. Airflow 3 only logs it if its API server cannot store the value."""
    _variable().set(key, value, description)


def delete_variable(key: str) -> None:
    """Delete a Variable, if it exists. Airflow 3 only logs it if its API server cannot delete it."""
    _variable().delete(key)


def _variable() -> Any:
    return import_module("airflow.sdk" if AIRFLOW_V_3_0_PLUS else "airflow.models").Variable


def object_storage_path(url: str) -> Any:
    """Return Airflow's ``ObjectStoragePath``, which is in ``airflow.sdk`` from Airflow 3 on."""
    return import_module("airflow.sdk" if AIRFLOW_V_3_0_PLUS else "airflow.io.path").ObjectStoragePath(url)


def max_tries(context: Context) -> int:
    """Return a number that a clear of the task changes, and that a retry does not.

    A clear adds the task's ``retries`` to the attempts so far. No version of Airflow tells a cleared task from a
    retried one in another way.
    """
    ctx: Any = context
    return int(getattr(ctx["ti"], "max_tries", 0) or 0)


def is_first_attempt(context: Context, retries: int | None) -> bool:
    """Return True if the task has never run before: see :func:`max_tries`.

    :param context: The task's context.
    :param retries: The operator's ``retries``.
    """
    ctx: Any = context
    return getattr(ctx["ti"], "try_number", None) == 1 and max_tries(context) == (retries or 0)


def is_uncleared_retry(context: Context, retries: int | None) -> bool:
    """Return True if the task runs again and was never cleared: see :func:`max_tries`.

    :param context: The task's context.
    :param retries: The operator's ``retries``.
    """
    ctx: Any = context
    return int(getattr(ctx["ti"], "try_number", 1) or 1) > 1 and max_tries(context) == retries


ENDED_DEFERRAL = "__fail__"
"""The ``next_method`` of a task whose deferral Airflow has ended, because its trigger failed or took too long."""


def is_deferral_timeout(error: Exception) -> bool:
    """Return True if Airflow raised this error because a deferral took longer than its timeout.

    Airflow 3.2 and newer have the exception in ``airflow.sdk``, 3.0 and 3.1 in ``airflow.exceptions``. Airflow 2 has no
    class of its own for it: the reason is in the text.
    """
    from airflow import exceptions  # noqa: PLC0415 - see the module

    if not AIRFLOW_V_3_0_PLUS:
        return isinstance(error, exceptions.TaskDeferralError) and "timeout" in str(error).lower()
    try:
        from airflow.sdk.exceptions import TaskDeferralTimeout  # noqa: PLC0415 - 3.2 and newer
    except ImportError:
        return isinstance(error, exceptions.TaskDeferralTimeout)
    return isinstance(error, TaskDeferralTimeout)


# -- in a triggerer ----------------------------------------------------------------------------------------------


def has_trigger_on_kill() -> bool:
    """Return True if Airflow calls a trigger's ``on_kill`` when a user acts on the deferred task: 3.3 and newer."""
    from airflow.triggers.base import BaseTrigger  # noqa: PLC0415 - see the module

    return hasattr(BaseTrigger, "on_kill")


def deferral_deadline(trigger: Any) -> float | None:
    """Return the time at which Airflow ends a trigger's deferral, in seconds since the epoch; None for no limit.

    Airflow 3 sets an undocumented attribute. On Airflow 2, the task instance has it.
    """
    if AIRFLOW_V_3_0_PLUS:
        timeout: datetime | None = getattr(trigger, "timeout_after", None)
    else:
        timeout = getattr(trigger.task_instance, "trigger_timeout", None)
    if timeout is None:
        return None
    return (timeout if timeout.tzinfo else timeout.replace(tzinfo=timezone.utc)).timestamp()


def _supervisor() -> Any:
    """Return a triggerer's channel to its supervisor; None outside of a triggerer, and before Airflow 3.0.3.

    The SDK's own functions would block the event loop; called in a thread, they can crash a triggerer before 3.2.2. Do
    not cancel ``asend``: before 3.2.2, an answer that is no longer expected crashes the triggerer.
    """
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - Airflow 3

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return supervisor if hasattr(supervisor, "asend") else None


async def task_state(ti: Any) -> str | None:
    """Return the state of a trigger's task instance, None if it was cleared or deleted, without blocking the loop.

    A trigger has no public way to ask. On Airflow 3, the triggerer's supervisor answers: see :func:`_supervisor`. Do
    not cancel this coroutine. On Airflow 2, a triggerer reads the database.

    :raises RuntimeError: on Airflow 3.0.0 to 3.0.2.
    """
    if not AIRFLOW_V_3_0_PLUS:
        return await asyncio.to_thread(_state_in_database, ti)
    from airflow.sdk.execution_time.comms import GetTaskStates  # noqa: PLC0415 - Airflow 3

    found = await _asking_supervisor().asend(
        GetTaskStates(dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id])
    )
    return _state_of(ti, found.task_states)


async def task_xcom(ti: Any, key: str) -> Any:
    """Return an XCom of a trigger's task instance, or None, as :func:`task_state` returns its state.

    An XCom that a custom backend stores elsewhere is returned as its reference.
    """
    if not AIRFLOW_V_3_0_PLUS:
        return await asyncio.to_thread(_xcom_in_database, ti, key)
    from airflow.sdk.execution_time.comms import GetXCom  # noqa: PLC0415 - Airflow 3

    found = await _asking_supervisor().asend(
        GetXCom(dag_id=ti.dag_id, map_index=ti.map_index, task_id=ti.task_id, run_id=ti.run_id, key=key)
    )
    return found.value


def _asking_supervisor() -> Any:
    supervisor = _supervisor()
    if supervisor is None:
        raise RuntimeError("Triggers can ask for the state of a task from Airflow 3.0.3 on.")
    return supervisor


def _state_of(ti: Any, task_states: Mapping[str, Mapping[str, str | None]]) -> str | None:
    """Return the state of a task instance from Airflow's answer, which has it by DAG run and task."""
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return task_states.get(ti.run_id, {}).get(name)


def shared_stream_producer() -> type | None:
    """Return the base class of what feeds several watchers from one stream; None before Airflow 3.3."""
    try:
        from airflow.triggers.shared_stream import SharedStreamProducer  # noqa: PLC0415 - 3.3 and newer
    except ImportError:
        return None
    return SharedStreamProducer


def trigger_has_variables() -> bool:
    """Return True in a triggerer that can ask for Airflow's Variables on its event loop: Airflow 3.0.5 and newer."""
    messages = import_module("airflow.jobs.triggerer_job_runner")
    return hasattr(messages, "PutVariable") and _supervisor() is not None


async def aget_variable(key: str) -> str | None:
    """Return the value of a Variable, or None if there is none. Only where :func:`trigger_has_variables` is True.

    Do not cancel this coroutine: see :func:`_supervisor`.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415 - Airflow 3
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable  # noqa: PLC0415 - as above

    answer = await _supervisor().asend(GetVariable(key=key))
    if not isinstance(answer, ErrorResponse):
        value: str | None = answer.value
        return value
    if answer.error != ErrorType.VARIABLE_NOT_FOUND:
        raise AirflowRuntimeError(answer)
    return None


async def aset_variable(key: str, value: str, description: str) -> None:
    """Write a Variable. The same applies as to :func:`aget_variable`."""
    from airflow.sdk.execution_time.comms import PutVariable  # noqa: PLC0415 - Airflow 3

    await _supervisor().asend(PutVariable(key=key, value=value, description=description))


def trigger_has_xcoms(ti: Any) -> bool:
    """Return True in a triggerer that can write XComs on its event loop: Airflow 3.0.3 and newer.

    A custom XCom backend would block the event loop.

    :param ti: The trigger's task instance; None in ``DAG.test`` and for a watcher.
    """
    if ti is None or not AIRFLOW_V_3_0_PLUS or _supervisor() is None:
        return False
    from airflow.sdk.bases.xcom import BaseXCom  # noqa: PLC0415 - Airflow 3
    from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415 - as above

    return XCom is BaseXCom


async def aset_xcom(ti: Any, key: str, value: Mapping[str, Any]) -> None:
    """Write an XCom of a trigger's task instance. Only where :func:`trigger_has_xcoms` is True.

    Airflow has ``XCom.aset`` from 3.3 on. Do not cancel this coroutine: see :func:`_supervisor`.

    :param value: JSON without the keys that Airflow reserves.
    """
    from airflow.sdk.execution_time.comms import SetXCom  # noqa: PLC0415 - Airflow 3

    which = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
    await _supervisor().asend(SetXCom(**which, key=key, value=dict(value)))


def asset_stores(accessors: Any) -> list[Any]:
    """Return the state store of each asset that a trigger watches. For Airflow 3.3 and newer.

    With several assets Airflow requires the asset's name, but passes no names to a trigger.
    """
    return list(getattr(accessors, "_by_name", {}).values()) or [accessors]


# -- anywhere ----------------------------------------------------------------------------------------------------


def mask_secret(secret: str) -> None:
    """Mask a secret in Airflow's logs.

    Airflow 2 and the first patches of 3.0 have the function in other modules.
    """
    for module in (
        "airflow.sdk.log",
        "airflow.sdk.execution_time.secrets_masker",
        "airflow.utils.log.secrets_masker",
    ):
        try:
            mask = import_module(module).mask_secret
        except (ModuleNotFoundError, AttributeError):
            continue
        mask(secret)
        return
    raise AssertionError("Airflow has no mask_secret")


async def amask_secret(secret: str) -> None:
    """Mask a secret in Airflow's logs without blocking the event loop. Airflow has this from 3.3.2 on."""
    try:
        from airflow.sdk.log import amask_secret as mask  # noqa: PLC0415 - 3.3.2 and newer
    except ImportError:
        from asgiref.sync import sync_to_async  # noqa: PLC0415 - as above

        await sync_to_async(mask_secret)(secret)
    else:
        await mask(secret)


async def get_async_connection(conn_id: str) -> Connection:
    """Return an Airflow connection without blocking the event loop. Airflow has this from 3.1 on.

    :param conn_id: ID of the Airflow connection.
    :raises AirflowNotFoundException: if there is none.
    """
    try:
        from airflow.sdk import BaseHook  # noqa: PLC0415 - Airflow 3
    except ImportError:
        from airflow.hooks.base import BaseHook  # type: ignore[attr-defined, no-redef] # noqa: PLC0415 - Airflow 2
    if hasattr(BaseHook, "aget_connection"):
        return await BaseHook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async  # noqa: PLC0415 - before 3.1

    return await sync_to_async(BaseHook.get_connection)(conn_id)


def get_connection(conn_id: str) -> Connection:
    """Return an Airflow connection for a command, from the secrets backend, the environment or the database.

    From 3.1 on, a process reads the database only if this private variable is set, as Airflow's own commands set it.

    :param conn_id: ID of the Airflow connection.
    :raises AirflowNotFoundException: if there is none.
    """
    from airflow.models.connection import Connection as Model  # noqa: PLC0415 - see the module

    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    return Model.get_connection_from_secrets(conn_id)


def variables_of(prefix: str) -> dict[str, str]:
    """Return the Variables of the database whose keys start with ``prefix``, for a command.

    Only Airflow's model lists Variables: see :func:`get_connection` for the private variable.
    """
    from airflow.models import variable  # noqa: PLC0415 - see the module
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above
    from sqlalchemy import select  # noqa: PLC0415 - as above

    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    with create_session() as session:
        is_wanted = variable.Variable.key.startswith(prefix, autoescape=True)
        return {each.key: each.val for each in session.scalars(select(variable.Variable).where(is_wanted))}


def delete_variables(keys: Iterable[str]) -> None:
    """Delete Variables from the database, for a command."""
    from airflow.models import variable  # noqa: PLC0415 - see the module
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above
    from sqlalchemy import delete  # noqa: PLC0415 - as above

    with create_session() as session:
        for key in keys:
            session.execute(delete(variable.Variable).where(variable.Variable.key == key))


def set_logger(hook: BaseHook, logger: logging.Logger) -> None:
    """Let a hook log to ``logger``. Airflow only lets a hook choose the end of its logger's name.

    :param hook: The hook, before its first message.
    :param logger: A logger of the standard library.
    """
    as_airflow_has_it: Any = hook
    as_airflow_has_it._log = logger  # noqa: SLF001 - see above


def ensure_db() -> None:
    """Create the tables of Airflow's database, unless they exist. Airflow has a command for it, and no function."""
    from airflow import settings  # noqa: PLC0415 - see the module
    from airflow.utils.db import initdb  # noqa: PLC0415 - as above
    from sqlalchemy import inspect  # noqa: PLC0415 - as above

    if not inspect(settings.engine).has_table("dag_run"):
        initdb()


def register_dag(dag: DAG) -> None:
    """Register the DAG in the database: from 3.1 on, ``DAG.test`` finds DAGs only there and in the DAG folder.

    :param dag: A DAG that is in no DAG folder.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db  # noqa: PLC0415 - 3.2 and newer
    except ImportError:
        try:
            from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[no-redef] # noqa: PLC0415 - 3.1
        except ImportError:
            return
    from airflow.dag_processing.bundles.manager import DagBundlesManager  # noqa: PLC0415 - as above

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


# -- the database of Airflow 2 -----------------------------------------------------------------------------------


def _identity(ti: Any) -> dict[str, Any]:
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}


def _state_in_database(ti: Any) -> str | None:
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        state: str | None = session.query(TaskInstance.state).filter_by(**_identity(ti)).scalar()
        return state


def _xcom_in_database(ti: Any, key: str) -> Any:
    from airflow.models.xcom import BaseXCom  # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        xcom = session.query(BaseXCom).filter_by(**_identity(ti), key=key).first()
        return None if xcom is None else xcom.value


def _active_dataset(uri: str) -> Any:
    from airflow.datasets import Dataset  # type: ignore[import-not-found] # noqa: PLC0415 - Airflow 2
    from airflow.models.dataset import DatasetModel  # type: ignore[import-not-found] # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        found = session.query(DatasetModel).filter(DatasetModel.uri == uri, ~DatasetModel.is_orphaned).first()
        return None if found is None else Dataset(uri=uri)  # noqa: AIR311 - as above


def _dataset_event_extras(uri: str, since: datetime) -> list[Mapping[str, Any]]:
    from airflow.models.dataset import DatasetEvent, DatasetModel  # noqa: PLC0415 - Airflow 2
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        rows = session.query(DatasetEvent.extra).join(DatasetModel, DatasetModel.id == DatasetEvent.dataset_id)
        return [extra or {} for (extra,) in rows.filter(DatasetModel.uri == uri, DatasetEvent.timestamp >= since)]
