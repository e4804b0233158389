"""Where Prometheus is and how to be let in.

Secrets stand in files that are read for each request, so that a rotated one counts at once; none of them, nor a
header's value, is in a repr, a message or a log.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from planner.errors import UserError

_TOKEN = re.compile(r"[!-~]+")
"""What a header can carry as one word."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_LONGEST_URL = 2000


class PrometheusSettingsError(UserError):
    """A setting of the Prometheus client that cannot work."""


class CredentialsError(Exception):
    """A file with a secret is missing or holds none; the text names the file, never what is in it."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user's name, and the file that holds the password."""

    user: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """How to reach one Prometheus, or whatever answers as it does. Raises PrometheusSettingsError."""

    url: str
    """http or https, with the path prefix if there is one: what comes before /api/v1."""
    bearer_token_file: Path | None = None
    basic_auth: BasicAuth | None = None
    ca_file: Path | None = None
    """Certificates to trust in place of the usual ones."""
    cert_file: Path | None = None
    """Our certificate, where the server asks for one; with `key_file`."""
    key_file: Path | None = None
    verify: bool = True
    """Whether the server must prove who it is."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, such as X-Scope-OrgID."""
    threads: int = 8
    """Most requests at once."""
    retries: int = 2
    """Further attempts when the server is unreachable, overloaded or failing, within the deadline."""

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.bearer_token_file and self.basic_auth:
            raise PrometheusSettingsError("bearer_token_file: there is basic_auth as well; keep one of them")
        if self.basic_auth and (":" in self.basic_auth.user or not self.basic_auth.user.isprintable()):
            raise PrometheusSettingsError(
                f"basic_auth.user: {self.basic_auth.user!r} cannot be sent; leave out the colon"
            )
        if (self.cert_file is None) != (self.key_file is None):
            have, lack = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            raise PrometheusSettingsError(f"{have}: it is of no use alone; give {lack} too")
        if self.ca_file and not self.verify:
            raise PrometheusSettingsError(f"ca_file: {self.ca_file} is not looked at with verify: false; leave one out")
        for name, value in self.headers.items():
            _check_header(name, value)
        if not 1 <= self.threads <= 64:
            raise PrometheusSettingsError(f"threads: {self.threads} is out of range; give 1 to 64")
        if not 0 <= self.retries <= 10:
            raise PrometheusSettingsError(f"retries: {self.retries} is out of range; give 0 to 10")

    def request_headers(self) -> dict[str, str]:
        """The headers of a request, with the secrets as their files are now. Raises CredentialsError."""
        headers = {"Accept": "application/json", **self.headers}
        if self.bearer_token_file:
            token = _secret(self.bearer_token_file, "bearer_token_file")
            if not _TOKEN.fullmatch(token):
                raise CredentialsError(f"bearer_token_file: {self.bearer_token_file} holds more than one word; mend it")
            headers["Authorization"] = f"Bearer {token}"
        elif self.basic_auth:
            password = _secret(self.basic_auth.password_file, "basic_auth.password_file")
            pair = f"{self.basic_auth.user}:{password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers

    def certificates(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells whether a certificate file is another than before: change time, inode and size of each."""
        return tuple(_stamp(path) for path in (self.ca_file, self.cert_file, self.key_file))


def _check_url(url: str) -> None:
    # First what may hold a secret, and so must not be shown.
    if "@" in url:
        raise PrometheusSettingsError("url: it holds a user or password; move them to basic_auth")
    if "?" in url or "#" in url:
        raise PrometheusSettingsError("url: it goes on after the path; end it before /api/v1")
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _TOKEN.fullmatch(url) or len(url) > _LONGEST_URL:
        raise PrometheusSettingsError(
            f"url: {url[:100]!r} is no address; write it as http://prometheus.monitoring:9090"
        )


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise PrometheusSettingsError(f"headers: {name!r} is no header's name; use letters, digits and dashes")
    if name.lower() in ("authorization", "host", "content-length", "content-type", "accept-encoding"):
        raise PrometheusSettingsError(
            f"headers: {name} is set by the client; use bearer_token_file or basic_auth to log in"
        )
    if not _HEADER_VALUE.fullmatch(value):
        raise PrometheusSettingsError(f"headers: the value of {name} is not one line of ASCII; correct it")


def _secret(path: Path, name: str) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CredentialsError(f"{name}: {path} cannot be read ({error.strerror}); write the secret there") from None
    except UnicodeDecodeError:
        raise CredentialsError(f"{name}: {path} is not text; write the secret there") from None
    if not secret:
        raise CredentialsError(f"{name}: {path} is empty; write the secret there")
    return secret


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        info = path.stat() if path else None
    except OSError:
        return None
    return info and (info.st_mtime_ns, info.st_ino, info.st_size)
