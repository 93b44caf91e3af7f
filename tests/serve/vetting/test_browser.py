"""The vetting room in a real browser: with the keyboard alone, two people at once, and across the death of the server."""

import csv
import re
import shutil

import pytest

from darklens.serve.database import open_database
from darklens.serve.ledger import Ledger

from .conftest import IDS

pytest.importorskip("playwright", reason="the browser tests need playwright: pip install 'darklens[test]'")
from playwright.sync_api import expect, sync_playwright

PATIENCE = 60_000
"""Milliseconds, on a machine that has other things to do."""


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium here: install the distribution's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def enter(chromium):
    """Open the room in a browser of one's own; whatever the page complains about fails the test."""
    contexts, complaints = [], []
    expect.set_options(timeout=PATIENCE)

    def open_page(server, name=None, expected=(), **options):
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 860}, **options))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" and not expected else None)
        page.goto(f"{server.address}/vet")
        if name is not None:
            page.fill("#name-field", name)
            page.keyboard.press("Enter")
            expect(page.locator("#who")).to_have_text(name)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def history(scores):
    ledger = Ledger(open_database(scores.with_name("scores.parquet.vetting.db")), "")
    found = [(entry.who, entry.id, entry.decision) for entry in ledger.history()]
    ledger.engine.dispose()
    return found


def at(page, number):
    expect(page.locator("#place")).to_have_text(f"{number} of {len(IDS)}")


def saved(page):
    expect(page.locator("#line")).to_have_text("saved")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_with_the_keyboard_alone(serve, scores, enter, tmp_path):
    page = enter(serve(vet=scores), "Ann")
    at(page, 1)
    press(page, "l", "n", "3", "s")
    at(page, 5)
    expect(page.locator("#done")).to_have_text(re.compile("^4 of 12 by you"))
    press(page, "u")  # skip of the fourth is taken back
    at(page, 4)
    press(page, "ArrowLeft", "ArrowLeft")
    at(page, 2)
    expect(page.locator("#answers [data-answer=nonlens]")).to_have_attribute("aria-pressed", "true")
    press(page, "m")  # another word on the second, and undone again
    press(page, "Control+z")
    at(page, 2)
    expect(page.locator("#answers [data-answer=nonlens]")).to_have_attribute("aria-pressed", "true")
    saved(page)
    assert history(scores) == [
        ("Ann", "c00", "lens"), ("Ann", "c01", "nonlens"), ("Ann", "c02", "maybe"), ("Ann", "c03", "skip"),
        ("Ann", "c03", None), ("Ann", "c01", "maybe"), ("Ann", "c01", "nonlens"),
    ]  # fmt: skip
    page.reload()  # the server remembers, and one goes on where one was
    at(page, 4)
    page.screenshot(path=tmp_path / "vetting.png")


@pytest.mark.slow
def test_how_an_image_is_shown(serve, scores, enter):
    page = enter(serve(vet=scores), "Ann")
    picture = page.locator("#picture")
    expect(picture).to_have_js_property("naturalWidth", 24)
    shown = {picture.get_attribute("src")}
    for key in ("t", "t", "b"):
        press(page, key)
        shown.add(picture.get_attribute("src"))
        expect(picture).to_have_js_property("naturalWidth", 24)
    assert len(shown) == 4
    expect(page.locator("#view")).to_have_value("band 0")
    whole = picture.bounding_box()["width"]
    press(page, "+")
    assert picture.bounding_box()["width"] == pytest.approx(2 * whole, rel=0.05)
    press(page, "0")
    assert picture.bounding_box()["width"] == pytest.approx(whole, rel=0.05)
    press(page, "i")
    expect(picture).to_have_css("filter", "invert(1)")
    expect(page.locator("#facts")).not_to_contain_text("p(lens)")
    press(page, "p")
    expect(page.locator("#facts")).to_contain_text("0.9900")
    press(page, "?")
    expect(page.locator("#help-box")).to_be_visible()
    press(page, "l", "Escape")  # a key in a dialog decides nothing
    expect(page.locator("#done")).to_have_text(re.compile("^0 of 12"))


@pytest.mark.slow
def test_the_gallery(serve, scores, enter):
    page = enter(serve(vet=scores), "Ann")
    press(page, "g")
    tiles = page.locator("#gallery figure")
    expect(tiles.nth(0)).to_be_focused()
    press(page, "ArrowRight", "ArrowRight", "l")
    expect(tiles.nth(2)).to_have_attribute("data-look", "yes")
    expect(tiles.nth(3)).to_be_focused()
    across = len({round(tiles.nth(i).bounding_box()["x"]) for i in range(len(IDS))})
    press(page, "Home", "ArrowDown")
    expect(tiles.nth(across)).to_be_focused()
    page.select_option("#filter", "lens")
    expect(page.locator("#gallery figure:visible")).to_have_count(1)
    page.select_option("#filter", "all")
    tiles.nth(6).click()
    page.click("#gallery-bar [data-answer=maybe]")
    expect(tiles.nth(6)).to_have_attribute("data-look", "maybe")
    tiles.nth(9).focus()
    tiles.nth(9).dblclick()
    at(page, 10)
    saved(page)
    assert [entry[1:] for entry in history(scores)] == [("c02", "lens"), ("c06", "maybe")]


@pytest.mark.slow
def test_two_people_and_one_person_in_two_browsers(serve, scores, enter):
    server = serve(vet=scores)
    ann, bob, ann_too = (enter(server, name) for name in ("Ann", "Bob", "Ann"))
    press(ann, "l", "l", "n")
    press(bob, "l", "n", "n")
    saved(ann), saved(bob)
    assert sorted(history(scores)) == sorted(
        [("Ann", "c00", "lens"), ("Ann", "c01", "lens"), ("Ann", "c02", "nonlens"),
         ("Bob", "c00", "lens"), ("Bob", "c01", "nonlens"), ("Bob", "c02", "nonlens")]
    )  # fmt: skip
    bob.click("#agree")
    expect(bob.locator("#agree-content")).to_contain_text("All who answered agree on 2 of 3 images with two answers or more")
    expect(ann_too.locator("#done")).to_have_text(re.compile("^3 of 12 by you, 1 other"))  # within the time of a poll
    expect(ann_too.locator("#place")).to_have_text("1 of 12")
    expect(ann_too.locator("#answers [data-answer=lens]")).to_have_attribute("aria-pressed", "true")


@pytest.mark.slow
def test_shared_work(serve, scores, enter):
    server = serve(vet=scores, voters=1)
    ann, bob = enter(server, "Ann"), enter(server, "Bob")
    for number in range(8):  # what is handed out at once
        at(ann, number + 1)
        press(ann, "l")
    for number in range(4):
        at(bob, number + 9)
        press(bob, "n")
    for page in (ann, bob):
        expect(page.locator("#done")).to_have_text(re.compile("no image waits for you"))
        saved(page)
    assert sorted(history(scores)) == [("Ann", name, "lens") for name in IDS[:8]] + [("Bob", name, "nonlens") for name in IDS[8:]]


def test_the_server_dies_and_comes_back(serve, scores, enter):
    server = serve(vet=scores)
    page = enter(server, "Ann", expected=("the server is away",))
    press(page, "l", "n")
    saved(page)
    server.kill()
    press(page, "m", "l", "u")
    expect(page.locator("#line")).to_have_text(re.compile("server away, 3 kept here"))
    expect(page.locator("#done")).to_have_text(re.compile("^3 of 12"))
    server.start()
    saved(page)
    assert history(scores) == [
        ("Ann", "c00", "lens"), ("Ann", "c01", "nonlens"), ("Ann", "c02", "maybe"), ("Ann", "c03", "lens"), ("Ann", "c03", None)
    ]  # fmt: skip
    press(page, "s")
    saved(page)
    server.stop()
    rows = list(csv.DictReader(scores.with_name("scores.parquet.decisions.csv").open()))
    first = {r["id"]: r["decision"] for r in rows[:4]}  # by time; words that took longest to travel seem the latest
    assert first == {"c00": "lens", "c01": "nonlens", "c02": "maybe", "c03": "skip"}


@pytest.mark.slow
def test_a_page_that_is_closed_while_the_server_is_away_sends_later(serve, scores, enter):
    server = serve(vet=scores)
    page = enter(server, "Ann", expected=("the server is away",))
    server.kill()
    press(page, "l", "m")
    expect(page.locator("#line")).to_have_text(re.compile("2 kept here"))
    context = page.context
    page.close()
    server.start()
    page = context.new_page()
    page.goto(f"{server.address}/vet")
    at(page, 3)
    saved(page)
    assert history(scores) == [("Ann", "c00", "lens"), ("Ann", "c01", "maybe")]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_small_screen(serve, scores, enter, scheme, tmp_path):
    page = enter(serve(vet=scores), "Ann", color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#answers [data-answer=lens]").click()
    at(page, 2)
    page.screenshot(path=tmp_path / f"small-{scheme}.png")
