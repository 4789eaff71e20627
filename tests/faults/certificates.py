"""A certificate authority of our own, and the certificates that no client should trust."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOCALHOST: list[x509.GeneralName] = [x509.IPAddress(IPv4Address("127.0.0.1"))]
SOMEONE_ELSE: list[x509.GeneralName] = [x509.DNSName("elsewhere.example")]


class Authority:
    """
    Signs certificates, and has a file by which it can be trusted.

    :param folder: where its files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Fault matrix CA")
        self.bundle = folder / "ca.pem"
        root = _certificate(self._name, self._name, self._key, is_authority=True)
        self.bundle.write_bytes(root.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def server(
        self, names: list[x509.GeneralName], *, expired: bool = False, self_signed: bool = False
    ) -> ssl.SSLContext:
        """
        Give what a server needs to show a certificate.

        :param names: whom the certificate names.
        :param expired: whether its time is over.
        :param self_signed: whether it is signed by itself, and not by this authority.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("You.com, or so it says")
        builder = _certificate(subject, subject if self_signed else self._name, key, expired=expired)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(key if self_signed else self._key, hashes.SHA256())
        file = self._folder / f"{certificate.serial_number}.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    expired: bool = False,
    is_authority: bool = False,
) -> x509.CertificateBuilder:
    ends = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
