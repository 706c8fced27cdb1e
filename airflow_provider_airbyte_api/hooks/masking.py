"""Functions that mask secrets in Airflow's logs."""

from __future__ import annotations

from asgiref.sync import sync_to_async

try:
    from airflow.sdk.log import mask_secret
except ImportError:  # Airflow 2; common-compat supports both locations only since 1.22
    from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[import-not-found, no-redef]

__all__ = ["amask_secret", "mask_secret"]


async def amask_secret(secret: str) -> None:
    """Mask a secret in Airflow's logs without blocking the event loop."""
    try:
        from airflow.sdk.log import amask_secret as of_airflow  # noqa: PLC0415 - 3.3.2 and newer
    except ImportError:
        await sync_to_async(mask_secret)(secret)
    else:
        await of_airflow(secret)
