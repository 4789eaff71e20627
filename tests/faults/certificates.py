"""Certificates that our clients trust, and certificates that no client should trust."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import trustme

_FOLDER = tempfile.TemporaryDirectory(prefix="certificates-")


@cache
def ca_file() -> Path:
    """The file with the certificate of the only authority that our clients trust."""
    path = Path(_FOLDER.name) / "ca.pem"
    _authority().cert_pem.write_to_path(path)
    return path


def good() -> ssl.SSLContext:
    """A certificate that our clients trust."""
    return _shows(_authority().issue_cert("127.0.0.1"))


def for_another_host() -> ssl.SSLContext:
    """A certificate from our authority for another host."""
    return _shows(_authority().issue_cert("elsewhere.example"))


def expired() -> ssl.SSLContext:
    """A certificate from our authority that expired in 2001."""
    return _shows(_authority().issue_cert("127.0.0.1", not_after=datetime(2001, 1, 1, tzinfo=UTC)))


def self_signed() -> ssl.SSLContext:
    """A certificate that only vouches for itself."""
    stranger = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with stranger.cert_pem.tempfile() as certificate, stranger.private_key_pem.tempfile() as key:
        context.load_cert_chain(certificate, key)
    return context


Certificate = Callable[[], ssl.SSLContext]


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def _shows(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
