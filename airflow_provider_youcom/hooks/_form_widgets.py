"""The connection form's own fields, as Airflow below 3.2 shows them."""

from __future__ import annotations

from typing import Any

from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
from flask_babel import lazy_gettext
from wtforms import StringField
from wtforms.validators import Optional, ValidationError

from airflow_provider_youcom._connection_form import form_fields
from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.hooks._connection import read_number


def form_widgets() -> dict[str, Any]:
    """Return a widget for each field."""
    return {name: _text_field(name, field) for name, field in form_fields().items()}


def _text_field(name: str, field: dict[str, Any]) -> StringField:
    def check_number(form: Any, filled_in: Any) -> None:
        try:
            read_number({name: filled_in.data}, name, 0, "this connection")
        except YouComRefusedError as error:
            raise ValidationError(str(error)) from None

    checks = [check_number] if "minimum" in field["schema"] else []
    # Text, also for numbers: Airflow 2.11 forgets the 0 of an IntegerField when the connection is edited.
    return StringField(
        lazy_gettext(field["label"]),
        widget=BS3TextFieldWidget(),
        description=field["description"],
        validators=[Optional(), *checks],
    )
