"""The web application below ``/airbyte`` in Airflow's API server. Only an API server imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from airflow_provider_airbyte_api.ui.webhook import create_endpoint

STATIC = Path(__file__).parent / "static"


class _StaticFiles(StaticFiles):
    """Static files that a browser asks for again after an upgrade of this package."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def create_app(webhook_token: str | None = None) -> FastAPI:
    """Return the application. It has no data of its own: the page reads Airflow's REST API in the browser.

    :param webhook_token: The secret in the URL of the webhook. Default: None, no webhook.
    """
    app = FastAPI(title="Airbyte", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", _StaticFiles(directory=STATIC), name="static")
    if webhook_token is not None:
        app.add_route("/webhook/{conn_id}", create_endpoint(webhook_token), methods=["POST"])
    return app
