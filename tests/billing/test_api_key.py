from __future__ import annotations

import pytest

from airflow_provider_youcom.billing._api_key import check_api_key
from airflow_provider_youcom.exceptions import YouComRefusedError

pytestmark = pytest.mark.on_the_ends


@pytest.mark.parametrize("key", ["ydc-sk-4f1c", "a/b+c==", "yourcompany-key", "a*b", "key", "nonesuch"])
def test_a_key_loses_only_the_blanks_around_it(key: str):
    assert check_api_key(f"  {key}\n", "the key of x") == key


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (" ", "^There is no API key: create one at .* and make it the password of the key of x.$"),
        ("***", "the row of asterisks that Airflow shows in place of a saved password"),
        ("*", "the row of asterisks"),
        ('"ydc-sk-4f1c"', "quotation marks"),
        ("'ydc-sk-4f1c", "quotation marks"),
        ("$YDC_API_KEY", "is a placeholder"),
        ("${YDC_API_KEY}", "is a placeholder"),
        ("<API_KEY>", "is a placeholder"),
        ("{{ var.value.ydc }}", "is a placeholder"),
        ("your-api-key", "is a placeholder"),
        ("YOUR_API_KEY", "is a placeholder"),
        ("None", "is a placeholder"),
        ("two words", "a character that no key has"),
        ("schlüssel", "a character that no key has"),
        ("a\x00b", "a character that no key has"),
    ],
)
def test_an_invalid_key_is_refused_without_being_shown(key: str, problem: str):
    with pytest.raises(YouComRefusedError, match=problem) as caught:
        check_api_key(key, "the key of x")
    assert "\n" not in str(caught.value)
    assert "ydc-sk-4f1c" not in str(caught.value)
