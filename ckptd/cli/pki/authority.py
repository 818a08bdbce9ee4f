"""The cluster's certificate authority: a directory with a key that signs, and what it signed.

``ca.crt`` and ``ca.key`` are the authority, ``NODE.crt`` and ``NODE.key`` belong to one node.
A certificate names its node as the only DNS name in it, and the node's zone, if it is known, by a
URI; see :mod:`ckptd.net.connection.certificates`, which reads them. Files appear whole or not at
all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ckptd.copies.zones import Zone, zone_text
from ckptd.errors import CkptdError, Conflict, NotFound, UsageError
from ckptd.model.ids import NodeId
from ckptd.net.connection.certificates import ZONE_SCHEME, zone_among

CA_LIFETIME: Final = timedelta(days=5 * 365)
NODE_LIFETIME: Final = timedelta(days=365)

_CLOCK_SKEW: Final = timedelta(minutes=5)
"""A node whose clock is late by this much accepts a certificate that was just made."""
_PURPOSES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_PEM_BYTES_MAX: Final = 1024 * 1024
_CERTIFICATE_MODE: Final = 0o644
_SECRET_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What one certificate says, for a person.

    Attributes:
        file: Where it was read.
        who: The node id, or the name of the authority.
        is_authority: It signs others.
        issuer: Who signed it.
        serial: Its number, hexadecimal: what a list of revoked certificates names.
        not_before: Valid from, ISO 8601.
        not_after: Valid until, ISO 8601.
        days_left: Whole days until then; negative if it has expired.
        zone: In which zone the node is; empty if it does not say, ``?`` if that is no zone.
    """

    file: str
    who: str
    is_authority: bool
    issuer: str
    serial: str
    not_before: str
    not_after: str
    days_left: int
    zone: str


class Authority:
    """A cluster's authority, in one directory.

    Attributes:
        directory: Where its files are.
        certificate_path: ``ca.crt``, which every node has.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.certificate_path = os.path.join(directory, "ca.crt")
        self._key_path = os.path.join(directory, "ca.key")

    def create(self, *, lifetime: timedelta = CA_LIFETIME, force: bool = False) -> None:
        """Make the authority; without ``force`` nothing is overwritten.

        Raises:
            Conflict: It exists.
            CkptdError: A file cannot be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        # Two authorities of one cluster have different names: in a bundle, while one replaces
        # the other, they can be distinguished.
        name = _name(f"ckptd authority {secrets.token_hex(4)}")
        begin = datetime.now(UTC) - _CLOCK_SKEW
        built = (
            _builder(name, name, key.public_key(), begin, begin + lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .add_extension(_identifier(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.directory, error) from error
        self._refuse_existing((self._key_path, self.certificate_path), force=force)
        _write(self._key_path, _key_pem(key), _SECRET_MODE, force=force)
        _write(self.certificate_path, _pem(built), _CERTIFICATE_MODE, force=force)

    def issue(
        self,
        node: NodeId,
        *,
        zone: Zone = (),
        lifetime: timedelta = NODE_LIFETIME,
        not_before: datetime | None = None,
        purposes: tuple[x509.ObjectIdentifier, ...] = _PURPOSES,
        force: bool = False,
    ) -> tuple[str, str]:
        """Make a key and a certificate for a node.

        Args:
            node: Whom it names.
            zone: In which zone the node is; nothing is said of it if that is not known.
            lifetime: From ``not_before``, at most as long as the authority's.
            not_before: When it begins to be valid; now if ``None``.
            purposes: What it may be used for.
            force: Files that exist are replaced.

        Returns:
            The paths of certificate and key.

        Raises:
            Conflict: The files exist.
            NotFound: There is no authority here.
            CkptdError: A file cannot be read or written.
        """
        certificate_path, key_path = self.paths_of(node)
        self._refuse_existing((key_path, certificate_path), force=force)
        key = ec.generate_private_key(ec.SECP256R1())
        names = _names_of(node, zone)
        signed = self._sign(node, key.public_key(), names, lifetime, not_before, purposes)
        _write(key_path, _key_pem(key), _SECRET_MODE, force=force)
        _write(certificate_path, _pem(signed), _CERTIFICATE_MODE, force=force)
        return certificate_path, key_path

    def renew(
        self, node: NodeId, *, zone: Zone | None = None, lifetime: timedelta = NODE_LIFETIME
    ) -> str:
        """Give a node's key a new certificate; return its path.

        The key stays what it is and is not needed: one file changes, in one step. So does the zone
        unless another one is given, ``()`` for none.

        Raises:
            NotFound: There is no authority here, or no certificate of this node.
            CkptdError: A file cannot be read or written.
        """
        certificate_path, _ = self.paths_of(node)
        renewed = _read_certificates(certificate_path)[0]
        public = renewed.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise CkptdError(certificate_path, "was not made here", "Renew it where it was made.")
        try:
            names = _names_of(node, _zone_of(renewed) if zone is None else zone)
        except UsageError as error:
            raise CkptdError(certificate_path, str(error), "Say the zone by --zone.") from error
        signed = self._sign(node, public, names, lifetime, None, _PURPOSES)
        _write(certificate_path, _pem(signed), _CERTIFICATE_MODE, force=True)
        return certificate_path

    def paths_of(self, node: NodeId) -> tuple[str, str]:
        """Return where a node's certificate and key are.

        Raises:
            Conflict: These are the names of the authority's own files.
        """
        if node == "ca":
            raise Conflict("node id 'ca'", "is the name of the authority's own files")
        base = os.path.join(self.directory, node)
        return f"{base}.crt", f"{base}.key"

    def _sign(
        self,
        node: NodeId,
        public: ec.EllipticCurvePublicKey,
        names: x509.SubjectAlternativeName,
        lifetime: timedelta,
        not_before: datetime | None,
        purposes: tuple[x509.ObjectIdentifier, ...],
    ) -> x509.Certificate:
        authority = _read_certificates(self.certificate_path)[0]
        begin = not_before or datetime.now(UTC) - _CLOCK_SKEW
        end = min(begin + lifetime, authority.not_valid_after_utc)
        authority_key = self._key()
        return (
            _builder(_name(node), authority.subject, public, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(names, critical=False)
            .add_extension(_identifier(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )

    def _key(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_pem_private_key(_read(self._key_path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CkptdError(self._key_path, f"is no private key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CkptdError(self._key_path, "is not of a kind that 'ckptctl tls init' makes")
        return key

    def _refuse_existing(self, paths: tuple[str, ...], *, force: bool) -> None:
        """Refuse before a first file is written, so that no half of a pair is left behind."""
        for path in paths:
            if not force and os.path.lexists(path):
                raise _existing(path)


def certificate_facts(path: str) -> Iterator[CertificateFacts]:
    """Read every certificate of a file.

    Raises:
        NotFound: There is no such file.
        CkptdError: It holds no certificate.
    """
    now = datetime.now(UTC)
    for certificate in _read_certificates(path):
        end = certificate.not_valid_after_utc
        yield CertificateFacts(
            file=path,
            who=_who(certificate),
            is_authority=_is_authority(certificate),
            issuer=_common_name(certificate.issuer),
            serial=f"{certificate.serial_number:x}",
            not_before=certificate.not_valid_before_utc.isoformat(),
            not_after=end.isoformat(),
            days_left=(end - now) // timedelta(days=1),
            zone=_zone_shown(certificate),
        )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _name(common_name: str) -> x509.Name:
    # A common name has room for 64 characters; the DNS name says which node it is.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _identifier(public: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(public)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names_of(node: NodeId, zone: Zone) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(node)]
    if zone:
        names.append(x509.UniformResourceIdentifier(f"{ZONE_SCHEME}{zone_text(zone)}"))
    return x509.SubjectAlternativeName(names)


def _zone_of(certificate: x509.Certificate) -> Zone:
    """Read the zone of a certificate; ``()`` if it names none.

    Raises:
        UsageError: What it names is no zone.
    """
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return zone_among(names.value.get_values_for_type(x509.UniformResourceIdentifier))
    return ()


def _zone_shown(certificate: x509.Certificate) -> str:
    try:
        return zone_text(_zone_of(certificate))
    except UsageError:
        return "?"


def _who(certificate: x509.Certificate) -> str:
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return ", ".join(names.value.get_values_for_type(x509.DNSName))
    return _common_name(certificate.subject)


def _is_authority(certificate: x509.Certificate) -> bool:
    with contextlib.suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return False


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read_certificates(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise CkptdError(path, f"holds no certificate: {error}") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_PEM_BYTES_MAX)
    except FileNotFoundError as error:
        hint = "Make an authority with 'ckptctl tls init', or name its directory with --dir."
        raise NotFound(path, "does not exist", hint) from error
    except OSError as error:
        raise CkptdError(path, f"cannot be read: {error.strerror or error}") from error


def _write(path: str, data: bytes, mode: int, *, force: bool) -> None:
    """Write a file so that it is complete or missing, also after a crash."""
    unfinished = f"{path}.{secrets.token_hex(4)}~"
    try:
        try:
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(fd, "wb") as file:
                os.fchmod(fd, mode)  # whatever the umask says
                file.write(data)
                file.flush()
                os.fsync(fd)
            if force:
                os.replace(unfinished, path)
            else:
                os.link(unfinished, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished)
    except FileExistsError as error:
        raise _existing(path) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _existing(path: str) -> Conflict:
    return Conflict(path, "exists", "Use --force to replace it.")


def _unwritable(path: str, error: OSError) -> CkptdError:
    return CkptdError(path, f"cannot be written: {error.strerror or error}")
