"""Everything private that this package uses of aiohttp. It has a test that runs with the aiohttp of each Airflow."""

from __future__ import annotations

import aiohttp


def disable_hidden_retries(session: aiohttp.ClientSession) -> None:
    """Let a session send each request once.

    After a lost connection aiohttp itself repeats a GET and a DELETE. The first DELETE may have cancelled its job, so
    the second one would cancel the connection's next job. Only a flow decides which requests are repeated.

    aiohttp has no option for this. A session middleware can hide the errors that aiohttp repeats a request after. But
    only aiohttp 3.12 and newer have middlewares, and the constraints of Airflow 2.11.0 and 3.0.0 select 3.11. aiohttp
    sets the same attribute in its own test client.

    :param session: The session, before its first request.
    """
    session._retry_connection = False  # noqa: SLF001 - see above
