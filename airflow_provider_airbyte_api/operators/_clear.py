"""The operator that clears an Airbyte connection."""

from __future__ import annotations

from typing import Any

from airflow_provider_airbyte_api._defaults import ON_RUNNING_CLEAR
from airflow_provider_airbyte_api._validation import check_choice, raise_config_error
from airflow_provider_airbyte_api.operators.airbyte import AirbyteJobOperator


class AirbyteClearOperator(AirbyteJobOperator):
    """Removes what an Airbyte connection has brought to its destination, and waits until that is done.

    Airbyte forgets how far it came as well, so the next sync moves everything anew. It clears all streams: the public
    API has no way to clear one of them.

    Each task run is one clear, whatever fails: see :class:`~.airbyte.AirbyteJobOperator`, which has all other
    parameters.

    :param job_type: ``clear`` or ``reset``, two words for one thing: Airbyte shows a job of the type ``reset`` for
        both. A clear needs the role of an editor, a reset that of a runner; Airbyte before 0.62.4 knows only that one.
    :param on_running: what to do if a job of the connection runs, which Airbyte would cancel for the clear, without a
        word: ``fail``, and start nothing; ``wait`` for its end, then clear; ``skip`` the task; or ``restart``: cancel
        it, then clear.
    """

    def __init__(self, *, job_type: str = "clear", on_running: str = "fail", **kwargs: Any) -> None:
        super().__init__(on_running=check_choice(on_running, "on_running", ON_RUNNING_CLEAR), **kwargs)
        if job_type == "refresh":
            raise_config_error(
                "job_type is 'refresh', which Airbyte's public API does not offer (it answers 422). A clear and then a "
                "sync does nearly the same, but the destination is empty in between."
            )
        self.job_type = check_choice(job_type, "job_type", ("clear", "reset"))
