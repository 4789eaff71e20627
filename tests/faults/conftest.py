"""All tests here ignore the proxies of this machine and trust the certificate authority of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.certificates import ca_file


@pytest.fixture(autouse=True, scope="session")
def network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setenv("REQUESTS_CA_BUNDLE", str(ca_file()))
        yield
