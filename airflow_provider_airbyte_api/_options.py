"""The options of section ``[airbyte_api]`` in Airflow's configuration. The provider's metadata declares them."""

from __future__ import annotations

from airflow_provider_airbyte_api._airflow_compat import conf
from airflow_provider_airbyte_api._defaults import DEFAULT_MIN_DEFERRAL
from airflow_provider_airbyte_api.api.safe import safe_float, safe_repr
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

SECTION = "airbyte_api"

MAX_MIN_DEFERRAL = 120.0
"""Maximum of ``min_deferral``. It is less than ``DEFERRAL_TIMEOUT_MARGIN``, after which Airflow ends the deferral."""

MIN_TOKEN = 16
"""Minimum length of ``webhook_token``."""


def get_min_deferral() -> float:
    """Return the minimum seconds between the start of a trigger and its event.

    :raises AirbyteConfigError: if the option is not a number from 0 to 120.
    """
    value = conf.get(SECTION, "min_deferral", fallback=str(DEFAULT_MIN_DEFERRAL))
    try:
        seconds = safe_float(float(value), 0, MAX_MIN_DEFERRAL)
    except ValueError:
        seconds = None
    if seconds is None:
        raise AirbyteConfigError(
            f"Option min_deferral in section [{SECTION}] is {safe_repr(value)}, expected a number of seconds from 0 to "
            f"{MAX_MIN_DEFERRAL:g}. Change it in airflow.cfg or in AIRFLOW__AIRBYTE_API__MIN_DEFERRAL."
        )
    return seconds


def get_job_state_backend() -> str:
    """Return where tasks store their job records: ``auto``, ``variables``, ``none`` or the URL of an object storage.

    :raises AirbyteConfigError: if the option is anything else.
    """
    value: str = conf.get(SECTION, "job_state_backend", fallback="auto").strip()
    if value in ("auto", "variables", "none") or ("://" in value and not value.startswith("://")):
        return value
    raise AirbyteConfigError(
        f"Option job_state_backend in section [{SECTION}] is {safe_repr(value)}, expected auto, variables, none or the "
        "URL of a folder that all workers share, such as s3://aws_default@bucket/airbyte. Change it in airflow.cfg or "
        "in AIRFLOW__AIRBYTE_API__JOB_STATE_BACKEND."
    )


def is_ui_enabled() -> bool:
    """Return whether Airflow's UI has the page and the tab of this provider."""
    enabled: bool = conf.getboolean(SECTION, "ui", fallback=True)
    return enabled


def get_webhook_token() -> str | None:
    """Return the secret in the URL of the webhook, or None if the webhook is off.

    :raises AirbyteConfigError: if the webhook is on and there is no secret.
    """
    if not conf.getboolean(SECTION, "webhook", fallback=False):
        return None
    token: str = conf.get(SECTION, "webhook_token", fallback="").strip()
    if len(token) < MIN_TOKEN:
        raise AirbyteConfigError(
            f"Option webhook in section [{SECTION}] is True, but webhook_token has fewer than {MIN_TOKEN} characters. "
            "Set it to a random value, such as the output of `openssl rand -hex 24`."
        )
    return token
