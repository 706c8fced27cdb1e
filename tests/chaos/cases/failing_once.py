"""A sync whose first attempt goes wrong in the way that the test names."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator


class CrashingTrigger(BaseTrigger):
    """Raises at once."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "tests.chaos.cases.failing_once.CrashingTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        # Airflow fails a task that is resumed before it has noticed that the process which deferred it has ended.
        await asyncio.sleep(20.0)
        if os.environ:
            raise RuntimeError("This trigger crashes.")
        yield TriggerEvent({})  # type: ignore[no-untyped-call]


class FailingOnce(AirbyteSyncOperator):
    """:param fault: ``trigger crashes``, ``Airflow ends the deferral`` or ``hangs after success``; empty for none."""

    def __init__(self, *, fault: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fault = fault

    def defer(self, **kwargs: Any) -> NoReturn:
        if self.fault == "trigger crashes" and self._is_first():
            kwargs["trigger"] = CrashingTrigger()  # type: ignore[no-untyped-call]
        if self.fault == "Airflow ends the deferral" and self._is_first():
            kwargs["timeout"] = timedelta(seconds=10)
        super().defer(**kwargs)

    def post_execute(self, context: Any, result: Any = None) -> None:
        super().post_execute(context, result)
        if self.fault == "hangs after success" and self._is_first():
            time.sleep(600)

    def _is_first(self) -> bool:
        marker = Path(os.environ["CHAOS_MARKERS"]) / self.dag_id
        is_first = not marker.exists()
        marker.touch()
        return is_first
