"""The connection form that the running Airflow builds from the one definition in provider info."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_youcom.get_provider_info import form_behaviour, form_fields, get_provider_info
from airflow_provider_youcom.hooks.youcom import YouComHook

WITH_FLASK_APPBUILDER = find_spec("flask_appbuilder") is not None
needs_flask_appbuilder = pytest.mark.skipif(
    not WITH_FLASK_APPBUILDER, reason="only Airflow 2.11, or 3 with the fab provider, has flask_appbuilder"
)

# Each runs in its own Python: to read the form, Airflow replaces modules that are not installed with mocks.
_SHOW_FORM_TO_AIRFLOW_2 = """
from airflow.providers_manager import ProvidersManager
airflow = ProvidersManager()
behaviour = airflow.field_behaviours["youcom"]
form = {
    "type": airflow.hooks["youcom"].hook_name,
    "hidden": [name for name in behaviour["hidden_fields"] if name != "extra"],
    "labels": behaviour["relabeling"],
    "placeholders": {name: behaviour["placeholders"][name] for name in behaviour["relabeling"]},
    "fields": {
        widget.field_name: [str(widget.field.args[0]), widget.field.kwargs["description"]]
        for name, widget in airflow.connection_form_widgets.items()
        if name.startswith("extra__youcom__")
    },
}
"""
_SHOW_FORM_TO_AIRFLOW_3 = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(shown,) = [hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "youcom"]
shown = shown.model_dump(by_alias=True)
fields = (shown["standard_fields"] or {}).items()
standard = {name.removeprefix("url_"): field for name, field in fields if field}
form = {
    "type": shown["hook_name"],
    "hidden": [name for name, field in standard.items() if field["hidden"]],
    "labels": {name: field["title"] for name, field in standard.items() if field["title"]},
    "placeholders": {name: field["placeholder"] for name, field in standard.items() if field["placeholder"]},
    "fields": {
        name: [field["schema"]["title"], field["description"]]
        for name, field in (shown["extra_fields"] or {}).items()
    },
}
"""
_RECORD_WARNINGS = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
{show_form}
ours = [str(each.message) for each in caught if "youcom" in f"{{each.message}}{{each.filename}}".lower()]
print("\\n" + json.dumps({{**form, "warnings": ours}}))
"""


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    """The form that the running Airflow hands to its UI."""
    in_2 = airflow.__version__.startswith("2.")
    show_form = _SHOW_FORM_TO_AIRFLOW_2 if in_2 else _SHOW_FORM_TO_AIRFLOW_3
    program = _RECORD_WARNINGS.format(show_form=show_form.replace("\n", "\n    "))
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    shown: dict[str, Any] = json.loads(printed.stdout.splitlines()[-1])
    return shown


def needs_form(form: dict[str, Any]) -> None:
    if airflow.__version__.startswith("3.0.") and not WITH_FLASK_APPBUILDER:
        assert not form["labels"], "Airflow 3.0 shows the form after all: test it there too"
        pytest.skip("Airflow 3.0 shows no provider's form unless the fab provider is installed")


def test_the_type_list_says_you_com(form: dict[str, Any]):
    assert form["type"] == "You.com"


def test_the_standard_fields_are_an_api_key_and_a_base_url_with_its_default_as_placeholder(
    form: dict[str, Any],
):
    needs_form(form)
    assert form["labels"] == {"password": "API key", "host": "Base URL"}
    assert form["placeholders"] == {
        "password": "from https://you.com/platform",
        "host": "https://api.you.com",
    }


def test_fields_that_a_key_and_a_url_do_not_need_are_hidden(form: dict[str, Any]):
    needs_form(form)
    assert sorted(form["hidden"]) == ["login", "port", "schema"]
    assert "extra" in form_behaviour()["hidden_fields"]


def test_the_forms_own_fields_have_a_label_and_a_description_that_states_the_default(form: dict[str, Any]):
    needs_form(form)
    assert form["fields"] == {
        "timeout": ["Timeout (seconds)", "How long one call may take, retries included. Default: 30."],
        "retries": ["Retries per call", "How many times a call is retried within that time. Default: 2."],
        "ledger_conn_id": [
            "Ledger connection",
            "A connection to SQLite or PostgreSQL, where reserved credits are kept.",
        ],
        "settle_seconds": ["Settle time (seconds)", "How late You.com may post a charge. Default: 60."],
        "hold_seconds": [
            "Hold time (seconds)",
            (
                "How long credits are held for a gate in line while nothing opens and no more come in. "
                "Set it to more than the time between two top-ups. Default: 3600."
            ),
        ],
    }


def test_no_deprecation_warning_comes_from_the_form(form: dict[str, Any]):
    assert form["warnings"] == []


def test_no_field_of_the_extra_is_secret_because_the_extra_is_shown():
    assert [
        name for name, field in form_fields().items() if field["schema"].get("format") == "password"
    ] == []


@pytest.mark.parametrize("schema", ["provider_info", "customized_form_field_behaviours"])
def test_airflows_own_schema_accepts_the_provider_info_and_the_form(schema: str):
    document = get_provider_info() if schema == "provider_info" else YouComHook.get_ui_field_behaviour()
    rules = Path(airflow.__file__).parent / f"{schema}.schema.json"
    jsonschema.validate(document, json.loads(rules.read_text()))


def test_airflow_2_and_airflow_3_get_the_same_form():
    (connection,) = get_provider_info()["connection-types"]
    declared = {name.replace("-", "_"): value for name, value in connection["ui-field-behaviour"].items()}
    assert declared == YouComHook.get_ui_field_behaviour()
    assert connection["conn-fields"] == form_fields()
    assert (connection["connection-type"], connection["hook-name"]) == (
        YouComHook.conn_type,
        YouComHook.hook_name,
    )


def test_provider_info_is_a_fresh_dict_each_time():
    (connection,) = get_provider_info()["connection-types"]
    connection["conn-fields"].clear()
    connection["ui-field-behaviour"]["hidden-fields"].clear()
    connection["ui-field-behaviour"]["relabeling"].clear()
    YouComHook.get_ui_field_behaviour()["hidden_fields"].clear()
    (again,) = get_provider_info()["connection-types"]
    assert sorted(again["conn-fields"]) == [
        "hold_seconds",
        "ledger_conn_id",
        "retries",
        "settle_seconds",
        "timeout",
    ]
    assert again["ui-field-behaviour"]["hidden-fields"] == ["schema", "login", "port", "extra"]
    assert again["ui-field-behaviour"]["relabeling"] == {"password": "API key", "host": "Base URL"}
    assert YouComHook.get_ui_field_behaviour()["hidden_fields"] == ["schema", "login", "port", "extra"]


@needs_flask_appbuilder
@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ({}, {}),
        ({"timeout": "12.5", "retries": "0"}, {}),
        ({"timeout": "0"}, {"timeout": "must be a number from 1 to 600"}),
        ({"timeout": "soon"}, {"timeout": "must be a number from 1 to 600"}),
        ({"retries": "1.5"}, {"retries": "must be a whole number from 0 to 10"}),
        ({"retries": "11"}, {"retries": "must be a whole number from 0 to 10"}),
    ],
)
def test_the_form_of_airflow_2_refuses_what_the_hook_would_refuse(
    typed: dict[str, str], complaint: dict[str, str]
):
    from werkzeug.datastructures import MultiDict
    from wtforms import Form

    form = type("ConnectionForm", (Form,), YouComHook.get_connection_form_widgets())(MultiDict(typed))
    assert form.validate() == (not complaint)
    assert set(form.errors) == set(complaint)
    for name, words in complaint.items():
        assert words in form.errors[name][0]
