"""Hostile texts on the report page: each is there to be read, and none does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assembly_rows import published_row
from tests.browser.lab import DESKTOP, PHONE, Browser, Device
from tests.report_pages import HOSTILE, SCRIPT, TOLD, hostile_rows, page_of, write_raw, write_traces

pytestmark = pytest.mark.browser

ROWS = "#view=rows"
OF_THE_PAGE = "script, style, link, img, iframe, object, embed, form:not(dialog form), a[href^='javascript']"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    return page_of(write_raw(folder / "raw", hostile_rows()), out=folder / "page.html")


def unharmed(browser: Browser) -> None:
    assert browser.driver.title == "raw – report"
    assert browser.run(f"return document.body.querySelectorAll({OF_THE_PAGE!r}).length") == 2
    assert browser.overflow() == 0


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_hostile_texts_are_inert_and_readable(browser: Browser, page: Path, device: Device) -> None:
    browser.open(page, device)
    unharmed(browser)
    seen = set[str]()
    for place in range(len(HOSTILE) + 2):
        browser.open(page, device, fragment=ROWS)
        button = browser.all("#list ol button")[place]
        browser.run("arguments[0].click()", button)
        for fold in browser.all("details"):
            browser.run("arguments[0].open = true", fold)
        unharmed(browser)
        text = browser.run("return document.getElementById('detail').innerText")
        name = text.partition("Question\n")[2].partition(":")[0].strip()
        seen.add(name)
        if name in ("script", "comment", "link", "entities", "template"):
            assert HOSTILE[name] in text
        if name == "bidi":
            assert "right ⟨U+202E⟩to left⟨U+202C⟩, ⟨U+2066⟩isolated⟨U+2069⟩, ⟨U+200F⟩mark, ⟨U+061C⟩" in text
        if name == "controls":
            assert "bell ⟨U+0007⟩, escape ⟨U+001B⟩[31mred⟨U+001B⟩[0m, delete ⟨U+007F⟩, return⟨U+000D⟩" in text
            assert "next line ⟨U+0085⟩, zero ⟨U+0000⟩ end" in text
        if name == "separators":
            assert "line ⟨U+2028⟩ paragraph ⟨U+2029⟩ byte order ⟨U+FEFF⟩" in text
        if name == "astral":
            assert "⟨U+E0041⟩" in text
        if name == "long":
            assert f"{10_000_000 + len(TOLD) - 8_000:,} characters of this text are not in this page" in text
        if name == "million":
            assert f"{1_000_009 + len(TOLD) - 3_000:,} characters of this text are not in this page" in text
        browser.screenshot(f"hostile-{name}-{'phone' if device.phone else 'desktop'}")
    assert seen == {*HOSTILE, "long", "million"}


def test_hostile_names_are_inert_in_filters_and_search(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=ROWS)
    options = browser.run(
        "return [...document.querySelectorAll('select[name=variant] option')].map(o => o.textContent)"
    )
    assert SCRIPT in options
    browser.find("#search").send_keys(SCRIPT)
    browser.run("return new Promise(done => setTimeout(done, 400))")
    assert len(browser.all("#list ol button")) == 1
    unharmed(browser)
    browser.open(page, fragment=f"{ROWS}&variant=<script>1</script>&question=__proto__&right=constructor")
    unharmed(browser)


def test_keys_that_javascript_has_of_its_own_are_keys(browser: Browser, tmp_path: Path) -> None:
    names = ("__proto__", "constructor", "toString")
    rows = [published_row(f"{name}?", "7", True, question_key=name, task=name, prompt_variant=name) for name in names]
    write_raw(tmp_path / "RAW_DATA", rows)
    traces = dict.fromkeys(names, "<think>\nx\n</think>\n")
    write_traces(tmp_path / "SFT_DATA", traces, of=names)
    made = page_of(tmp_path, out=tmp_path / "page.html")
    for fragment in (ROWS, f"{ROWS}&right=always", f"{ROWS}&right=always&question=__proto__"):
        browser.open(made, fragment=fragment)
        assert len(browser.all("#list ol button")) == len(names)
        assert "1 of 1 samples right" in browser.run("return document.getElementById('detail').innerText")


def test_a_link_to_a_side_that_is_not_there_finds_no_rows(browser: Browser, page: Path) -> None:
    browser.open(page, fragment=f"{ROWS}&side=7")
    assert "No question fits these filters." in browser.run("return document.body.innerText")


@pytest.mark.parametrize("text", ["\ud800 alone", "x\udfff"])
def test_half_a_character_is_shown_by_its_number(browser: Browser, page: Path, text: str) -> None:
    browser.open(page)
    shown = browser.run(f"return visible({'String.fromCharCode(' + str(max(map(ord, text))) + ')'}).textContent")
    assert shown == f"⟨U+{max(map(ord, text)):04X}⟩"


def test_tags_in_a_trace_are_told_apart_as_assembly_does(browser: Browser, tmp_path: Path) -> None:
    whole = "<sample>\na\n</sample>\n<reflect>\nb\n</reflect>\n"
    texts = {
        "whole": f"<think>\n{whole}</think>\n\nSo:\n\n<answer>\n7\n</answer>",
        "nested": f"<think>\n<sample>\n<sample>\nin\n</sample>\n</sample>\n{whole}</think>\n<answer>7</answer>",
        "open": "<think>\n<sample>\nnever closed",
        "shouted": "<THINK><SAMPLE>\na\n</SAMPLE></THINK><ANSWER>7</ANSWER>",
        "hostile": f"<think>\n<sample>\n{SCRIPT}\n</sample>\n</think>\n<answer>{SCRIPT}</answer>",
        "unframed": "no tags at all <answer>7</answer>",
    }
    page = page_of(write_traces(tmp_path / "set", texts), out=tmp_path / "page.html")
    browser.open(page, fragment=ROWS)
    script = "return [...arguments[0].querySelectorAll('.part')].map(part => part.classList[1])"
    kinds = {
        card.find_element("css selector", "header b").text: [
            kind for kind in browser.run(script, card) if kind != "glue"
        ]
        for card in browser.all("article.trace")
    }
    assert kinds == {
        "whole": ["sample", "reflect", "answer"],
        "nested": ["sample", "sample", "reflect", "answer"],
        "open": [],
        "shouted": ["sample", "answer"],
        "hostile": ["sample", "answer"],
        "unframed": [],
    }
    assert SCRIPT in browser.find("#detail").text
    assert browser.driver.title == "set – report"
