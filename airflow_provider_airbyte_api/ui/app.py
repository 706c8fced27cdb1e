"""The web application below ``/airbyte`` in Airflow's API server. Only an API server imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

STATIC = Path(__file__).parent / "static"


class _StaticFiles(StaticFiles):
    """Static files that a browser asks for again after an upgrade of this package."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def create_app() -> FastAPI:
    """Return the application. It has no data of its own: the page reads Airflow's REST API in the browser."""
    app = FastAPI(title="Airbyte", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", _StaticFiles(directory=STATIC), name="static")
    return app
