"""One request to Prometheus and what became of it: blocking, bounded in time and size, raising nothing.

Imported on first use, within a thread: `requests` takes a third of a second to load.

`prometheus_api_client.PrometheusConnect` sends through the same library. Its query methods are not used: they drop the
response's warnings, result type and date, round a range to whole seconds, follow redirects, read a body of any size,
and put the whole of it into the exception.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import requests
import urllib3

from planner.sources.prometheus.answers import Again, Answer, Failure
from planner.sources.prometheus.answers_read import complaint, one_line, read
from planner.sources.prometheus.client_settings import CredentialsError, PrometheusSettings

Form: TypeAlias = Mapping[str, str | list[str]]

LARGEST_BODY = 32 * 2**20
"""Bytes, after decompression. The largest answers are the series found and the prompts by edge: 5.5 MiB each for 1,000
services with two pools and vLLM's 17 edges. The rest is room for more edges and longer labels; all of it takes 0.6 s to
parse."""
_CHUNK = 2**16
_ERROR_BODY = 2**14
"""So much of a refusal is read for its text."""


class _TooLargeError(Exception):
    """The body is beyond the bound."""


class _Session(requests.Session):
    """Takes a redirect for an answer: to look where it leads, the library would read its body, however large."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Connection:
    """Kept alive between requests. For one thread at a time."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._base = settings.url.rstrip("/")
        self._session = _Session()
        # Else a proxy or a .netrc of the environment would count, and send a password nobody configured.
        self._session.trust_env = False
        self._session.verify = str(settings.ca_file) if settings.ca_file else settings.verify
        if settings.cert_file and settings.key_file:
            self._session.cert = (str(settings.cert_file), str(settings.key_file))
        self._certificates = settings.certificates()
        if not settings.verify:
            # One warning a request says nothing that the setting does not.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def ask(self, path: str, form: Form, expected: Collection[str], until_s: float) -> Answer | Again:
        """Send `form` to `path` and read what comes; `until_s` is on the monotonic clock."""
        where = f"{self._base}{path}"
        self._look_at_certificates()
        try:
            headers = self._settings.request_headers()
            left_s = max(0.001, until_s - time.monotonic())
            with self._session.post(
                where,
                data={**form, "timeout": f"{left_s:.3f}"},
                headers=headers,
                timeout=(left_s, left_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                now_s = time.time()
                if response.status_code != 200:
                    return _refused(response, where, now_s, until_s)
                kind = response.headers.get("Content-Type", "")
                if kind.partition(";")[0].strip().lower() != "application/json":
                    text = f"{where}: answered {one_line(kind, 60) or 'no content type'} in place of JSON"
                    return Failure("not-json", f"{text}; see whether a login page or proxy stands before Prometheus")
                body = _body(response, LARGEST_BODY, until_s)
                return read(body, expected, where, _skew_s(response, now_s))
        except CredentialsError as error:
            return Failure("credentials", str(error))
        except _TooLargeError:
            return Failure(
                "too-large", f"{where}: more than {LARGEST_BODY >> 20} MiB; narrow the query or widen its step"
            )
        except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as error:
            return _broken(error, where, time.monotonic() >= until_s)

    def close(self) -> None:
        """Let go of the socket."""
        self._session.close()

    def _look_at_certificates(self) -> None:
        certificates = self._settings.certificates()
        if certificates != self._certificates:
            self._session.close()
            self._certificates = certificates


def _body(response: requests.Response, largest: int, until_s: float) -> bytes:
    body = bytearray()
    # Not iter_content: it waits for a whole chunk, however slowly that trickles in.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > largest:
            raise _TooLargeError
        # The socket's own limit starts anew with each byte that trickles in.
        if time.monotonic() >= until_s:
            raise TimeoutError
    return bytes(body)


def _refused(response: requests.Response, where: str, now_s: float, until_s: float) -> Failure | Again:
    """What a status other than 200 says."""
    status = response.status_code
    if 300 <= status < 400:
        # What follows the path, or stands before the host, may be a secret.
        target = re.sub(r"//[^/]*@", "//", re.split("[?#]", response.headers.get("Location", ""))[0])
        return Failure(
            "redirect", f"{where}: redirected to {one_line(target, 100)}; give the final address, or log in by a token"
        )
    if status in (401, 403):
        remedy = "set bearer_token_file or basic_auth to what it accepts"
        return Failure("credentials", f"{where}: status {status}; {remedy}")
    try:
        said = complaint(_body(response, _ERROR_BODY, until_s))
    except (_TooLargeError, OSError, urllib3.exceptions.HTTPError):
        said = None
    kind, text = said or ("", "")
    if kind == "timeout":
        return Failure("timeout", f"{where}: {text}; give more time or ask for less")
    why = f"{where}: status {status}{': ' * bool(text)}{text}"
    if status == 429 or status >= 500:
        failure = Failure("status", f"{why}; see Prometheus's own log")
        return Again(failure, _wait_s(response.headers.get("Retry-After", ""), now_s))
    if said:
        return Failure("refused", f"{why}; correct the query")
    return Failure("status", f"{why}; check the path in url")


def _broken(error: Exception, where: str, late: bool) -> Failure | Again:
    """What an exception on the way says."""
    chain = _chain(error)
    if late or any(
        isinstance(each, TimeoutError | requests.Timeout | urllib3.exceptions.ReadTimeoutError) for each in chain
    ):
        return Failure("timeout", f"{where}: no complete answer in time; give more time or ask for less")
    if any(isinstance(each, urllib3.exceptions.SSLError | requests.exceptions.SSLError) for each in chain):
        return Failure("tls", f"{where}: {_reason(chain)}; check ca_file, cert_file and key_file")
    if isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.DecodeError):
        return Failure("truncated", f"{where}: the answer ended early or damaged; see what stands in between")
    if isinstance(error, requests.ConnectionError | ConnectionError):
        return Again(Failure("unreachable", f"{where}: {_reason(chain)}; start Prometheus there or correct url"))
    return Failure("unreachable", f"{where}: {_reason(chain)}; check url, ca_file, cert_file and key_file")


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _reason(chain: list[BaseException]) -> str:
    """The system's own words, such as Connection refused; the innermost speak plainest."""
    words = [each.strerror for each in reversed(chain) if isinstance(each, OSError) and each.strerror]
    return one_line(words[0] if words else chain[-1], 200)


def _epoch_s(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _skew_s(response: requests.Response, now_s: float) -> float | None:
    """The Date header is cut to the second, so on average it lies half a second back."""
    date_s = _epoch_s(response.headers.get("Date", ""))
    return None if date_s is None else date_s + 0.5 - now_s


def _wait_s(retry_after: str, now_s: float) -> float:
    """Seconds, or a date: RFC 9110, section 10.2.3."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    return max(0.0, (_epoch_s(retry_after) or now_s) - now_s)
