"""
The credits page in Airflow's navigation, on Airflow 3.1.1 and later.

Every process of Airflow loads its plugins, so this imports nothing but Airflow's own class. What serves the
page is imported at the first request, and only the API server gets requests.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import AirflowPlugin

URL_PREFIX = "/youcom"


class LazyApp:
    """The page's app, which is imported at the first request."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """
        Answer a request.

        :param scope: the request, as ASGI describes it.
        :param receive: returns what the client sends.
        :param send: sends the answer.
        """
        if self._app is None:
            # In a thread: an import can take long, and others use this event loop.
            module = await asyncio.to_thread(import_module, "airflow_provider_youcom._page.app")
            self._app = module.app
        await self._app(scope, receive, send)


def _can_show_pages() -> bool:
    # Airflow 3.1.0 ignores the cookie that a page in a frame sends, and answers 401.
    return hasattr(AirflowPlugin, "external_views") and not airflow_version.startswith("3.1.0")


# The URLs are relative, so that they also work if [api] base_url has a path. Without the slash at its end,
# Airflow answers the page's URL with its own UI.
_VIEW = {
    "name": "Credits",
    "href": f"{URL_PREFIX[1:]}/",
    "url_route": "youcom-credits",
    "destination": "nav",
    "icon": f"{URL_PREFIX[1:]}/icon-light.svg",
    "icon_dark_mode": f"{URL_PREFIX[1:]}/icon-dark.svg",
}


class YouComPlugin(AirflowPlugin):
    """Shows what You.com accounts hold, who has reserved it, and when it runs out."""

    name = "youcom"
    fastapi_apps: list[Any] = (
        [{"name": "You.com credits", "app": LazyApp(), "url_prefix": URL_PREFIX}] if _can_show_pages() else []
    )
    external_views: list[Any] = [_VIEW] if _can_show_pages() else []
