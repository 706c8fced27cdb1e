"""The extras' fields as wtforms wants them, for Airflow 2.11 to 3.1, whose web servers have wtforms."""

from __future__ import annotations

from typing import Any

from airflow_provider_airbyte_api.form import EXTRAS


def widgets() -> dict[str, Any]:
    """Return a form field for each extra."""
    from wtforms import BooleanField, PasswordField, StringField  # noqa: PLC0415 - only web servers have it

    fields: dict[str, Any] = {}
    for name, extra in EXTRAS.items():
        schema = extra["schema"]
        options = {"label": extra["label"], "description": extra["description"]}
        if "boolean" in schema["type"]:
            fields[name] = BooleanField(default=schema.get("default"), **options)
        elif schema.get("format") == "password":
            fields[name] = PasswordField(widget=_password_widget(), **options)
        else:
            fields[name] = StringField(widget=_text_widget(), **options)
    return fields


def _text_widget() -> Any:
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # noqa: PLC0415 - as above

    return BS3TextFieldWidget()


def _password_widget() -> Any:
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget  # noqa: PLC0415 - as above

    return BS3PasswordFieldWidget()
