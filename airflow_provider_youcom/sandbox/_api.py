"""What the sandbox answers: You.com's paths, and its own under ``/sandbox``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from airflow_provider_youcom.money import json_number
from airflow_provider_youcom.sandbox._checks import invalid
from airflow_provider_youcom.sandbox._faults import Fault
from airflow_provider_youcom.sandbox._you_com import Refusal, YouCom

BALANCE_PATH = "/v1/billing/account_balance"
RESEARCH_PATH = "/v1/research"
# https://you.com/docs/administration/billing
_RESEARCH_PRICES_USD = {
    "lite": Decimal("0.012"),
    "standard": Decimal("0.05"),
    "deep": Decimal("0.10"),
    "exhaustive": Decimal("0.45"),
}


class Answer(NamedTuple):
    """An answer to a request, and what goes wrong with it."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = {}
    fault: Fault = Fault()


_UNAUTHORIZED = Answer(401, {"detail": "Invalid or missing API key"})
_OUT_OF_CREDITS = Answer(402, {"detail": "Out of credits"})
# You.com names the code, but not the shape of the body, so this is a guess.
_SPEND_CAP_EXCEEDED = Answer(
    429, {"detail": "The API key has reached its spending cap", "code": "spend_cap_exceeded"}
)
_REFUSED = {Refusal.OUT_OF_CREDITS: _OUT_OF_CREDITS, Refusal.SPEND_CAP_EXCEEDED: _SPEND_CAP_EXCEEDED}
_FORBIDDEN = Answer(403, {"detail": "API key lacks scope for this path"})


def respond(you_com: YouCom, method: str, path: str, api_key: str, body: bytes) -> Answer:
    """Return the answer to a request."""
    if path not in _PATHS:
        return Answer(404, {"detail": "Not Found"})
    allowed_method, respond_to = _PATHS[path]
    if method != allowed_method:
        return Answer(405, {"detail": "Method Not Allowed"}, {"Allow": allowed_method})
    try:
        return respond_to(you_com, api_key, _parse(body) if method == "POST" else {})
    except ValueError as error:
        return Answer(400, {"detail": str(error)})


def _parse(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except (RecursionError, ValueError):
        request = None
    if not isinstance(request, dict):
        raise invalid("The body", "a JSON object")
    if not isinstance(request.get("api_key"), str | None):
        raise invalid("api_key", "a string")
    return request


def _balance(you_com: YouCom, api_key: str, _: dict[str, Any]) -> Answer:
    return _balance_without_fault(you_com, api_key)._replace(fault=you_com.take_fault(api_key))


def _balance_without_fault(you_com: YouCom, api_key: str) -> Answer:
    account = you_com.accounts.get(api_key)
    if account is None:
        return _UNAUTHORIZED
    if not account.has_billing_scope:
        return _FORBIDDEN
    if you_com.is_at_cap(api_key):
        return _SPEND_CAP_EXCEEDED
    balance = json_number(you_com.posted_balance_cents(account))
    data = {"type": "account", "id": account.account_id, "attributes": {"balance": balance}}
    return Answer(200, {"data": data})


def _research(you_com: YouCom, api_key: str, request: dict[str, Any]) -> Answer:
    if api_key not in you_com.accounts:
        return _UNAUTHORIZED
    question, effort = request.get("input"), request.get("research_effort", "standard")
    if not isinstance(question, str):
        raise invalid("input", "a string")
    if effort not in list(_RESEARCH_PRICES_USD):
        raise invalid("research_effort", f"one of {', '.join(_RESEARCH_PRICES_USD)}")
    refusal = you_com.charge(_RESEARCH_PRICES_USD[effort], api_key)
    if refusal is not None:
        return _REFUSED[refusal]
    output = {"content": f"All there is to know about: {question}", "content_type": "text", "sources": []}
    return Answer(200, {"output": output})


def _state(you_com: YouCom, *_: object) -> Answer:
    return Answer(200, you_com.state())


def _inject(you_com: YouCom, times: int | None = 1, api_key: str | None = None, **fault: Any) -> None:
    you_com.inject(Fault(**fault), times, api_key)


_Respond = Callable[[YouCom, str, dict[str, Any]], Answer]
_FAULT = tuple(field.name for field in dataclasses.fields(Fault))


def _change(change: Callable[..., Refusal | None], required: Sequence[str], *optional: str) -> _Respond:
    members = [f"{name} (required)" for name in required] + [*optional, "api_key"]

    def respond_to(you_com: YouCom, _: str, request: dict[str, Any]) -> Answer:
        if not {*required} <= request.keys() <= {*required, *optional, "api_key"}:
            raise invalid("The body", f"an object with no other members than {', '.join(members)}")
        refusal = change(you_com, **request)
        return _state(you_com) if refusal is None else _REFUSED[refusal]

    return respond_to


_PATHS: dict[str, tuple[str, _Respond]] = {
    BALANCE_PATH: ("GET", _balance),
    RESEARCH_PATH: ("POST", _research),
    "/sandbox": ("GET", _state),
    "/sandbox/balance": ("POST", _change(YouCom.set_balance, ["usd"])),
    "/sandbox/top-up": ("POST", _change(YouCom.top_up, ["usd"])),
    "/sandbox/spend": ("POST", _change(YouCom.charge, ["usd"])),
    "/sandbox/spending-cap": ("POST", _change(YouCom.set_spending_cap, ["usd"])),
    "/sandbox/faults": ("POST", _change(_inject, [], "times", *_FAULT)),
    "/sandbox/heal": ("POST", _change(YouCom.heal, [])),
}
