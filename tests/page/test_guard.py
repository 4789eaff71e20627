"""Who may see the page, and which names on it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import Sandbox
from tests.page.conftest import READABLE_DAG, Browser, hold, wait

PATHS = ["", "credits.css", "credits.js", "icon-light.svg", "icon-dark.svg"]
UNKNOWN = ["nothing", "a/b/c", "credits.css/", "docs", "redoc", "openapi.json", "%2e%2e%2fx"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]


def routes() -> set[str]:
    from airflow_provider_youcom._page.app import app

    return {route.path for route in app.app.routes}


def test_these_paths_reach_every_route(api_server: Any) -> None:
    # A new route needs a path in the lists above.
    assert routes() == {"/", "/{name}", "/{path:path}"}


@pytest.mark.parametrize(("path", "method"), list(product([*PATHS, *UNKNOWN], METHODS)))
def test_no_route_answers_somebody_who_is_not_signed_in_or_has_no_role(
    path: str, method: str, nobody: Browser, roleless: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 25)
    for visitor, status in ((nobody, 401), (roleless, 403)):
        answer = visitor.ask(path, method)
        assert answer.status_code == status
        assert READABLE_DAG not in answer.text
        assert "$" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", PATHS)
def test_a_viewer_can_read_and_do_nothing_else(path: str, viewer: Browser, ledger: Ledger) -> None:
    answers = {method: viewer.ask(path, method) for method in METHODS}
    assert {answers[method].status_code for method in ("GET", "HEAD")} == {200}
    assert answers["HEAD"].text == ""
    refused = [answer for method, answer in answers.items() if method not in ("GET", "HEAD")]
    assert {answer.status_code for answer in refused} == {405}
    assert {answer.headers["allow"] for answer in refused} == {"GET, HEAD"}


@pytest.mark.parametrize("path", ["nothing", "a/b/c", "docs", "openapi.json"])
def test_an_unknown_path_is_answered_by_the_page_itself(path: str, viewer: Browser) -> None:
    answer = viewer.ask(path)
    assert answer.status_code == 404
    assert "open Credits in Airflow's navigation" in answer.text.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("status", "headers"), [(307, {"Location": "https://sign-in.example/"}), (429, {"Retry-After": "3"})]
)
def test_what_an_auth_manager_answers_keeps_its_headers(
    status: int, headers: dict[str, str], viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi import HTTPException

    from tests.page.restricting_auth_manager import RestrictingAuthManager

    def send_away(*_: Any, **__: Any) -> bool:
        raise HTTPException(status, "Elsewhere", headers)

    monkeypatch.setattr(RestrictingAuthManager, "is_authorized_view", send_away)
    answer = viewer.ask()
    assert answer.status_code == status
    assert headers.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
    assert answer.headers["cache-control"] == "no-store"


def test_a_user_sees_the_runs_of_readable_dags_and_the_rest_as_a_sum(
    viewer: Browser, restricted: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 25)
    hold(ledger, sandbox, 30, "secret_dag", "manual__secret_run")
    everything = viewer.page()
    assert "secret_dag" in everything
    assert "manual__secret_run" in everything
    seen = restricted.page()
    assert READABLE_DAG in seen
    assert "secret" not in seen
    assert "and 1 that you may not see, holding $30.00 together" in seen
    assert "and others, which you may not see: $30 in 7 days, $30 in 30 days" in seen
    assert "$45.00" in seen, "what is available does not depend on who asks"


def test_a_user_sees_the_own_gates_in_line_at_their_places_and_the_rest_as_a_sum(
    viewer: Browser, restricted: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 95)
    wait(ledger, sandbox, 70, "secret_dag", "manual__secret_run")
    wait(ledger, sandbox, 60)
    wait(ledger, sandbox, 50, run_id="of_production", deployment="another-deployment")
    assert "secret_dag" in viewer.page()
    seen = restricted.page()
    assert "secret" not in seen
    assert "of_production" not in seen
    assert '<td class="place">2</td>' in seen
    assert "and 2 that you may not see, needing $120.00 together" in seen
    assert 'In line <span class="count">3</span>' in seen


def test_who_may_read_a_dag_but_no_runs_sees_no_run(
    viewer: Browser, without_runs: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 95, run_id="manual__who_holds")
    wait(ledger, sandbox, 70, run_id="manual__who_waits")
    pages = [visitor.page() for visitor in (viewer, without_runs)]
    assert [READABLE_DAG in page for page in pages] == [True, True], "a DAG that has reserved"
    assert ["manual__who" in page for page in pages] == [True, False]
    assert "and 1 that you may not see, holding $95.00 together" in pages[1]
    assert "and 1 that you may not see, needing $70.00 together" in pages[1]


@pytest.mark.parametrize("deployment", ["another-deployment", ""])
def test_nobody_sees_the_names_of_another_deployment_or_of_a_script(
    deployment: str, viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 25, run_id="of_production", deployment=deployment)
    seen = viewer.page()
    assert READABLE_DAG not in seen
    assert "of_production" not in seen
    assert "and 1 that you may not see, holding $25.00 together" in seen


def test_a_script_outside_of_airflow_is_part_of_the_sum(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither has an id, and that does not make them the same.
    monkeypatch.setenv("AIRFLOW_VAR_YOUCOM_DEPLOYMENT_ID", "")
    hold(ledger, sandbox, 25, dag_id="", run_id="build-host:4711", deployment="")
    hold(ledger, sandbox, 30, run_id="claims-to-be-a-run", deployment="")
    seen = viewer.page()
    assert "build-host" not in seen
    assert "claims-to-be-a-run" not in seen
    assert "and 2 that you may not see, holding $55.00 together" in seen


def test_no_name_is_shown_while_the_id_of_this_deployment_is_unknown(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(ledger, sandbox, 25)
    break_the_secrets_backends(monkeypatch)
    seen = viewer.page()
    assert READABLE_DAG not in seen
    assert "youcom_deployment_id cannot be read, so no run is shown by name" in seen
    assert "swordfish" not in seen
    assert "$75.00" in seen


def break_the_secrets_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import configuration

    class Broken:
        def get_variable(self, key: str, **_: Any) -> str:
            raise OSError(f"no {key} from vault.example with password swordfish")

        def get_connection(self, conn_id: str, **_: Any) -> None:
            return None

    load = configuration.ensure_secrets_loaded

    def load_with_broken(*given: Any, **named: Any) -> list[Any]:
        return [Broken(), *load(*given, **named)]

    monkeypatch.setattr(configuration, "ensure_secrets_loaded", load_with_broken)


def test_the_page_is_not_made_if_airflow_does_not_say_what_the_user_may_read(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.page.restricting_auth_manager import RestrictingAuthManager

    def fail(*_: Any, **__: Any) -> bool:
        raise OSError("the directory of users does not answer")

    hold(ledger, sandbox, 25)
    monkeypatch.setattr(RestrictingAuthManager, "is_authorized_dag", fail)
    answer = viewer.ask()
    assert answer.status_code == 500
    assert READABLE_DAG not in answer.text
    assert "the log of Airflow" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
