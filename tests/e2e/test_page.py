"""The live page in a real browser, served by the real API over a made-up planner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from page_planner import MadeUpPlanner
from page_server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request

pytestmark = pytest.mark.needs("browser")

TOKEN = "open sesame"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
FIVE = ["batch", "search", "chat", "code", "mail"]


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """One for all tests, so that the charts' library is fetched and compiled once; each server is a site of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=ARGUMENTS)
        yield browser.new_context()
        browser.close()


def served(folder: Path, copies: int = 0) -> Iterator[PageServer]:
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    started = PageServer(MadeUpPlanner(copies), token_file)
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A planner that all tests look at and none changes."""
    yield from served(tmp_path_factory.mktemp("still"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    """A planner of the test's own."""
    yield from served(tmp_path)


@pytest.fixture
def thousand(tmp_path: Path) -> Iterator[PageServer]:
    yield from served(tmp_path, copies=995)


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained about, and requests to other hosts."""
    return []


@pytest.fixture
def page(context: BrowserContext, faults: list[str]) -> Iterator[Page]:
    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    def asked(request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            faults.append(request.url)

    opened = context.new_page()
    opened.set_viewport_size({"width": 1440, "height": 900})
    opened.emulate_media(color_scheme="light")
    opened.on("console", heard)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", asked)
    yield opened
    opened.close()


def shows(place: Locator, text: str) -> None:
    """Wait until the place contains the text."""
    from playwright.sync_api import expect

    expect(place).to_contain_text(text)


def opened(page: Page, server: PageServer, service: str | None = None) -> Page:
    """The page, once it shows something; with a service, once its charts are drawn."""
    page.goto(server.url + ("" if service is None else f"#/service/{service}"))
    shows(page.locator("#connection"), "connected")
    page.locator("#services tbody tr").first.wait_for(state="attached")
    if service is not None:
        page.locator("figure .main-svg").first.wait_for()
        shows(page.locator("#decision-heading"), "Decision")
    return page


def names(page: Page) -> list[str]:
    return page.locator("#services tbody th").all_inner_texts()


def violations(page: Page) -> list[str]:
    """What axe finds of serious and critical, a line each."""
    package = find_spec("axe_playwright_python")
    assert package is not None
    assert package.origin is not None
    page.evaluate((Path(package.origin).parent / "axe.min.js").read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
    ]


def test_shows_every_service_with_the_gravest_first(still: PageServer, page: Page, faults: list[str]) -> None:
    opened(page, still)
    health = page.locator("#services tbody td:nth-child(2)").all_inner_texts()
    rank = ["trouble", "blind", "holding", "ok"]
    assert sorted(names(page)) == sorted(FIVE)
    assert [rank.index(word.strip()) for word in health] == sorted(rank.index(word.strip()) for word in health)
    assert faults == []


def test_shows_a_missing_rate_as_missing_and_not_as_zero(still: PageServer, page: Page) -> None:
    opened(page, still)
    row = page.locator("#services tr", has=page.locator("th", has_text="search"))
    assert row.locator("td").nth(1).inner_text().split() == ["–", "missing"]


@pytest.mark.parametrize(
    ("column", "clicks", "first", "last"),
    [("Service", 1, "batch", "search"), ("Service", 2, "search", "batch"), ("Rate", 1, "batch", "search")],
    ids=["by name", "by name, backwards", "by rate, the unknown last"],
)
def test_sorts_by_the_head_that_is_pressed(
    still: PageServer, page: Page, column: str, clicks: int, first: str, last: str
) -> None:
    opened(page, still)
    for _ in range(clicks):
        page.get_by_role("button", name=column).press("Enter")
    assert (names(page)[0], names(page)[-1]) == (first, last)


def test_filters_by_words_of_name_health_and_reason(still: PageServer, page: Page) -> None:
    opened(page, still)
    page.get_by_label("Filter").fill("blind returned")
    assert names(page) == ["search"]
    shows(page.locator("#tally"), "1 of 5 shown")
    page.get_by_label("Filter").fill("")
    assert len(names(page)) == 5


def test_opens_a_service_by_keyboard_and_goes_back_to_its_row(still: PageServer, page: Page, faults: list[str]) -> None:
    opened(page, still)
    page.get_by_role("link", name="chat").press("Enter")
    page.locator("figure .main-svg").first.wait_for()
    shows(page.locator("#figure-demand figcaption"), "req/s now")
    shows(page.locator("#figure-ttft figcaption"), "target 500 ms")
    assert page.locator("figure").count() == 6
    assert page.evaluate("document.activeElement.id") == "detail-heading"
    page.get_by_role("link", name="All services").press("Enter")
    page.locator("#overview").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "chat"
    assert faults == []


def test_the_waterfall_shows_the_numbers_of_the_decision(still: PageServer, page: Page, faults: list[str]) -> None:
    opened(page, still, "chat")
    page.locator(".decisions tbody a").nth(3).click()
    tick = still.planner.board().ticks - 3
    shows(page.locator("#decision-heading"), f"Decision {tick},")
    assert page.url.endswith(f"#/service/chat/{tick}")
    told: dict[str, Any] = page.evaluate(f"fetch('decisions/{tick}/chat').then((answer) => answer.json())")
    for role, pool in told["pools"].items():
        section = page.locator("section", has=page.get_by_role("heading", name=f"Replicas, {role}")).last
        values = section.locator(".value").all_inner_texts()
        steps = dict(zip(section.locator(".name").all_inner_texts(), (v.split()[0] for v in values), strict=True))
        del steps["one replica"]
        assert steps == {
            "now": str(pool["current"]),
            "sized": str(told["sizing"]["pools"][role]["replicas"]),
            "bounded": str(pool["wanted"]),
            "budget": str(pool["granted"]),
            "guards": str(pool["replicas"]),
            "ordered": str(pool["replicas"]),
        }
    page.get_by_text("The full arithmetic").click()
    symbols = [step["symbol"] for pool in told["sizing"]["pools"].values() for step in pool["steps"]]
    assert page.locator("#detail details table").first.locator("tbody th").all_inner_texts() == symbols
    assert faults == []


def test_every_reason_of_a_decision_is_somewhere_in_its_waterfall(still: PageServer, page: Page) -> None:
    opened(page, still, "batch")
    section = page.locator("section[aria-labelledby=decision-heading]")
    last = still.planner.board().services["batch"].last
    assert last is not None
    told = [reason.text for reason in last.decision.reasons if reason.code != "forecast"]
    text = section.inner_text()
    assert [reason for reason in told if reason not in text] == []
    assert "quantile" in text


def test_a_service_without_load_shows_what_held_it_and_no_invented_step(still: PageServer, page: Page) -> None:
    opened(page, still, "search")
    section = page.locator("section[aria-labelledby=decision-heading]")
    assert "held: the load is unknown (the query returned no series)" in section.inner_text()
    assert section.get_by_text("No guard holds it").count() == 0
    arrivals = page.locator("#detail tr", has=page.get_by_role("rowheader", name="Arrivals"))
    assert arrivals.locator("td").all_inner_texts()[0] == "missing"
    assert arrivals.locator("td").all_inner_texts()[-1] == "the query returned no series"


def test_lists_older_decisions_and_changes_only(still: PageServer, page: Page) -> None:
    opened(page, still, "chat")
    first = page.locator(".decisions tbody th").all_inner_texts()
    page.get_by_role("button", name="Older").click()
    shows(page.locator(".decisions tbody th").first, str(int(first[-1]) - 1))
    page.get_by_label("changes only").check()
    shows(page.locator(".decisions tbody tr").first, "→")
    assert page.locator(".decisions tbody tr", has_not_text="→").count() == 0


def test_a_new_decision_appears_by_itself_and_keeps_a_half_written_reason(
    server: PageServer, page: Page, faults: list[str]
) -> None:
    opened(page, server, "chat")
    page.get_by_text("Pause: decide and show").click()
    page.locator("form[data-order=pause]").get_by_label("Reason").fill("half a sen")
    server.planner.advance()
    shows(page.locator("#decision-heading"), f"Decision {server.planner.board().ticks},")
    assert page.locator("form[data-order=pause]").get_by_label("Reason").input_value() == "half a sen"
    assert page.evaluate("document.activeElement.name") == "why"
    assert faults == []


def test_an_old_decision_stays_while_new_ones_come(server: PageServer, page: Page) -> None:
    opened(page, server, "chat")
    page.locator(".decisions tbody a").nth(2).click()
    tick = server.planner.board().ticks - 2
    shows(page.locator("#decision-heading"), f"Decision {tick},")
    server.planner.advance()
    shows(page.locator(".decisions tbody th").first, str(server.planner.board().ticks))
    shows(page.locator("#decision-heading"), f"Decision {tick},")


def test_pauses_with_the_token_and_shows_the_refusal_without(server: PageServer, page: Page) -> None:
    opened(page, server, "chat")
    page.get_by_text("Pause: decide and show").click()
    form = page.locator("form[data-order=pause]")
    form.get_by_label("Reason").fill("load test")
    form.get_by_label("Your name").fill("ada")
    form.get_by_label("Token").fill("guessed")
    form.get_by_role("button", name="Pause").click()
    shows(form.get_by_role("status"), "the token is missing or wrong")
    form.get_by_label("Token").fill(TOKEN)
    form.get_by_role("button", name="Pause").click()
    shows(page.locator("#detail"), "Paused by ada since")
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert TOKEN not in stored
    assert json.loads(stored)[:3] == [{}, {}, ""]
    page.get_by_text("Resume", exact=True).first.click()
    resume = page.locator("form[data-order=resume]")
    resume.get_by_label("Reason").fill("done")
    assert resume.get_by_label("Token").input_value() == TOKEN
    resume.get_by_role("button", name="Resume").click()
    shows(page.locator("#detail"), "None in force.")


def test_holds_a_service_and_shows_why_it_cannot(server: PageServer, page: Page) -> None:
    opened(page, server, "mail")
    page.get_by_text("Hold at a number of replicas").click()
    form = page.locator("form[data-order=hold]")
    for label, text in {"prefill": "99", "decode": "2", "Reason": "launch", "Token": TOKEN}.items():
        form.get_by_label(label).fill(text)
    form.get_by_role("button", name="Hold").click()
    shows(form.get_by_role("status"), "hold fewer replicas")
    form.get_by_label("prefill").fill("3")
    form.get_by_role("button", name="Hold").click()
    shows(page.locator("#detail"), "Held at prefill 3, decode 2 until")


def test_a_dry_run_shows_in_the_head(server: PageServer, page: Page) -> None:
    opened(page, server)
    page.get_by_text("Start one").click()
    form = page.locator("form[data-order=dry-run]")
    form.get_by_label("Reason").fill("first day")
    form.get_by_label("Token").fill(TOKEN)
    form.get_by_role("button").click()
    shows(page.locator("#state"), "dry run")
    shows(page.locator("#dry-run"), "first day")


def test_a_lost_connection_makes_everything_visibly_old_until_it_is_back(server: PageServer, page: Page) -> None:
    page.clock.install()
    opened(page, server)
    server.stop()
    page.clock.run_for(8_000)
    shows(page.locator("#connection"), "reconnecting")
    page.clock.run_for(20_000)
    shows(page.locator("#connection"), "lost since")
    shows(page.locator("#banner"), "No answer since")
    assert page.evaluate("getComputedStyle(document.querySelector('.views')).filter") == "grayscale(1)"
    server.start()
    page.clock.run_for(8_000)
    shows(page.locator("#connection"), "connected")
    assert page.locator("#banner").is_hidden()


def test_a_planner_that_no_longer_ticks_is_late_even_when_connected(still: PageServer, page: Page) -> None:
    page.clock.install()
    opened(page, still)
    shows(page.locator("#state"), "live")
    page.clock.fast_forward(200_000)
    shows(page.locator("#state"), "late")


def test_an_unknown_service_is_said_and_is_no_lost_connection(still: PageServer, page: Page) -> None:
    page.goto(f"{still.url}#/service/nobody")
    shows(page.locator("#detail"), "'nobody' is unknown")
    shows(page.locator("#connection"), "connected")


def test_says_that_the_charts_are_missing_and_shows_the_rest(still: PageServer, page: Page) -> None:
    page.route("**/plotly.js", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{still.url}#/service/chat")
    shows(page.locator("#detail"), "page/plotly.js could not be fetched; the tables and captions say the same")
    shows(page.locator("#figure-demand figcaption"), "req/s now")
    shows(page.locator("#decision-heading"), "Decision")


def test_fetches_once_for_each_decision(server: PageServer, page: Page) -> None:
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if request.url.endswith("/overview") else None)
    opened(page, server)
    before = len(fetched)
    for _ in range(3):
        with page.expect_response("**/overview"):
            server.planner.advance()
    assert (before <= 2, len(fetched) - before) == (True, 3)


def test_sleeps_while_the_tab_is_hidden_and_catches_up(server: PageServer, page: Page) -> None:
    def hide(hidden: bool) -> None:
        page.evaluate(
            "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')) }",
            hidden,
        )

    opened(page, server, "chat")
    hide(True)
    shows(page.locator("#connection"), "asleep")
    server.planner.advance()
    hide(False)
    shows(page.locator("#connection"), "connected")
    shows(page.locator("#decision-heading"), f"Decision {server.planner.board().ticks},")


def test_polls_where_events_are_refused(still: PageServer, page: Page) -> None:
    page.route("**/events", lambda route: route.fulfill(status=503, body=""))
    page.goto(still.url)
    shows(page.locator("#connection"), "polling")
    shows(page.locator("#tally"), "5:")


def test_dark_is_the_systems_choice_or_the_browsers_and_is_kept(server: PageServer, page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    opened(page, server)
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    page.get_by_label("Colours").select_option("dark")
    assert (light, page.evaluate(ground)) == ("rgb(255, 255, 255)", dark)
    page.reload()
    assert page.evaluate(ground) == dark != light


@pytest.mark.parametrize("service", [None, "batch"], ids=["all services", "one service"])
def test_never_scrolls_sideways(still: PageServer, page: Page, service: str | None) -> None:
    opened(page, still, service)
    wide = {}
    for width in (360, 768, 1440, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        wide[width] = page.evaluate("document.documentElement.scrollWidth")
    assert wide == {width: width for width in wide}


@pytest.mark.parametrize(
    ("service", "width"),
    [(None, 360), (None, 1440), ("batch", 360), ("search", 1440), ("code", 2560)],
    ids=["all, phone", "all", "batch, phone", "search", "code, beside all"],
)
def test_axe_finds_nothing_serious_in_light_and_dark(
    still: PageServer, page: Page, service: str | None, width: int, faults: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, still, service)
    for summary in page.locator("details > summary:visible").all():
        summary.click()
    found = {"light": violations(page)}
    page.emulate_media(color_scheme="dark")
    found["dark"] = violations(page)
    assert found == {"light": [], "dark": []}
    assert faults == []


def test_a_thousand_services_are_written_in_place(thousand: PageServer, page: Page) -> None:
    opened(page, thousand)
    assert page.locator("#services tbody tr").count() == 1000
    page.evaluate("document.querySelector('#services tbody').firstElementChild.dataset.same = 'yes'")
    page.locator("#services tbody a", has_text="copy-0500").focus()
    scrolled = "document.querySelector('#overview .scroll').scrollTop"
    before = page.evaluate(scrolled)
    page.evaluate(
        "new MutationObserver(() => { document.body.dataset.told = 'yes' }).observe("
        "document.querySelector('#services tbody'), {childList: true, subtree: true, characterData: true})"
    )
    thousand.planner.advance()
    page.locator("body[data-told]").wait_for()
    assert page.locator("#services tbody tr[data-same=yes]").count() == 1
    assert page.evaluate("document.activeElement.textContent") == "copy-0500"
    assert page.evaluate(scrolled) == before > 0
