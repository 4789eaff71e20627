"""The connection form, from the type list to the test button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.browser

BAD_KEY = "ydc-sk-revoked"


def fill_in(ui: Any, conn_id: str, *, api_key: str, base_url: str) -> None:
    ui.open_new_connection(conn_id, "You.com")
    ui.field("Base URL").fill(base_url)
    ui.field("API key").fill(api_key)


def test_the_form_shows_what_a_connection_to_you_com_needs_and_nothing_else(
    ui: Any, screenshot: Callable[[str], None]
):
    ui.open_new_connection("youcom_default", "You.com")
    assert ui.labels() == [
        "Description",
        "Base URL",
        "API key",
        "Timeout (seconds)",
        "Retries per call",
        "Ledger connection",
        "Settle time (seconds)",
        "Hold time (seconds)",
    ]
    assert not ui.shows_extra()
    assert ui.field("Base URL").get_attribute("placeholder") == "https://api.you.com"
    assert ui.field("API key").get_attribute("placeholder") == "from https://you.com/platform"
    assert ui.field("API key").get_attribute("type") == "password"
    screenshot("connection-form")
    assert ui.description("Timeout (seconds)") == (
        "How long one call may take, retries included. Default: 30."
    )
    assert ui.description("Retries per call") == (
        "How many times a call is retried within that time. Default: 2."
    )
    screenshot("connection-form-extras")


def test_values_survive_saving_editing_and_reloading(
    ui: Any, airflow: LocalAirflow, you_com: Sandbox, screenshot: Callable[[str], None]
):
    fill_in(ui, "youcom_edited", api_key=you_com.api_key, base_url=you_com.base_url)
    ui.field("Timeout (seconds)").fill("12.5")
    ui.field("Retries per call").fill("0")
    ui.save()

    ui.open_saved_connection("youcom_edited")
    assert ui.field("Base URL").input_value() == you_com.base_url
    assert ui.field("Timeout (seconds)").input_value() == "12.5"
    assert ui.field("Retries per call").input_value() == "0"
    ui.field("Timeout (seconds)").fill("45")
    ui.save()

    ui.open_saved_connection("youcom_edited")
    assert ui.field("Base URL").input_value() == you_com.base_url
    assert ui.field("Timeout (seconds)").input_value() == "45"
    assert ui.field("Retries per call").input_value() == "0"
    screenshot("connection-edited")
    assert "Connection success!" in airflow.cli("connections", "test", "youcom_edited"), "the key is lost"


def test_the_key_never_comes_back_to_the_browser(
    ui: Any, airflow: LocalAirflow, you_com: Sandbox, received: list[str]
):
    fill_in(ui, "youcom_secret", api_key=you_com.api_key, base_url=you_com.base_url)
    ui.save()
    ui.open_saved_connection("youcom_secret")
    values = ui.page.locator("input, textarea").evaluate_all("fields => fields.map(field => field.value)")
    stored = airflow.request("GET", "/connections/youcom_secret").text
    assert you_com.base_url in values
    assert any("youcom_secret" in text for text in received)
    assert not [text for text in [*values, *received, ui.page.content(), stored] if you_com.api_key in text]


def test_the_test_button_says_what_the_account_holds(
    ui: Any, you_com: Sandbox, screenshot: Callable[[str], None]
):
    fill_in(ui, "youcom_good", api_key=you_com.api_key, base_url=you_com.base_url)
    answer = ui.test_connection("youcom_good")
    screenshot("connection-test-good-key")
    assert f"You.com account {you_com.accounts[you_com.api_key].account_id}: $3.20 left" in answer


def test_the_test_button_says_what_is_wrong_with_a_bad_key_and_where_to_get_a_good_one(
    ui: Any, you_com: Sandbox, screenshot: Callable[[str], None]
):
    fill_in(ui, "youcom_bad", api_key=BAD_KEY, base_url=you_com.base_url)
    answer = ui.test_connection("youcom_bad")
    screenshot("connection-test-bad-key")
    assert (
        'You.com refused this connection (HTTP 401, "Invalid or missing API key"); '
        "create a key at https://you.com/platform and use it instead." in answer
    )
    assert BAD_KEY not in answer


def test_the_rest_api_tests_a_connection_that_the_form_saved(
    ui: Any, airflow: LocalAirflow, you_com: Sandbox
):
    fill_in(ui, "youcom_rest", api_key=you_com.api_key, base_url=you_com.base_url)
    ui.save()
    body = {"connection_id": "youcom_rest", "conn_type": "youcom"}
    if airflow.version.startswith("2."):
        # Airflow 2 tests what it is sent, and knows nothing of the saved connection.
        body |= {"host": you_com.base_url, "password": you_com.api_key}
    answer = airflow.request("POST", "/connections/test", json=body).json()
    assert answer["status"] is True
    assert answer["message"].endswith(": $3.20 left")
