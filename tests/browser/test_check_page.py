"""The page of assembly.check, and that the lab would see what it must not do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from assembly.assemble import assemble
from assembly.check import main
from generation.builtin import MODEL
from tests.assembly_rows import published_row, settings, write_parquet
from tests.browser.lab import DESKTOP, PHONE, Browser, Device, browsing

pytestmark = pytest.mark.browser

HOSTILE = "</pre></html><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
FORGETFUL = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    f"{{{{ {json.dumps(HOSTILE)} if m.role == 'assistant' else m.content }}}}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What assembly.check writes where a template puts hostile words in the place of each trace."""
    folder = tmp_path_factory.mktemp("check")
    rows = [published_row(f"q{q} {HOSTILE}", f"{HOSTILE} r{q}/{n}", n % 2 == 0) for q in range(4) for n in range(4)]
    assemble(write_parquet(folder / "raw.parquet", rows), folder / "SFT_DATA", settings("*C_full"), 1)
    shutil.copytree(MODEL, folder / "model")
    (folder / "model" / "chat_template.jinja").write_text(FORGETFUL, encoding="utf-8")
    words = ["--sft", str(folder / "SFT_DATA"), "--model", str(folder / "model"), "--html", str(folder / "found.html")]
    assert main(words) == 1
    return folder / "found.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_of_the_check(browser: Browser, page: Path, device: Device, dark: bool) -> None:
    browser.open(page, device, dark=dark)
    assert browser.driver.title == "What is trained"
    assert "12 of 12 traces" in browser.find("pre").text
    assert HOSTILE in browser.find("pre.found").text
    assert browser.all("script, img, iframe") == []
    assert browser.overflow() == 0
    assert browser.run("return innerWidth") == device.width
    light = browser.run("return getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 0, 0)"
    assert light is not dark
    browser.screenshot(f"check-{'phone' if device.phone else 'desktop'}-{'dark' if dark else 'light'}", whole=True)


def test_the_lab_sees_errors_and_requests(browser: Browser, tmp_path: Path) -> None:
    """Or the tests above, and all that come, could not fail."""
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><img src='http://192.0.2.1/a.png'><script>new WebSocket('ws://there.example/s');"
        "fetch('https://else.example/x').catch(() => 0); throw Error('seen')</script>",
        encoding="utf-8",
    )
    browser.open(page)
    browser.run("return new Promise(done => setTimeout(done, 200))")
    assert [line for line in browser.console() if "Error: seen" in line]
    assert {*browser.requests()} == {"http://192.0.2.1/a.png", "ws://there.example/s", "https://else.example/x"}
    assert browser.console() == []


def test_the_lab_reads_what_was_copied(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><button onclick=\"navigator.clipboard.writeText('a\\n\\u202eb')\">copy</button>",
        encoding="utf-8",
    )
    browser.open(page)
    browser.find("button").click()
    assert browser.clipboard() == "a\n\u202eb"


def test_a_browser_keeps_nothing_for_the_next(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>kept</title>", encoding="utf-8")
    for _ in range(2):
        with browsing() as browser:
            browser.open(page)
            assert browser.run("return localStorage.length") == 0
            browser.run("localStorage.setItem('a', 'b')")
