"""
What every process of Airflow starts with: a debugging session of its HTTP, and a stand-in for AWS.

Airflow's hook for PostgreSQL asks AWS for a token if the extra ``iam`` says so. Here, it gets the canary.
"""

import http.client
import os
import sys
from pathlib import Path
from types import ModuleType

http.client.HTTPConnection.debuglevel = 1


class AwsBaseHook:
    """As much of the hook of the Amazon provider as makes a token for RDS."""

    def __init__(self, aws_conn_id: str, client_type: str) -> None:
        self.conn = self

    def generate_db_auth_token(self, host: str, port: int, login: str) -> str:
        """Return the token, and leave a trace."""
        file = Path(os.environ["IAM_TOKEN_FILE"])
        file.with_suffix(".was_read").touch()
        return file.read_text()


_amazon = ModuleType("airflow.providers.amazon.aws.hooks.base_aws")
_amazon.AwsBaseHook = AwsBaseHook  # type: ignore[attr-defined]
sys.modules[_amazon.__name__] = _amazon
