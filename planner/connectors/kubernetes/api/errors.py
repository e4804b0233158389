"""Why the API server did not do what was asked: one exception, one line of text.

`status` is HTTP's; None means that no answer came. `reason` is one of Kubernetes' own words (Conflict, Expired,
Forbidden, AlreadyExists, NotFound, TooManyRequests and others; kubernetes.io/docs, "API conventions", Response Status
Kind), or one of ours where Kubernetes said nothing:

- Unreachable, Tls, Credentials, Closed: nothing was done.
- Timeout, Cut, NotJson: whether a write was done is unknown.

The text names what was asked and the remedy. It holds no header, so no token.
"""

from __future__ import annotations

import json
from typing import Any

from planner.connectors.kubernetes.objects.paths import Object

_LONGEST = 300
"""Characters kept of what the API server says: webhooks and quotas explain themselves at length."""

_BY_REASON = {
    "AlreadyExists": "change the object that is there",
    "Conflict": "read the object again and decide anew",
}
_BY_STATUS = {
    401: "give a token or certificate that is still valid",
    403: "allow it by RBAC to the account the planner runs as",
    404: "see whether the object and its CRD are there",
    410: "list again",
    429: "ask less often, or give the planner a share of its own by API priority and fairness",
}
_INVALID = "correct what was sent"
_FAILING = "see the API server's log"


class ApiError(Exception):
    """The API server refused, failed, or could not be asked."""

    def __init__(self, status: int | None, reason: str, text: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(text or (reason if status is None else f"{status} {reason}"))
        self.status = status
        """HTTP's; None when there was no answer."""
        self.reason = reason
        self.retry_after_s = retry_after_s
        """How long the API server asks to be left alone; None when it does not."""


def refused(asked: str, status: int, words: str | None, retry_after: str | None, body: bytes) -> ApiError:
    """What an answer with a status that is no success says.

    `asked` is the verb and path, `words` HTTP's reason phrase, `retry_after` the header: whole seconds, as the API
    server writes it.
    """
    error = told(asked, _document(body), status, words or "")
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        error.retry_after_s = float(retry_after)
    return error


def told(asked: str, said: Object, status: int | None = None, words: str = "") -> ApiError:
    """What a Status object says; the other arguments count where it says nothing."""
    code = said.get("code")
    status = code if type(code) is int and status is None else status
    reason = str(said.get("reason") or words or "Unknown")
    message = one_line(said.get("message") or words or "no reason was given")
    details = said.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    retry_after_s = float(seconds) if type(seconds) is int and seconds > 0 else None
    answer = "an error" if status is None else status
    return ApiError(status, reason, f"{asked}: {answer} {reason}: {message}; {_remedy(status, reason)}", retry_after_s)


def one_line(text: object) -> str:
    """As one line of bearable length."""
    words = " ".join(str(text).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _remedy(status: int | None, reason: str) -> str:
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if status is None:
        return _FAILING
    return _BY_STATUS.get(status) or (_INVALID if status < 500 else _FAILING)


def _document(body: bytes) -> dict[str, Any]:
    """The Status in a refusal's body; empty where something else answers."""
    try:
        said: Any = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
