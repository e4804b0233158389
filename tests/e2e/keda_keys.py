"""A key and a certificate for KEDA and for what it speaks with: its own authority, a server on localhost, a client."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster_keys import Pair


def make_pair(folder: Path, *names: str) -> Pair:
    """New in `folder`, under the names that KEDA looks for, good for a week and for these host names as well."""
    pair = Pair(folder / "tls.key", folder / "tls.crt")
    known_as = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:{name}" for name in names)])
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "7",
        "-config", "/dev/null", "-subj", "/CN=keda", "-keyout", str(pair.key), "-out", str(pair.certificate),
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", f"subjectAltName={known_as}",
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
        "-addext", "extendedKeyUsage=serverAuth,clientAuth",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    (folder / "ca.crt").write_bytes(pair.certificate.read_bytes())
    return pair
