"""What the sandbox answers: You.com's paths, and its own under ``/sandbox``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from airflow_provider_youcom.sandbox._faults import Fault, invalid
from airflow_provider_youcom.sandbox._you_com import YouCom

BALANCE_PATH = "/v1/billing/account_balance"
RESEARCH_PATH = "/v1/research"
# https://docs.you.com/administration/billing
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
    except (TypeError, ValueError) as error:
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
    cents = you_com.posted_balance_cents(account)
    balance = int(cents) if cents == cents.to_integral_value() else float(cents)
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
    if not you_com.spend(_RESEARCH_PRICES_USD[effort], api_key):
        return _OUT_OF_CREDITS
    output = {"content": f"All there is to know about: {question}", "content_type": "text", "sources": []}
    return Answer(200, {"output": output})


def _state(you_com: YouCom, *_: object) -> Answer:
    return Answer(200, you_com.state())


def _inject(you_com: YouCom, times: int | None = 1, api_key: str | None = None, **fault: Any) -> None:
    you_com.inject(Fault(**fault), times, api_key)


_Respond = Callable[[YouCom, str, dict[str, Any]], Answer]


def _change(change: Callable[..., bool | None]) -> _Respond:
    def respond_to(you_com: YouCom, _: str, request: dict[str, Any]) -> Answer:
        return _OUT_OF_CREDITS if change(you_com, **request) is False else _state(you_com)

    return respond_to


_PATHS: dict[str, tuple[str, _Respond]] = {
    BALANCE_PATH: ("GET", _balance),
    RESEARCH_PATH: ("POST", _research),
    "/sandbox": ("GET", _state),
    "/sandbox/balance": ("POST", _change(YouCom.set_balance)),
    "/sandbox/top-up": ("POST", _change(YouCom.top_up)),
    "/sandbox/spend": ("POST", _change(YouCom.spend)),
    "/sandbox/faults": ("POST", _change(_inject)),
    "/sandbox/heal": ("POST", _change(YouCom.heal)),
}
