"""The supervisor of a triggerer, for Variables and XComs, behind Airflow's own channel (3.0.5 and newer)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest


class FakeSupervisor:
    """Keeps Variables and XComs in memory, and answers the messages of a trigger in their order."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.descriptions: dict[str, Any] = {}
        self.xcoms: dict[tuple[str, str, str, int | None, str], Any] = {}
        self.messages: list[str] = []
        self.failing: set[str] = set()
        self.answers = asyncio.Event()
        self.answers.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the channel is closed."""
        import msgspec
        from airflow.jobs.triggerer_job_runner import ToTriggerSupervisor
        from airflow.sdk.execution_time.comms import _RequestFrame, _ResponseFrame
        from pydantic import TypeAdapter

        messages: Any = TypeAdapter(ToTriggerSupervisor)
        while True:
            length = int.from_bytes(await reader.readexactly(4), "big")
            request = msgspec.msgpack.decode(await reader.readexactly(length), type=_RequestFrame)
            message = messages.validate_python(request.body)
            if "Variable" in message.type or "XCom" in message.type:
                self.messages.append(message.type)
            await self.answers.wait()
            body, error = (None, self._error()) if message.type in self.failing else (self._answer(message), None)
            writer.write(_ResponseFrame(id=request.id, body=body, error=error).as_bytes())

    def _error(self) -> dict[str, Any]:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        return ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500}).model_dump()

    def _answer(self, message: Any) -> dict[str, Any] | None:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, PutVariable, SetXCom, VariableResult

        if isinstance(message, PutVariable):
            self.variables[message.key] = message.value
            self.descriptions[message.key] = message.description
        if isinstance(message, SetXCom):
            key = (message.dag_id, message.task_id, message.run_id, message.map_index, message.key)
            self.xcoms[key] = message.value
        if not isinstance(message, GetVariable):
            return None  # such as MaskSecret
        if message.key in self.variables:
            return VariableResult(key=message.key, value=self.variables[message.key]).model_dump()
        return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": message.key}).model_dump()


@pytest.fixture
async def supervisor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSupervisor]:
    """Let this process be a triggerer's, with a supervisor at the other end of its channel."""
    from airflow.jobs.triggerer_job_runner import TriggerCommsDecoder
    from airflow.sdk.execution_time import task_runner

    fake = FakeSupervisor()
    ends = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ends[0])
    channel: Any = TriggerCommsDecoder(socket=ends[0], async_reader=reader, async_writer=writer)
    if hasattr(channel, "start_reader"):  # 3.2.2 and newer
        await channel.start_reader()
    other_reader, other_writer = await asyncio.open_connection(sock=ends[1])
    serving = asyncio.create_task(fake.serve(other_reader, other_writer))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", channel, raising=False)
    yield fake
    for task in filter(None, (serving, getattr(channel, "_reader_task", None))):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for each in (writer, other_writer):
        each.close()
