"""Which Airflow the tests run on, and what some of them need of it."""

from __future__ import annotations

from importlib.metadata import version

import pytest

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
"""Its minor version, such as ``(3, 3)``."""


def since(minor: str, why: str) -> pytest.MarkDecorator:
    """Mark what an older Airflow cannot do. What that means for users is the table in docs/compatibility.md.

    :param minor: the first Airflow that can, such as ``"3.3"``.
    :param why: what the older ones lack.
    """
    return pytest.mark.skipif(_parse(minor) > AIRFLOW, reason=f"needs Airflow {minor}: {why}")


def before(minor: str, why: str) -> pytest.MarkDecorator:
    """Mark what only an Airflow older than ``minor`` does.

    :param why: what the newer ones have, or lack.
    """
    return pytest.mark.skipif(_parse(minor) <= AIRFLOW, reason=f"before Airflow {minor}: {why}")


def not_on(minor: str, why: str) -> pytest.MarkDecorator:
    """Mark what one Airflow alone cannot do, such as ``"3.0"``."""
    return pytest.mark.skipif(".".join(map(str, AIRFLOW)) == minor, reason=f"not on Airflow {minor}: {why}")


def _parse(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))
