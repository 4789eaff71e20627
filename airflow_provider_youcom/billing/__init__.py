"""You.com's billing API over HTTP. No Airflow."""

DEFAULT_BASE_URL = "https://api.you.com"
DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_RETRIES = 2
