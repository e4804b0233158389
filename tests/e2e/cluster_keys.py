"""Keys and certificates of a test cluster: one authority, made with openssl, that signs the server and its clients.

All of it lives for one test run in a temporary folder, and is worth nothing elsewhere.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = {
    # Python 3.13 and later refuse an authority that does not say what its key is for.
    "authority": ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"],
    "server": [
        "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth",
        "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc",
    ],
    "client": [
        "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth",
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and its certificate, in PEM."""

    key: Path
    certificate: Path


@dataclass(frozen=True, slots=True)
class Keys:
    """What the API server and those who speak with it need."""

    authority: Pair
    server: Pair
    admin: Pair
    """Of the group system:masters, which may do everything."""
    service_accounts: Pair
    """Signs the tokens of service accounts; only its key is used."""


def make_keys(folder: Path) -> Keys:
    """New keys in `folder`, good for a week; raises subprocess.CalledProcessError where openssl fails."""
    authority = _pair(folder, "authority", "/CN=test-cluster", "authority")
    return Keys(
        authority,
        _pair(folder, "server", "/CN=kube-apiserver", "server", authority),
        _pair(folder, "admin", "/O=system:masters/CN=admin", "client", authority),
        _pair(folder, "service-accounts", "/CN=service-accounts", "client", authority),
    )


def _pair(folder: Path, name: str, subject: str, purpose: str, signer: Pair | None = None) -> Pair:
    """Without a signer it signs itself."""
    pair = Pair(folder / f"{name}.key", folder / f"{name}.crt")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "7",
        # An empty configuration: the machine's own adds extensions, and twice the same is refused.
        "-config", "/dev/null", "-subj", subject, "-keyout", str(pair.key), "-out", str(pair.certificate),
        *(word for extension in EXTENSIONS[purpose] for word in ("-addext", extension)),
    ]  # fmt: skip
    if signer is not None:
        command += ["-CA", str(signer.certificate), "-CAkey", str(signer.key)]
    subprocess.run(command, check=True, capture_output=True)
    return pair
