from __future__ import annotations

import base64
import re
from urllib.parse import quote

import pytest

from airflow_provider_youcom._masking import holds_key, mask_key
from tests.security.canary import CANARY_KEY, sightings

pytestmark = pytest.mark.on_the_ends

WRITTEN = {
    "plain": CANARY_KEY,
    "URL-encoded": quote(CANARY_KEY, safe=""),
    "URL-encoded, but for its slashes": quote(CANARY_KEY),
    "URL-encoded in small letters": re.sub("%..", lambda escape: escape[0].lower(), quote(CANARY_KEY)),
    "base64": base64.b64encode(CANARY_KEY.encode()).decode(),
    "base64 without its end": base64.b64encode(CANARY_KEY.encode()).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(CANARY_KEY.encode()).decode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_key_is_found_and_masked_however_a_server_writes_it(form: str):
    text = f"before {WRITTEN[form]} behind"
    assert holds_key(text, CANARY_KEY)
    assert "before ***" in mask_key(text, CANARY_KEY)
    assert sightings(mask_key(text, CANARY_KEY)) == 0


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_key_inside_a_longer_text_is_masked_in_base64(before: str):
    text = base64.b64encode(f"{before}{CANARY_KEY} and more".encode()).decode()
    assert sightings(text) == 1
    assert sightings(mask_key(text, CANARY_KEY)) == 0


def test_text_other_than_the_key_is_unchanged():
    text = f"account 4f1c of {quote('a+b/c')}, {base64.b64encode(b'another text').decode()}"
    assert mask_key(text, CANARY_KEY) == text
    assert not holds_key(text, CANARY_KEY)


def test_a_short_key_is_masked_only_in_plain_text():
    assert mask_key("the key k, a2", "k") == "the ***ey ***, a2"
