"""The Prometheus client against a real Prometheus that scrapes itself."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from planner.sources.prometheus.answers import Answer, Failure, Matrix, Names, Vector
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import BasicAuth, PrometheusSettings

T = TypeVar("T")

PATIENCE_S = 60.0
CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: itself
    static_configs: [targets: ["127.0.0.1:{port}"]]
"""
PASSWORD = "correct horse"
# The password's hash by bcrypt with 4 rounds; Prometheus takes no other form.
WEB_CONFIG = """\
tls_server_config: {cert_file: server.pem, key_file: server.key}
basic_auth_users: {planner: "$2b$04$T/s9BhNTYteMg2/JotlNK.u7VSFvDQqSBBfe8ixBdo5LHJT0HElCC"}
"""


@dataclass(frozen=True)
class Place:
    """Where a Prometheus runs: its program, a folder, and a port that stays over restarts."""

    program: str
    folder: Path
    port: int

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}"


def at(program: str, folder: Path) -> Place:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    (folder / "prometheus.yml").write_text(CONFIG.format(port=port))
    return Place(program, folder, port)


@pytest.fixture
def place(prometheus_program: str, tmp_path: Path) -> Place:
    """For a Prometheus that the test starts and stops."""
    return at(prometheus_program, tmp_path)


@contextmanager
def prometheus(place: Place, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Prometheus of its own; gone, with its port, when the block ends."""
    command = [place.program, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    address = f"--web.listen-address=127.0.0.1:{place.port}"
    with (place.folder / "log").open("ab") as log:
        process = subprocess.Popen([*command, address, *options], cwd=place.folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def running(prometheus_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A Prometheus that some tests share: it takes five seconds to look for its targets."""
    place = at(prometheus_program, tmp_path_factory.mktemp("prometheus"))
    # Else a fast machine meets the limit on samples before a test's deadline.
    with prometheus(place, "--query.max-samples=1000000000"):
        yield place


def play(settings: PrometheusSettings, script: Callable[[PrometheusClient], Awaitable[T]]) -> T:
    """Run `script` with a client, and close that."""

    async def played() -> T:
        client = PrometheusClient(settings)
        try:
            return await script(client)
        finally:
            await client.close()

    return asyncio.run(played())


async def until(place: Place, ask: Callable[[], Awaitable[Answer]], good: Callable[[Any], bool]) -> Any:
    """The first good answer."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not good(answer := await ask()):
        assert time.monotonic() < deadline_s, f"{answer}\n{(place.folder / 'log').read_text()}"
        await asyncio.sleep(0.05)
    return answer


async def alive(place: Place, client: PrometheusClient) -> None:
    """Return once it answers."""
    await until(place, lambda: client.query("vector(1)", deadline_s=5), lambda answer: isinstance(answer, Vector))


async def up(place: Place, client: PrometheusClient) -> Vector:
    """`up`, once it is there."""

    def there(answer: Answer) -> bool:
        return isinstance(answer, Vector) and bool(answer.samples)

    vector: Vector = await until(place, lambda: client.query("up", deadline_s=5), there)
    return vector


def test_reads_samples_ranges_and_names(running: Place) -> None:
    target = {"instance": f"127.0.0.1:{running.port}", "job": "itself"}

    async def script(client: PrometheusClient) -> None:
        vector = await up(running, client)
        now_s = time.time()
        (sample,) = vector.samples
        assert sample.labels == {"__name__": "up", **target}
        assert abs(sample.at_s - now_s) < PATIENCE_S
        assert (vector.rejected, vector.warnings, vector.infos) == ((), (), ())
        assert vector.skew_s is not None
        assert abs(vector.skew_s) < PATIENCE_S

        matrix = await client.query_range("vector(1)", now_s - 60, now_s, 15, deadline_s=PATIENCE_S)
        assert isinstance(matrix, Matrix)
        (series,) = matrix.series
        assert (series.labels, series.values) == ({}, (1.0,) * 5)
        assert series.at_s == pytest.approx([now_s - 60 + 15 * i for i in range(5)], abs=0.001)

        names = await client.series(["up", "scrape_duration_seconds"], now_s - 600, now_s + 60, deadline_s=PATIENCE_S)
        assert isinstance(names, Names)
        assert sorted(each["__name__"] for each in names.series) == ["scrape_duration_seconds", "up"]

    play(PrometheusSettings(running.url()), script)


def test_tells_zero_nothing_and_no_number_apart(running: Place) -> None:
    async def script(client: PrometheusClient) -> list[Answer]:
        await up(running, client)
        queries = ("vector(0)", "no_such_series", "vector(0) / 0", "vector(1) / 0", "1 +", "up + on() group_left() (")
        return [await client.query(each, deadline_s=PATIENCE_S) for each in queries]

    zero, nothing, nan, infinite, *wrong = play(PrometheusSettings(running.url()), script)
    assert isinstance(zero, Vector)
    assert [each.value for each in zero.samples] == [0.0]
    assert isinstance(nothing, Vector)
    assert (nothing.samples, nothing.rejected) == ((), ())
    for answer, why in ((nan, "NaN"), (infinite, "+Inf")):
        assert isinstance(answer, Vector)
        assert (answer.samples, [each.why for each in answer.rejected]) == ((), [why])
    for answer in wrong:
        assert isinstance(answer, Failure)
        assert answer.cause == "refused"
        assert "status 400: invalid parameter" in answer.text


def test_goes_on_by_itself_when_prometheus_comes_back_without_its_past(place: Place) -> None:
    async def script(client: PrometheusClient) -> None:
        with prometheus(place):
            await up(place, client)
            before = await client.query("count(count_over_time(up[1h]))", deadline_s=PATIENCE_S)
            assert isinstance(before, Vector)
            assert len(before.samples) == 1
            stopped_s = time.time()
        down = await client.query("up", deadline_s=5)
        assert isinstance(down, Failure)
        assert down.cause == "unreachable"
        shutil.rmtree(place.folder / "data")
        with prometheus(place):
            await alive(place, client)
            past = await client.query("up", at_s=stopped_s, deadline_s=PATIENCE_S)
            assert isinstance(past, Vector)
            assert past.samples == ()

    play(PrometheusSettings(place.url()), script)


def test_a_hundred_queries_at_once_are_all_answered(running: Place) -> None:
    async def script(client: PrometheusClient) -> list[Answer]:
        await up(running, client)
        return await asyncio.gather(*(client.query("up", deadline_s=PATIENCE_S) for _ in range(100)))

    answers = play(PrometheusSettings(running.url()), script)
    assert [type(each) for each in answers] == [Vector] * 100


def test_a_query_that_costs_too_much_ends_at_its_deadline_and_the_next_is_answered(running: Place) -> None:
    costly = "sum(count_over_time((" + " + ".join(["up"] * 40) + ")[30d:50ms]))"

    async def script(client: PrometheusClient) -> tuple[Answer, Answer]:
        await up(running, client)
        slow = await client.query(costly, deadline_s=0.5)
        return slow, await client.query("vector(1)", deadline_s=PATIENCE_S)

    slow, after = play(PrometheusSettings(running.url(), threads=1), script)
    assert isinstance(slow, Failure)
    assert slow.cause == "timeout"
    assert isinstance(after, Vector)


def certificate(folder: Path, name: str) -> None:
    """A key and a certificate that vouches for itself."""
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=prometheus"
    files = f"-addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.pem"
    subprocess.run([*request.split(), *files.split()], cwd=folder, check=True, capture_output=True)


def test_proves_the_server_and_logs_in_and_follows_both_files(place: Place) -> None:
    certificate(place.folder, "server")
    certificate(place.folder, "other")
    (place.folder / "web.yml").write_text(WEB_CONFIG)
    trusted, password = place.folder / "trusted.pem", place.folder / "password"
    settings = PrometheusSettings(
        place.url("https"), ca_file=trusted, basic_auth=BasicAuth("planner", password), threads=1, retries=0
    )

    async def script(client: PrometheusClient) -> list[str]:
        async def seen() -> str:
            answer = await client.query("vector(1)", deadline_s=PATIENCE_S)
            return answer.cause if isinstance(answer, Failure) else "good"

        password.write_text(PASSWORD)
        shutil.copy(place.folder / "server.pem", trusted)
        await alive(place, client)
        causes = []
        password.write_text("wrong")
        causes.append(await seen())
        password.write_text(PASSWORD)
        shutil.copy(place.folder / "other.pem", trusted)
        causes.append(await seen())
        trusted.unlink()
        causes.append(await seen())
        shutil.copy(place.folder / "server.pem", trusted)
        causes.append(await seen())
        return causes

    with prometheus(place, "--web.config.file=web.yml"):
        assert play(settings, script) == ["credentials", "tls", "unreachable", "good"]


MUTUAL = """\
tls_server_config:
  {cert_file: server.pem, key_file: server.key, client_ca_file: ours.pem, client_auth_type: RequireAndVerifyClientCert}
"""


def test_proves_who_we_are_where_the_server_asks_for_it_and_follows_a_new_certificate(place: Place) -> None:
    for name in ("server", "ours", "other"):
        certificate(place.folder, name)
    (place.folder / "web.yml").write_text(MUTUAL)
    cert, key = place.folder / "client.pem", place.folder / "client.key"
    settings = PrometheusSettings(
        place.url("https"), ca_file=place.folder / "server.pem", cert_file=cert, key_file=key, threads=1, retries=0
    )

    async def script(client: PrometheusClient) -> list[bool]:
        seen = []
        for name in ("other", "ours"):
            shutil.copy(place.folder / f"{name}.pem", cert)
            shutil.copy(place.folder / f"{name}.key", key)
            if name == "ours":
                await alive(place, client)
            seen.append(isinstance(await client.query("vector(1)", deadline_s=PATIENCE_S), Vector))
        return seen

    with prometheus(place, "--web.config.file=web.yml"):
        until_it_listens(place)
        assert play(settings, script) == [False, True]


def until_it_listens(place: Place) -> None:
    """Return once somebody accepts connections: a refused certificate must not be taken for a slow start."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", place.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError((place.folder / "log").read_text())
