"""Short tracebacks in task logs, since most errors originate in Airbyte and not in this package."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


def short_traceback(method: Method) -> Method:
    """Decorate a method of a task so that its ``AirbyteError`` is raised without the frames below the method.

    The full traceback is logged at level DEBUG.

    :param method: A method of an operator or a sensor.
    """

    @functools.wraps(method)
    def shortened(task: Any, *args: Any, **kwargs: Any) -> Any:
        from airflow_provider_airbyte_api.exceptions import AirbyteError

        try:
            return method(task, *args, **kwargs)
        except AirbyteError as error:
            task.log.debug("%s raised", method.__name__, exc_info=True)
            error.__cause__ = error.__context__ = None
            raise error.with_traceback(None) from None

    return cast("Method", shortened)
