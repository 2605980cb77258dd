"""The report page in a real browser, from disk and offline: what a reader does with it, and what no text in it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from benchmarks.big_raw_data import make
from cluster.jobs.run_directory import JSON, hold_run, write_record
from cluster.jobs.status import Moment, add_moment
from tests import drive_job
from tests.assembly_rows import published_row
from tests.browser.lab import DESKTOP, PHONE, Browser, Device
from tests.report_pages import page_of, write_raw

pytestmark = pytest.mark.browser

ROWS = "#view=rows"
OPENED_S = 1.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that a run leaves: of a scripted model, with wrong, unanswered and reflected samples, and traces."""
    run = tmp_path_factory.mktemp("report") / "run"
    assert drive_job.main(["--questions=24", "--samples=3", f"--out={run}"]) == 0
    return run / "report.html"


def listed(browser: Browser) -> list[str]:
    return [one.text for one in browser.all("#list ol button .asks")]


def choose(browser: Browser, name: str, value: str) -> None:
    Select(browser.find(f"select[name={name}]")).select_by_visible_text(value)


def press(browser: Browser, keys: str) -> None:
    browser.driver.switch_to.active_element.send_keys(keys)


def chips(browser: Browser, kind: str = "article[class*=is-]") -> set[str]:
    return {one.text for one in browser.all(f"{kind} header .chip")}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("view", ["overview", "rows", "traces"])
def test_a_page_fits_the_screen(browser: Browser, page: Path, view: str, device: Device, dark: bool) -> None:
    browser.open(page, device, dark=dark, fragment={"overview": "", "rows": ROWS, "traces": f"{ROWS}&label=3C"}[view])
    assert browser.overflow() == 0
    assert browser.run("return innerWidth") == device.width
    assert browser.find("html").get_attribute("data-theme") == ("dark" if dark else "light")
    assert browser.find("h1").text == ("run" if view == "overview" else "Rows of run")
    names = [
        browser.run("return arguments[0].innerText || arguments[0].ariaLabel", one) for one in browser.all("button")
    ]
    assert all(name.strip() for name in names)
    assert browser.all("select:not(label select):not([aria-label]), input:not(label input)") == []
    screen = f"report-{view}-{'phone' if device.phone else 'desktop'}-{'dark' if dark else 'light'}"
    assert browser.screenshot(screen, whole=True).stat().st_size > 10_000


def test_a_number_of_the_overview_leads_to_its_rows(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.find(".cuts button:nth-child(2)").click()
    assert Select(browser.find("select[name=right]")).first_selected_option.text == "sometimes right"
    browser.driver.back()
    assert "Questions: never" in browser.find("main").text
    example = browser.find("button[aria-label^='example 1 of']")
    fault = str(example.get_attribute("aria-label")).removeprefix("example 1 of ")
    example.click()
    assert fault in chips(browser, "article.trace")
    assert browser.find("article").get_attribute("class") == "card trace", "what was asked for comes first"


def test_filters_leave_what_fits(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=ROWS)
    every = listed(browser)
    choose(browser, "outcome", "unknown")
    some = listed(browser)
    assert 0 < len(some) < len(every)
    assert "unknown" in chips(browser)
    assert "right" not in chips(browser)
    choose(browser, "variant", "alternatively")
    assert len(listed(browser)) < len(some)
    assert chips(browser) == {"unknown", "alternatively"}
    for name in ("reason", "verdict"):
        assert len(Select(browser.find(f"select[name={name}]")).options) > 2
    browser.find(".detail .bar-of button[aria-pressed]").click()
    assert "right" in chips(browser), "the others of the question are a click away"
    browser.find("#reset").click()
    assert listed(browser) == every
    choose(browser, "label", "2C")
    assert {one.text for one in browser.all("article.trace header b")} == {"2C"}


def test_a_link_leads_to_the_same_rows(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=ROWS)
    choose(browser, "outcome", "wrong")
    browser.find("#list li:nth-child(3) button").click()
    link, asked = browser.driver.current_url, browser.find(".detail pre, .detail .text").text
    browser.open(page)
    browser.driver.get("about:blank")
    browser.driver.get(link)
    assert browser.find(".detail .text").text == asked
    assert browser.find("#list [aria-current=true]").text.splitlines()[0] == listed(browser)[2]


def test_search_finds_words_of_any_text(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=ROWS)
    every = listed(browser)
    press(browser, "/")
    press(browser, re.findall(r"\[.*?\], CREATE", every[2].upper())[0])
    browser.run("return new Promise(done => setTimeout(done, 400))")
    assert browser.driver.switch_to.active_element.get_attribute("id") == "search"
    assert 0 < len(listed(browser)) < len(every)
    press(browser, " zzz")
    browser.run("return new Promise(done => setTimeout(done, 400))")
    assert listed(browser) == []
    assert "No question fits" in browser.find("#detail").text
    press(browser, Keys.ESCAPE)
    assert listed(browser) == every


def test_keys_lead_through_the_questions(browser: Browser, page: Path) -> None:
    browser.open(page)
    press(browser, "r")

    def place() -> int:
        return int(
            browser.run("return [...document.querySelectorAll('#list ol button')].findIndex(b => b.ariaCurrent)")
        )

    assert place() == 0
    for key, expected in (("j", 1), (Keys.ARROW_DOWN, 2), ("k", 1), (Keys.ARROW_UP, 0), (Keys.ARROW_UP, 0), ("j", 1)):
        press(browser, key)
        assert place() == expected
    press(browser, Keys.ENTER)
    assert browser.driver.switch_to.active_element.get_attribute("id") == "detail"
    press(browser, "?")
    assert browser.find("#help").is_displayed()
    press(browser, Keys.ESCAPE)
    assert not browser.find("#help").is_displayed()
    press(browser, "t")
    press(browser, "t")
    assert browser.find("html").get_attribute("data-theme") == "dark"
    press(browser, "o")
    assert browser.find("h1").text == "run"


def test_a_row_is_copied_as_json(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=f"{ROWS}&outcome=wrong")
    card = browser.find("article.card")
    card.find_element("css selector", ".copy").click()
    row = json.loads(browser.clipboard())
    assert (row["outcome"], row["kind"]) == ("wrong", "RAW_DATA")
    assert row["answer"] in card.text
    assert row["question"].startswith("Answer the following problem.")
    assert {one["verdict"] for one in row["said"]} <= {"Correct", "Incorrect", "none"}


def test_where_the_clipboard_is_refused_a_row_is_copied_all_the_same(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=ROWS)
    browser.run("navigator.clipboard.writeText = () => Promise.reject(Error('refused'))")
    browser.find("article .copy").click()
    assert json.loads(browser.clipboard())["kind"] == "RAW_DATA"


def test_the_parts_of_a_trace_have_their_colours(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=f"{ROWS}&label=2C")
    parts = browser.all("article.trace .part")
    kinds = [str(one.get_attribute("class")).split()[1] for one in parts]
    assert [kind for kind in kinds if kind != "glue"] == ["sample", "reflect", "sample", "reflect", "answer"]
    assert kinds.count("glue") >= 3
    colours = {one.value_of_css_property("background-color") for one in parts}
    assert len(colours) == 4
    assert parts[kinds.index("sample")].text.splitlines()[:2] == ["sample 1", "<sample>"]


def test_a_hundred_thousand_rows_open_at_once(browser: Browser, tmp_path: Path) -> None:
    make(tmp_path / "big", 100_000)
    page = page_of(tmp_path / "big", out=tmp_path / "page.html")
    assert page.stat().st_size < 2 * MIB
    took = []
    for fragment in ("", ROWS, "", ROWS, ""):
        browser.driver.get("about:blank")
        browser.open(page, fragment=fragment)
        took.append(browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
    print(f"opened in {', '.join(f'{one:.2f}' for one in took)} s, {page.stat().st_size:,} bytes")
    assert sorted(took)[2] < OPENED_S
    browser.open(page, fragment=ROWS)
    assert "of the 100,032 rows of RAW_DATA" in browser.find("#sampled").text
    assert quote("view=rows") in quote(browser.driver.current_url)


def test_starts_say_what_they_ran_on_and_each_engine_that_was_lost_counts(browser: Browser, tmp_path: Path) -> None:
    start: dict[str, JSON] = {
        "begun": "2026-01-01T00:00:00+00:00",
        "state": "done",
        "seconds": 40.0,
        "output_tokens": 4000,
    }
    engines = [
        {"wanted": 2, "gpus_each": 0, "served": True},
        {"wanted": 1, "gpus_each": 0},
        {"wanted": 3, "gpus_each": 2},
    ]
    starts: list[JSON] = [{**start, "engines": one} for one in engines]
    with hold_run(tmp_path, {"task": "sums"}) as record:
        write_record(tmp_path, {**record, "state": "done", "starts": starts})
    write_raw(tmp_path / "RAW_DATA", [published_row("3 + 4?", "7", True)])
    (tmp_path / "logs").mkdir(exist_ok=True)
    for seconds, lost in ((10.0, 0), (20.0, 3), (40.0, 4)):
        add_moment(tmp_path, Moment("2026-01-01T00:00:00+00:00", 0, seconds, 1, 0, int(100 * seconds), 2, lost))
    browser.open(page_of(tmp_path, out=tmp_path / "page.html"))
    text = browser.run("return document.body.innerText")
    assert "2 on a server" in text
    assert "1 on the CPU" in text
    assert "3 on 2 GPU each" in text
    assert "engines lost: 4" in text
