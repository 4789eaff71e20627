from __future__ import annotations

import ssl

import pytest
import requests

from airflow_provider_youcom.billing._transport_errors import as_youcom_error
from airflow_provider_youcom.exceptions import YouComRefusedError

pytestmark = pytest.mark.on_the_ends


@pytest.mark.parametrize(
    "words",
    [
        "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)",
        # OpenSSL 3.2 and later: https://github.com/cherrypy/cherrypy/issues/2026
        "[SSL] record layer failure (_ssl.c:1033)",
        "[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1033)",
    ],
)
def test_a_peer_without_tls_is_recognized_in_the_words_of_each_openssl(words: str):
    error = requests.exceptions.SSLError(ssl.SSLError(1, words))
    explained = as_youcom_error(error, "https://localhost:8765")
    assert type(explained) is YouComRefusedError
    assert "make http://localhost:8765 the Base URL" in str(explained)
