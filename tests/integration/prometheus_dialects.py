"""What engines and routers say of the same work: names, labels and bucket edges of each, in the exposition format.

Names and edges as their sources have them; lengths are lognormal, times to first token straight between 0 and 0.5 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

_OTHER_EDGES = (10.0, 100.0, 1000.0)
"""Of histograms of which nobody reads the buckets."""


@dataclass(frozen=True)
class Work:
    """What has been done since the beginning, in requests, and how on average."""

    requests: float
    isl: float
    isl_cv2: float
    osl: float
    ttft_s: float
    itl_s: float
    queue_s: float
    waiting: float
    running: float

    def share_of_prompts(self, edge: float) -> float:
        """Those at most `edge` tokens long."""
        if edge <= 0:
            return 0.0
        sigma = math.sqrt(math.log1p(self.isl_cv2))
        return NormalDist(math.log(self.isl) - sigma**2 / 2, sigma).cdf(math.log(edge))

    def half(self) -> Work:
        """What one of two ranks says."""
        return Work(
            self.requests / 2, self.isl, self.isl_cv2, self.osl, self.ttft_s, self.itl_s, self.queue_s,
            self.waiting / 2, self.running / 2,
        )  # fmt: skip


Dialect = Callable[[Work], str]


def share_within(edge_s: float) -> float:
    """Of the times to first token."""
    return min(1.8 * edge_s, 0.9) if edge_s <= 0.5 else min(1.0, 0.9 + 0.2 * (edge_s - 0.5))


@dataclass
class Lines:
    """Series that share labels and a prefix."""

    prefix: str
    labels: Mapping[str, str]
    whole: Literal["1", "1.0"] = "1.0"
    """How the client writes an edge that is a whole number: `1.0` in Python, `1` in Go and Rust."""
    lines: list[str] = field(default_factory=list)

    def put(self, name: str, value: float, **more: str) -> None:
        labels = ",".join(f'{label}="{text}"' for label, text in {**self.labels, **more}.items())
        self.lines.append(f"{self.prefix}{name}{{{labels}}} {value!r}")

    def histogram(
        self, name: str, count: float, mean: float, edges: Sequence[float], share: Callable[[float], float]
    ) -> None:
        """`share` of them lie at or below an edge."""
        for edge in edges:
            text = f"{edge:g}" if self.whole == "1" else repr(float(edge))
            self.put(f"{name}_bucket", count * share(edge), le=text)
        self.put(f"{name}_bucket", count, le="+Inf")
        self.put(f"{name}_sum", count * mean)
        self.put(f"{name}_count", count)

    def mean(self, name: str, count: float, mean: float) -> None:
        """A histogram of which only the mean is looked at."""
        self.histogram(name, count, mean, _OTHER_EDGES, lambda edge: edge / 1000)

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


# --- engines ----------------------------------------------------------------------------------------------------

VLLM_TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
)  # fmt: skip
SGLANG_TTFT = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
DYNAMO_TTFT = (0.0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2, 4.7, 10.0, 22.0, 48.0, 100.0, 480.0)
LLMD_TTFT = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 6, 10, 30, 60, 120)
ONE_TWO_FIVE = tuple(mantissa * 10.0**exponent for exponent in range(5) for mantissa in (1, 2, 5))


def vllm(version: Literal["0.9", "0.11", "0.15"] = "0.15", ranks: int = 1) -> Dialect:
    """`ranks`: data-parallel engines in the replica, 1 or 2; "0.15" stands for it and later ones."""

    def said(work: Work) -> str:
        each = work if ranks == 1 else work.half()
        return "".join(_vllm(each, version, str(rank)) for rank in range(ranks))

    return said


def _vllm(work: Work, version: str, rank: str) -> str:
    lines = Lines("vllm:", {"model_name": "llama", "engine": rank})
    tokens = work.requests * work.osl
    lines.put("num_requests_running", work.running)
    lines.put("num_requests_waiting", work.waiting)
    lines.put("prompt_tokens_total", work.requests * work.isl)
    lines.put("generation_tokens_total", tokens)
    for reason, share in (("stop", 0.75), ("length", 0.25)):
        lines.put("request_success_total", work.requests * share, finished_reason=reason)
    lines.histogram("time_to_first_token_seconds", work.requests, work.ttft_s, VLLM_TTFT, share_within)
    lines.histogram("request_prompt_tokens", work.requests, work.isl, ONE_TWO_FIVE, work.share_of_prompts)
    lines.mean("request_generation_tokens", work.requests, work.osl)
    lines.mean("request_queue_time_seconds", work.requests, work.queue_s)
    if version in ("0.9", "0.11"):
        lines.mean("time_per_output_token_seconds", tokens, work.itl_s)
    if version in ("0.11", "0.15"):
        lines.mean("inter_token_latency_seconds", tokens, work.itl_s)
        lines.mean("request_time_per_output_token_seconds", work.requests, work.itl_s)
    return lines.text()


def sglang(tp: int = 2, priorities: int = 2) -> Dialect:
    """Each of the tensor-parallel ranks says all of it; queues are told in total and by priority."""

    def said(work: Work) -> str:
        return "".join(_sglang(work, str(rank), priorities) for rank in range(tp))

    return said


def _sglang(work: Work, rank: str, priorities: int) -> str:
    labels = {"model_name": "llama", "engine_type": "unified", "tp_rank": rank, "pp_rank": "0", "moe_ep_rank": "0"}
    lines = Lines("sglang:", labels)
    for name, value in (("num_queue_reqs", work.waiting), ("num_running_reqs", work.running)):
        lines.put(name, value, priority="")
        for priority in range(priorities):
            lines.put(name, value / priorities, priority=str(priority))
    lines.put("prompt_tokens_total", work.requests * work.isl)
    lines.put("generation_tokens_total", work.requests * work.osl)
    lines.put("num_requests_total", work.requests)
    lines.histogram("time_to_first_token_seconds", work.requests, work.ttft_s, SGLANG_TTFT, share_within)
    edges = (100, 300, 500, 700, 1000, 1500, *range(2000, 10_000, 1000), *range(10_000, 45_000, 5000))
    lines.histogram("prompt_tokens_histogram", work.requests, work.isl, edges, work.share_of_prompts)
    lines.mean("generation_tokens_histogram", work.requests, work.osl)
    lines.mean("queue_time_seconds", work.requests, work.queue_s)
    lines.mean("inter_token_latency_seconds", work.requests * work.osl, work.itl_s)
    return lines.text()


def trtllm(prefix: Literal["trtllm_", ""] = "trtllm_") -> Dialect:
    """With return_perf_metrics and enable_iter_perf_stats; without a prefix up to 1.1."""

    def said(work: Work) -> str:
        lines = Lines(prefix, {"model_name": "llama", "engine_type": "undefined"})
        lines.put("num_requests_waiting", work.waiting)
        lines.put("num_requests_running", work.running)
        lines.put("request_success_total", work.requests, finished_reason="stop")
        lines.put("prompt_tokens_total", work.requests * work.isl)
        lines.put("generation_tokens_total", work.requests * work.osl)
        lines.histogram("time_to_first_token_seconds", work.requests, work.ttft_s, VLLM_TTFT, share_within)
        lines.mean("time_per_output_token_seconds", work.requests, work.itl_s)
        lines.mean("request_queue_time_seconds", work.requests, work.queue_s)
        return lines.text()

    return said


def tgi(work: Work) -> str:
    """It puts no label of its own."""
    lines = Lines("tgi_", {}, whole="1")
    lines.put("queue_size", work.waiting)
    lines.put("batch_current_size", work.running)
    lines.put("request_count", work.requests)
    lines.put("request_success", work.requests)
    edges = [0.0001 * 1.5**n for n in range(28, 52)]
    lines.histogram("request_input_length", work.requests, work.isl, edges, work.share_of_prompts)
    lines.mean("request_generated_tokens", work.requests, work.osl)
    lines.mean("request_queue_duration", work.requests, work.queue_s)
    lines.mean("request_mean_time_per_token_duration", work.requests, work.itl_s)
    return lines.text()


# --- routers ----------------------------------------------------------------------------------------------------


def dynamo_frontend(model: str = "llama", prefix: str = "dynamo_frontend_") -> Dialect:
    """It knows no queue time."""

    def said(work: Work) -> str:
        lines = Lines(prefix, {"model": model, "dynamo_namespace": "chat"}, whole="1")
        done = {"endpoint": "chat_completions", "request_type": "stream"}
        lines.put("requests_started_total", work.requests, **done)
        lines.put("requests_total", work.requests, **done, status="success", error_type="")
        lines.put("queued_requests", work.waiting)
        lines.put("inflight_requests", work.running)
        lines.put("output_tokens_total", work.requests * work.osl)
        edges = (0.0, *(round(50 * 2560 ** (n / 11)) for n in range(12)))
        lines.histogram("input_sequence_tokens", work.requests, work.isl, edges, work.share_of_prompts)
        lines.mean("output_sequence_tokens", work.requests, work.osl)
        lines.histogram("time_to_first_token_seconds", work.requests, work.ttft_s, DYNAMO_TTFT, share_within)
        lines.mean("inter_token_latency_seconds", work.requests * work.osl, work.itl_s)
        return lines.text()

    return said


def llm_d_router(twins: bool = True, endpoints: float = 4.0) -> Dialect:
    """With the older names beside its own, and without its flow control's gate. Gauges are means over `endpoints`."""

    def said(work: Work) -> str:
        return "".join(lines.text() for lines in _llm_d(work, twins, endpoints))

    return said


def _llm_d(work: Work, twins: bool, endpoints: float) -> Iterator[Lines]:
    names = [("llm_d_epp_", "llm_d_epp_", "ready_endpoints", "request_input", "request_output")]
    if twins:
        names.append(("inference_objective_", "inference_pool_", "ready_pods", "input", "output"))
    for prefix, pool_prefix, ready, isl, osl in names:
        lines = Lines(prefix, {"model_name": "llama", "target_model_name": "llama-v2"}, whole="1")
        lines.put("request_total", work.requests, priority="0", fairness_id="default")
        lines.put("request_running", work.waiting + work.running)
        lines.histogram("request_ttft_seconds", work.requests, work.ttft_s, LLMD_TTFT, share_within)
        edges = (1, *(2.0**n for n in range(3, 18)))
        lines.histogram(f"{isl}_tokens", work.requests, work.isl, edges, work.share_of_prompts)
        lines.mean(f"{osl}_tokens", work.requests, work.osl)
        if prefix == "llm_d_epp_":
            lines.mean("request_streaming_itl_seconds", work.requests * work.osl, work.itl_s)
        yield lines
        pool = Lines(pool_prefix, {"name": "llama-pool"}, whole="1")
        pool.put("average_queue_size", work.waiting / endpoints)
        pool.put("average_running_requests", work.running / endpoints)
        pool.put(ready, endpoints)
        yield pool
