"""The extras as wtforms fields, for Airflow 2.11 to 3.1, whose web servers have wtforms."""

from __future__ import annotations

from typing import Any

from airflow_provider_airbyte_api.connection_form import CONN_FIELDS


def form_widgets() -> dict[str, Any]:
    """Return a form field for each extra, or none without wtforms, as on Airflow 3.0 without its FAB provider.

    Without them Airflow shows only the standard fields, and users enter the extras as JSON.
    """
    try:
        from flask_appbuilder.fieldwidgets import (  # noqa: PLC0415 - only web servers have it
            BS3PasswordFieldWidget,
            BS3TextFieldWidget,
        )
        from wtforms import BooleanField, PasswordField, StringField  # noqa: PLC0415 - as above
    except ImportError:
        return {}

    fields: dict[str, Any] = {}
    for name, extra in CONN_FIELDS.items():
        schema = extra["schema"]
        options = {"label": extra["label"], "description": extra["description"]}
        if "boolean" in schema["type"]:
            fields[name] = BooleanField(default=schema.get("default"), **options)
        elif schema.get("format") == "password":
            fields[name] = PasswordField(widget=BS3PasswordFieldWidget(), **options)
        else:
            fields[name] = StringField(widget=BS3TextFieldWidget(), **options)
    return fields
