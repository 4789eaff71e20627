"""
A local You.com: the billing API with accounts to spend from, top up, and break on purpose.

Run it with ``python -m airflow_provider_youcom.sandbox``, or use :class:`Sandbox` as a context manager
in the tests of your DAGs. It listens on this machine only.
"""

from airflow_provider_youcom.sandbox._faults import Fault
from airflow_provider_youcom.sandbox._sandbox import DEFAULT_API_KEY, Account, Sandbox
from airflow_provider_youcom.sandbox._server import BALANCE_PATH, RESEARCH_PATH

__all__ = ["BALANCE_PATH", "DEFAULT_API_KEY", "RESEARCH_PATH", "Account", "Fault", "Sandbox"]
