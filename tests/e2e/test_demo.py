"""`planner demo` as a visitor has it: started, watched in a browser, and read at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("browser")

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A demo of forty minutes in twenty seconds, and where it says what."""
    said = tmp_path / "said"
    command = [sys.executable, "-u", "-m", "planner", "demo", "--speed", "120", "--listen", "127.0.0.1:0"]
    with said.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, text=True) as process:
        yield process, said
        process.kill()


def test_a_visitor_watches_it_scale_and_reads_what_it_cost(demo: tuple[subprocess.Popen[str], Path]) -> None:
    from playwright.sync_api import expect, sync_playwright

    process, said = demo
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = browser.new_page()
        asked, complaints = set(), []
        page.on("request", lambda request: asked.add(request.url.split("/")[2]))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        url = None
        while url is None:
            assert process.poll() is None, said.read_text()
            url = re.search(r"http://127\.0\.0\.1:\d+/", said.read_text())
            page.wait_for_timeout(50)
        page.goto(url[0])
        page.get_by_role("link", name="chat").click()
        page.get_by_role("link", name=re.compile(r"^\d+$")).first.click()
        expect(page.get_by_role("heading", name=re.compile("^Decision "))).to_be_visible()
        expect(page.get_by_text("Ordered before this decision.").first).to_be_visible()
        expect(page.locator("#connection")).to_have_text("connected")
        browser.close()
    assert asked == {url[0].split("/")[2]}
    assert complaints == []

    assert process.wait(timeout=90) == 0
    text = said.read_text()
    assert re.search(r"chat: applied: prefill 1 -> \d", text)
    for policy in ("planner, live", "static:peak", "hpa:queue", "clairvoyant"):
        assert re.search(rf"^{policy} +all +\d+\.\d ", text, re.MULTILINE), text
