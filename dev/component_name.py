"""What a component of the cluster calls its host: all of them are on one machine."""

from __future__ import annotations

import os


def get() -> str:
    """Return the name of this process's component."""
    return os.environ["CLUSTER_COMPONENT"]
