"""The fault matrix: what can go wrong between a gate and You.com, and how each fault must end."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import quote

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import (
    YouComRefusedError,
    YouComResponseError,
    YouComSpendCapError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import Action, Reading
from tests.faults.broken_server import (
    leads_to,
    says,
    says_and_holds,
    says_and_resets,
    says_nothing,
    says_without_end,
)
from tests.faults.certificates import expired, for_another_host, good, self_signed
from tests.faults.places import (
    GOOD_ANSWER,
    HEAD,
    HOLDS_A_DOLLAR,
    Place,
    answers,
    body,
    html,
    https_proxy_without_tls,
    later,
    name_without_an_address,
    nobody_accepts,
    nobody_listens,
    plain_http_behind_https,
    proxy,
    proxy_named,
    redirects,
    redirects_to_itself,
    says_detail,
    shows_certificate,
    silent_behind_https,
    speaks,
    tls_cut_short,
    trusts,
)
from tests.security.canary import CANARY_KEY


@dataclass(frozen=True)
class Outcome:
    """
    What a fault leads to.

    :param kind: the kind of reading.
    :param actions: what a gate does about it under ``on_unavailable`` "wait", "fail" and "pass".
    """

    kind: type[Reading]
    actions: tuple[Action, Action, Action]


UNAVAILABLE = Outcome(YouComUnavailableError, (Action.WAIT, Action.RETRY, Action.OPEN))
REFUSED = Outcome(YouComRefusedError, (Action.FAIL, Action.FAIL, Action.FAIL))
SPEND_CAP = Outcome(YouComSpendCapError, (Action.FAIL, Action.FAIL, Action.FAIL))
NOT_THE_CONTRACT = Outcome(YouComResponseError, (Action.RETRY, Action.RETRY, Action.RETRY))
ACCEPTED = Outcome(AccountBalance, (Action.OPEN, Action.OPEN, Action.OPEN))

_SHORT_TIMEOUT = 0.5


@dataclass(frozen=True)
class Case:
    """
    One fault.

    :param name: what goes wrong.
    :param place: where to call, to meet it.
    :param outcome: how it must end.
    :param message: a pattern for the sentence of the error or of the accepted balance.
    :param timeout: seconds that the call may take. Long by default, so that a fault ends by its own bound on
        a machine of any speed.
    """

    name: str
    place: Place
    outcome: Outcome
    message: str
    timeout: float = 60.0


def _without_end(name: str, place: Place) -> Case:
    """Return a fault that only the call's timeout ends."""
    return Case(name, place, UNAVAILABLE, _LATE, timeout=_SHORT_TIMEOUT)


_LONG_HEADER = b"X-Long: %s\r\n" % (b"x" * 60_000)
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" * 100
_TWO_LENGTHS = HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n"
_CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_CHUNK = b"1000\r\n%4096s\r\n" % b""
_GOOD_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HOLDS_A_DOLLAR), HOLDS_A_DOLLAR.encode())
_GZIP = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
_BOMB = gzip.compress(b" " * 100_000_000, compresslevel=9)
_CAP = "spend_cap_exceeded"
_CAPPED = json.dumps({"detail": "Over the cap.", "error": {"code": _CAP}})
_GZIP_429 = b"HTTP/1.1 429 No\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
_CAPPED_GZIP = gzip.compress(_CAPPED.encode())
_KEY = CANARY_KEY.encode()
_REST_OF_GOOD = b"\r\n" + GOOD_ANSWER.removeprefix(HEAD)
_IN_THE_ID = "account id that holds the API key"
_KEY_IN_BASE64 = base64.b64encode(CANARY_KEY.encode()).decode()
_NO_END = HEAD + b"Connection: close\r\n\r\n"
_CUT = "connection was cut"
_TOO_LARGE = "more than 256 KiB"
# Python 3.14 stops by itself after 100 informational answers.
_ENDLESS = f"{_TOO_LARGE}|{_CUT}"
_LATE = r"nothing complete within 0\.5 s|fell silent|could not be made in time"
_PASSES = r"returned no balance \(HTTP {}.*usually passes"

CASES = [
    # the way to You.com
    Case("name does not resolve", name_without_an_address, UNAVAILABLE, "could not be resolved"),
    Case("connection refused", nobody_listens, UNAVAILABLE, "connection was refused"),
    _without_end("connect timeout", nobody_accepts),
    Case("proxy hangs up", proxy(None), UNAVAILABLE, "proxy did not let|connection was cut"),
    Case("proxy is nowhere", proxy_named("http://youcom.invalid:3128"), UNAVAILABLE, "proxy did not let"),
    Case("proxy is no URL", proxy_named("http://"), REFUSED, "The proxy that the environment names"),
    Case("proxy on port 99999", proxy_named("http://localhost:99999"), REFUSED, "The proxy that the environ"),
    Case(
        "proxy on port 0", proxy_named("http://127.0.0.1:0"), REFUSED, "The proxy that the environment names"
    ),
    Case("proxy without TLS at https", https_proxy_without_tls, REFUSED, "write http:// in front of its"),
    Case(
        "proxy leads to plain HTTP", proxy(leads_to(b"HTTP/1.1 400 No\r\n\r\n")), REFUSED, "through TLS only"
    ),
    Case("proxy wants a login", proxy(says(b"HTTP/1.1 407 No\r\n\r\n")), UNAVAILABLE, "proxy did not let"),
    # TLS
    Case("certificate good", shows_certificate(good), ACCEPTED, r"\$1\.00 left"),
    Case("CA file is none", trusts(b"not a certificate"), REFUSED, "CA file .* cannot be read"),
    Case("certificate self-signed", shows_certificate(self_signed), REFUSED, "self-signed certificate"),
    Case("certificate of another", shows_certificate(for_another_host), REFUSED, "not valid for '127.0.0.1'"),
    Case("certificate expired", shows_certificate(expired), REFUSED, "certificate has expired"),
    Case(
        "plain HTTP behind https", plain_http_behind_https, REFUSED, r"make http://127\.0\.0\.1:\d+ the Base"
    ),
    Case("TLS handshake cut short", tls_cut_short, UNAVAILABLE, "TLS handshake failed|connection was cut"),
    _without_end("TLS handshake never ends", silent_behind_https),
    # the connection
    Case("hangs up at once", speaks(None), UNAVAILABLE, _CUT),
    Case("reset before the answer", speaks(says_and_resets(b"")), UNAVAILABLE, _CUT),
    Case("reset inside the head", speaks(says_and_resets(HEAD)), UNAVAILABLE, _CUT),
    Case("reset inside the body", speaks(says_and_resets(GOOD_ANSWER[:-9])), UNAVAILABLE, _CUT),
    Case("closed before the answer", answers(cut="before"), UNAVAILABLE, _CUT),
    Case("closed inside the body", answers(cut="inside"), UNAVAILABLE, _CUT),
    _without_end("silence", speaks(says_nothing)),
    _without_end("silence inside the body", speaks(says_and_holds(GOOD_ANSWER[:-9]))),
    _without_end("drips a byte a second", answers(drip=1)),
    _without_end("drips its body", speaks(says_without_end(_NO_END, b" ", 0.2))),
    # not HTTP
    Case("another protocol", speaks(says(b"SSH-2.0-OpenSSH_9.6\r\n")), UNAVAILABLE, _CUT),
    Case("no status line", speaks(says(b'{"data": {}}\r\n\r\n')), UNAVAILABLE, _CUT),
    Case("head without an end", speaks(says_without_end(HEAD, b"X-More: of this\r\n")), UNAVAILABLE, _CUT),
    Case("header without an end", speaks(says_without_end(HEAD, b"x" * 8192)), UNAVAILABLE, _CUT),
    Case("headers of 60 KiB", speaks(says(HEAD, _LONG_HEADER * 90, b"\r\n{}")), UNAVAILABLE, _TOO_LARGE),
    Case("Continue without an end", speaks(says_without_end(b"", _CONTINUE)), UNAVAILABLE, _ENDLESS),
    Case("Early Hints, and then the answer", speaks(says(_HINTS, GOOD_ANSWER)), UNAVAILABLE, "HTTP 103"),
    Case("two lengths", speaks(says(_TWO_LENGTHS, b"{}")), UNAVAILABLE, "connection failed"),
    Case("chunks are garbage", speaks(says(_CHUNKED, b"zz\r\n{}")), UNAVAILABLE, _CUT),
    Case("chunk cut short", speaks(says(_CHUNKED, b"ff\r\n{}")), UNAVAILABLE, _CUT),
    Case("chunk of 2**60 bytes", speaks(says(_CHUNKED, b"f" * 15, b"\r\n{}")), UNAVAILABLE, _CUT),
    # too much
    Case("endless body", answers(" " * 65536, repeat=-1), NOT_THE_CONTRACT, "more than 64 KiB"),
    Case("100 MB body", answers(" " * 100_000, repeat=1000), NOT_THE_CONTRACT, "more than 64 KiB"),
    Case("endless chunks", speaks(says_without_end(_CHUNKED, _CHUNK)), NOT_THE_CONTRACT, "64 KiB"),
    Case("gzip bomb", speaks(says(_GZIP, _BOMB)), NOT_THE_CONTRACT, "compressed body"),
    Case("gzip bomb unannounced", speaks(says(_NO_END, _BOMB)), NOT_THE_CONTRACT, "more than 64 KiB"),
    Case("endless body of a 500", answers(" " * 65536, 500, repeat=-1), UNAVAILABLE, _PASSES.format(500)),
    Case("deep nesting", answers("[" * 30_000), NOT_THE_CONTRACT, "not JSON"),
    Case("60,000 digits", body(balance="9" * 60_000), NOT_THE_CONTRACT, "range of a double"),
    # 200, but not the contract
    Case("empty body", answers(""), NOT_THE_CONTRACT, "not JSON"),
    Case("HTML", html(200), NOT_THE_CONTRACT, "not JSON"),
    Case("truncated JSON", answers('{"data": {"type": "acc'), NOT_THE_CONTRACT, "not JSON"),
    Case("not UTF-8", speaks(says(_NO_END, b'{"data": "\xff"}')), NOT_THE_CONTRACT, "not JSON"),
    Case("a list", answers("[]"), NOT_THE_CONTRACT, "data is missing"),
    Case("null", answers("null"), NOT_THE_CONTRACT, "data is missing"),
    Case("an error's body", answers('{"detail": "no"}'), NOT_THE_CONTRACT, "data is missing"),
    Case("data is a list", body("data", "[]"), NOT_THE_CONTRACT, "data is not an object"),
    Case("data is null", body("data", "null"), NOT_THE_CONTRACT, "data is not an object"),
    Case("no type", body("type"), NOT_THE_CONTRACT, "data.type is missing"),
    Case("type is a number", body("type", "1"), NOT_THE_CONTRACT, "data.type is not a string"),
    Case("another type", body("type", '"user"'), ACCEPTED, r"\$1\.00 left"),
    Case("no id", body("id"), NOT_THE_CONTRACT, "data.id is missing"),
    Case("id is a number", body("id", "7"), NOT_THE_CONTRACT, "data.id is not a string"),
    Case("id is null", body("id", "null"), NOT_THE_CONTRACT, "data.id is not a string"),
    Case("id is empty", body("id", '" "'), ACCEPTED, r"\$1\.00 left"),
    Case("id forges a log line", body("id", r'"a\nERROR"'), ACCEPTED, r"a\\nERROR: "),
    Case("id is half a character", body("id", r'"\ud83d"'), ACCEPTED, r"\\ud83d: "),
    Case("no attributes", body("attributes"), NOT_THE_CONTRACT, "data.attributes is missing"),
    Case("attributes are a list", body("attributes", "[]"), NOT_THE_CONTRACT, "attributes is not an object"),
    Case("no balance", body("balance"), NOT_THE_CONTRACT, "balance is missing"),
    Case("balance is a string", body("balance", '"100"'), NOT_THE_CONTRACT, "balance is not a number"),
    Case("balance is true", body("balance", "true"), NOT_THE_CONTRACT, "balance is not a number"),
    Case("balance is null", body("balance", "null"), NOT_THE_CONTRACT, "balance is not a number"),
    Case("balance is a list", body("balance", "[100]"), NOT_THE_CONTRACT, "balance is not a number"),
    Case("balance is NaN", body("balance", "NaN"), NOT_THE_CONTRACT, "NaN is not a JSON number"),
    Case("balance is Infinity", body("balance", "Infinity"), NOT_THE_CONTRACT, "Infinity is not a JSON"),
    Case("balance is 1e400", body("balance", "1e400"), NOT_THE_CONTRACT, "range of a double"),
    Case("balance is 9e308", body("balance", "9e308"), NOT_THE_CONTRACT, "range of a double"),
    Case("exponent has 30 digits", body("balance", "1e" + "9" * 30), NOT_THE_CONTRACT, "."),
    Case("duplicate keys", body(extra=', "balance": 1, "balance": 2'), NOT_THE_CONTRACT, "same member twice"),
    # unusual, but within the contract
    Case("unknown members", body(extra=', "currency": "USD", "more": [{}]'), ACCEPTED, r"4f1c: \$1\.00 left"),
    Case("unicode id", body("id", '"Kontö-口座"'), ACCEPTED, "Kontö-口座"),
    Case("balance is -0.0", body(balance="-0.0"), ACCEPTED, r": \$0\.00 left"),
    Case("balance has 30 digits", body(balance="1" * 30), ACCEPTED, r"\$1,111,.*,111\.11 left"),
    Case("balance is 1e-400", body(balance="1e-400"), ACCEPTED, r"\$0\.00 left"),
    Case("good chunks", speaks(says(_CHUNKED, _GOOD_CHUNKS)), ACCEPTED, r"\$1\.00 left"),
    # other statuses
    Case("201", answers(status=201), NOT_THE_CONTRACT, "HTTP 201"),
    Case("204", speaks(says(b"HTTP/1.1 204 No Content\r\n\r\n")), NOT_THE_CONTRACT, "HTTP 204"),
    Case("301 to another host", redirects(301), REFUSED, r"redirects \(HTTP 301\)"),
    Case("302 to another host", redirects(302), REFUSED, r"redirects \(HTTP 302\)"),
    Case("303 to another host", redirects(303), REFUSED, r"redirects \(HTTP 303\)"),
    Case("307 to another host", redirects(307), REFUSED, r"redirects \(HTTP 307\)"),
    Case("308 to another host", redirects(308), REFUSED, r"redirects \(HTTP 308\)"),
    Case("301 to itself", redirects_to_itself(301), REFUSED, r"redirects \(HTTP 301\)"),
    Case("307 to itself", redirects_to_itself(307), REFUSED, r"redirects \(HTTP 307\)"),
    Case("304", speaks(says(b"HTTP/1.1 304 Not Modified\r\n\r\n")), REFUSED, r"\(HTTP 304\); check the"),
    Case("400", answers('{"detail": "what?"}', 400), REFUSED, r'HTTP 400, "what\?"'),
    Case("401", answers('{"detail": "Invalid"}', 401), REFUSED, "create a key at https://you.com/platform"),
    Case("402", answers('{"detail": "Empty"}', 402), REFUSED, "top up the account"),
    Case("403", answers('{"detail": "No scope"}', 403), REFUSED, "give the key the billing scope"),
    Case("404", html(404), REFUSED, "Base URL is You.com's"),
    Case("408", html(408), UNAVAILABLE, _PASSES.format(408)),
    Case("418", html(418), REFUSED, "HTTP 418"),
    Case("425", html(425), UNAVAILABLE, _PASSES.format(425)),
    Case("429", html(429), UNAVAILABLE, _PASSES.format(429)),
    Case("429, spend_cap_exceeded", answers(_CAPPED, 429), SPEND_CAP, "reached its spending cap"),
    Case("429, spend_cap_exceeded deep inside", answers(f"[[{_CAPPED}]]", 429), SPEND_CAP, "spending cap"),
    Case("429, spend_cap_exceeded in gzip", speaks(says(_GZIP_429, _CAPPED_GZIP)), SPEND_CAP, "spending cap"),
    Case("429, spend_cap_exceeded after 1 s", later("1", _CAPPED), SPEND_CAP, "reached its spending cap"),
    Case("429, a longer word than the code", answers(f"{_CAP}_soon", 429), UNAVAILABLE, _PASSES.format(429)),
    Case("429, endless body", answers(" " * 65536, 429, repeat=-1), UNAVAILABLE, _PASSES.format(429)),
    Case("429, gzip bomb", speaks(says(_GZIP_429, _BOMB)), UNAVAILABLE, _PASSES.format(429)),
    Case("429, after 1 s", later("1"), UNAVAILABLE, "asks to wait 1 s"),
    Case("429, after an hour", later("3600"), UNAVAILABLE, "asks to wait 3600 s"),
    Case("429, at a date", later(formatdate(4e9, usegmt=True)), UNAVAILABLE, r"asks to wait \d+ s"),
    Case("429, at a date that has been", later(formatdate(0, usegmt=True)), UNAVAILABLE, "try again later"),
    Case("429, after -5 s", later("-5"), UNAVAILABLE, "try again later"),
    Case("429, after 10**400 s", later("1" + "0" * 400), UNAVAILABLE, "try again"),
    Case("429, after 5,000 digits", later("9" * 5000), UNAVAILABLE, "try again later"),
    Case("429, after garbage", later("soon"), UNAVAILABLE, "try again later"),
    Case("500 with HTML", html(500), UNAVAILABLE, _PASSES.format(500)),
    Case("502 with HTML", html(502), UNAVAILABLE, _PASSES.format(502)),
    Case("503 with HTML", html(503), UNAVAILABLE, _PASSES.format(503)),
    Case("504 with HTML", html(504), UNAVAILABLE, _PASSES.format(504)),
    Case("520 with HTML", html(520), UNAVAILABLE, _PASSES.format(520)),
    Case("999 with HTML", html(999), UNAVAILABLE, _PASSES.format(999)),
    Case("503 with a reason", answers('{"detail": "moving"}', 503), UNAVAILABLE, 'HTTP 503, "moving"'),
    # answers that repeat the key
    Case("401 repeats the key", says_detail(CANARY_KEY), REFUSED, r'"You sent \*\*\*\."'),
    Case("429 repeats the key", says_detail(CANARY_KEY, 429, _CAP), SPEND_CAP, r'"You sent \*\*\*\."'),
    Case("401 URL-encodes the key", says_detail(quote(CANARY_KEY, safe="")), REFUSED, r'"You sent \*\*\*\."'),
    Case("401 has the key in base64", says_detail(_KEY_IN_BASE64), REFUSED, r'"You sent \*\*\*\."'),
    Case("redirect repeats the key", redirects_to_itself(302, f"?key={CANARY_KEY}"), REFUSED, "redirects"),
    Case("id is the key", body("id", json.dumps(CANARY_KEY)), NOT_THE_CONTRACT, _IN_THE_ID),
    Case("id holds the key", body("id", json.dumps(f"acct:{CANARY_KEY}")), NOT_THE_CONTRACT, _IN_THE_ID),
    Case("id has the key in base64", body("id", json.dumps(_KEY_IN_BASE64)), NOT_THE_CONTRACT, _IN_THE_ID),
    Case("200 repeats the key", answers(f"You sent {CANARY_KEY}."), NOT_THE_CONTRACT, "not JSON"),
    Case("status line repeats the key", speaks(says(_KEY, b"\r\n\r\n")), UNAVAILABLE, _CUT),
    Case("status repeats the key", speaks(says(b"HTTP/1.1 ", _KEY, b"\r\n\r\n")), UNAVAILABLE, _CUT),
    Case("broken header repeats the key", speaks(says(HEAD, _KEY, _REST_OF_GOOD)), ACCEPTED, r"\$1\.00 left"),
    Case("chunk repeats the key", speaks(says(_CHUNKED, _KEY, b"\r\n")), UNAVAILABLE, _CUT),
]

WITHOUT_END = [case for case in CASES if case.timeout == _SHORT_TIMEOUT]
