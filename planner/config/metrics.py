"""Where the services' metrics come from, and which of them are whose, in the style of `planner.config.model`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from planner.config.section import Positive, Section

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def labels_of(text: str) -> Mapping[str, str]:
    """`namespace=llm, model_name=llama` as labels. Raises ValueError for anything else."""
    labels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not _LABEL.fullmatch(name) or name in labels:
            raise ValueError(part)
        labels[name] = value
    return labels


def _are_labels(text: str) -> str:
    try:
        labels_of(text)
    except ValueError:
        raise PydanticCustomError("labels", "not labels") from None
    return text


Labels = Annotated[str, AfterValidator(_are_labels)]
_LABELS = "labels such as namespace=llm, model_name=llama, each once"


class Prometheus(Section):
    """Where metrics are asked for. Services with the same section are asked for together."""

    url: str | None = Field(
        default=None,
        min_length=1,
        description="Address of a Prometheus, or of what answers as it does (Thanos, Mimir), up to before /api/v1. "
        "null: there is none, and nothing runs live.",
    )
    bearer_token_file: str | None = Field(
        default=None,
        min_length=1,
        description="File with the token to send, read anew for each request. null: none.",
    )
    user: str | None = Field(default=None, min_length=1, description="User of basic authentication. null: none.")
    password_file: str | None = Field(
        default=None,
        min_length=1,
        description="File with that user's password, read anew for each request. null: none.",
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="Certificates to trust, in place of the system's. null: the system's.",
    )
    cert_file: str | None = Field(
        default=None,
        min_length=1,
        description="Our certificate, where the server asks for one; with `key_file`. null: none.",
    )
    key_file: str | None = Field(default=None, min_length=1, description="The key of `cert_file`. null: none.")
    verify: bool = Field(
        default=True,
        description="Whether the server must prove who it is. true, because scaling follows what it says.",
    )
    tenant: str | None = Field(
        default=None,
        min_length=1,
        description="Sent as X-Scope-OrgID, as Mimir and Cortex ask. null: not sent.",
    )
    window_s: Positive = Field(
        default=60,
        description="Rates and means are over so many seconds. 60, because that holds four scrapes at the usual 15 s; "
        "give four times your scrape interval where it is longer.",
    )
    timeout_s: Positive = Field(
        default=10,
        description="A round of queries is given up after so many seconds, retries included.",
    )
    pod_labels: list[str] = Field(
        default=["namespace", "pod"],
        title="a list of label names",
        description="Labels that tell pods apart, so that a pod scraped twice counts once. Those the Prometheus "
        "operator and most scrape configurations set. Empty where there are none.",
    )
    maps: list[str] = Field(
        default=[],
        title="a list of files",
        description="Files with metric maps of your own, see docs/metric-maps.md. Empty, because the usual engines are "
        "known.",
    )


class Metrics(Section):
    """Which series are this service's, by the labels they carry."""

    match: Labels = Field(
        default="",
        title=_LABELS,
        description="Labels that all series of the service carry: its engines', and its router's unless `router` says "
        "otherwise. Empty: every series found is its own, which suits one service alone.",
    )
    router: Labels = Field(
        default="",
        title=_LABELS,
        description="Labels of the series of the service's router, where they are called otherwise: a Dynamo frontend "
        "says model where engines say model_name. The series of llm-d's endpoint picker share no label of their own; "
        "name one that the scrape configuration attaches, such as job. Empty: the same as `match`.",
    )
    prefill: Labels = Field(
        default="",
        title=_LABELS,
        description="Further labels of the prefill pool's engines; disaggregated mode only.",
    )
    decode: Labels = Field(
        default="",
        title=_LABELS,
        description="Further labels of the decode pool's engines; disaggregated mode only.",
    )
    aggregated: Labels = Field(
        default="",
        title=_LABELS,
        description="Further labels of the aggregated pool's engines.",
    )
