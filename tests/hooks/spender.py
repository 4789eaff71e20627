"""A script that spends credits again and again; test_reserved_fleet.py runs it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import requests

from airflow_provider_youcom.exceptions import YouComShortfallError
from airflow_provider_youcom.hooks.youcom import YouComHook

PAYMENTS = 3


def change(command: str, usd: Decimal) -> int:
    """Change what the account holds, and return the status."""
    url = f"{os.environ['YOU_COM']}/sandbox/{command}"
    return requests.post(url, json={"usd": str(usd)}, timeout=60).status_code


def meet(where: str) -> None:
    """Wait until all scripts have reached this point, so that they run at the same time on any machine."""
    place = Path(os.environ["MEETING_PLACE"], where)
    place.mkdir(exist_ok=True)
    place.joinpath(str(os.getpid())).touch()
    while len(list(place.iterdir())) < int(os.environ["SCRIPTS"]):
        time.sleep(0.01)


@contextmanager
def only_checked(usd: str) -> Iterator[None]:
    """Check the balance, and reserve nothing."""
    balance = YouComHook().get_balance()
    if balance.balance_usd < Decimal(usd):
        raise YouComShortfallError("Not enough.", missing_usd=Decimal(usd) - balance.balance_usd)
    meet("all have checked")
    yield


def main(rounds: int, how: str) -> None:
    """Print how many payments were made and refused."""
    answers: list[int] = []
    meet("all have started")
    set_aside = only_checked if how == "checked" else YouComHook().reserved_credits
    while rounds:
        try:
            with set_aside("0.30"):
                payments = [change("spend", Decimal("0.10")) for _ in range(PAYMENTS)]
        except YouComShortfallError:
            time.sleep(0.02)
            continue
        rounds -= 1
        answers += payments
        # Only what was spent is added back, so that the balance never exceeds the one at the start.
        change("top-up", Decimal("0.10") * payments.count(200))
    sys.stdout.write(json.dumps({"paid": answers.count(200), "refused": answers.count(402)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
