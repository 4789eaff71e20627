"""
A local You.com: the billing API, with accounts to spend from and top up, and faults to inject.

Run it with ``python -m airflow_provider_youcom.sandbox``, or use ``Sandbox`` as a context manager
in the tests of your DAGs. It listens on this machine only.
"""

from airflow_provider_youcom.sandbox._account import Account
from airflow_provider_youcom.sandbox._api import BALANCE_PATH, RESEARCH_PATH
from airflow_provider_youcom.sandbox._faults import Fault
from airflow_provider_youcom.sandbox._sandbox import DEFAULT_API_KEY, Sandbox

__all__ = ["BALANCE_PATH", "DEFAULT_API_KEY", "RESEARCH_PATH", "Account", "Fault", "Sandbox"]
