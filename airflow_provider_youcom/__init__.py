"""Apache Airflow provider for You.com: hold a pipeline until the account can pay for it."""

from __future__ import annotations

__version__ = "0.2.0.dev0"
