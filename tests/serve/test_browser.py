"""The pages in a real browser, as a visitor drives them: pointer and keyboard, bad files, a server that goes and comes back."""

import contextlib
import shutil
import socket
import threading
import time

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
if CHROMIUM is None:
    pytest.skip("browser tests need the distribution's Chromium: apt-get install chromium", allow_module_level=True)

from darklens.serve import Settings  # noqa: E402
from darklens.serve.app import create_app  # noqa: E402

pytestmark = pytest.mark.slow

PATIENCE = 120_000
"""Milliseconds: a busy machine is slow, a broken page never gets there."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Served:
    """A server in a thread, which can be stopped and started again on its port."""

    def __init__(self, **settings):
        self.port, self.settings = free_port(), settings
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        import uvicorn

        app = create_app(Settings(runs=("arcnet:common-test",), port=self.port, **self.settings))
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(30)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def served():
    found = Served()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as library:
        found = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser):
    with contextlib.closing(browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)) as context:
        context.set_default_timeout(PATIENCE)
        found = context.new_page()
        found.wrong = []
        found.on("pageerror", lambda error: found.wrong.append(str(error)))
        found.on("console", lambda message: found.wrong.append(message.text) if "Content Security Policy" in message.text else None)
        yield found
        assert found.wrong == [], "no error and nothing that the policy had to stop"


def comes(page, condition):
    """Wait for a condition on the page; Playwright's own waiting evaluates strings there, which the policy forbids."""
    until(lambda: page.evaluate(f"Boolean({condition})"), PATIENCE / 1000)


def drawn(page, selector="#image"):
    """Wait for a frame, and return the pixels of a picture."""
    comes(page, f"document.querySelector('{selector} .pixels')?.width > 1 && document.querySelector('#image').dataset.frames")
    return pixels(page, selector)


def pixels(page, selector="#image"):
    return page.evaluate(
        "s => { const c = document.querySelector(s + ' .pixels'); "
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((_, i) => i % 4 < 3)]; }",
        selector,
    )


def frames(page):
    return int(page.evaluate("document.querySelector('#image').dataset.frames || 0"))


def test_a_slider_turns_the_lens_by_keyboard_and_the_link_keeps_it(page, served):
    page.goto(f"{served.url}/#noise=false&size=64")
    first, before = drawn(page), frames(page)
    page.focus("#theta_E")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    comes(page, f"Number(document.querySelector('#image').dataset.frames) > {before}")
    assert page.input_value("#theta_E-number") == "1.25"
    comes(page, "location.hash.includes('theta_E=1.25')")
    page.wait_for_timeout(300)
    assert pixels(page) != first
    link, turned = page.url, pixels(page)
    page.goto("about:blank")
    page.goto(link)
    drawn(page)
    page.wait_for_timeout(500)
    assert page.input_value("#theta_E") == "1.25"
    assert pixels(page) == turned, "the link is the lens"


def test_a_link_that_asks_for_what_is_not_there_says_so_and_shows_a_lens(page, served):
    page.goto(f"{served.url}/#theta_E=99&e1=abc&gamma=2.1&substructure=strings&size=64&model=oracle")
    drawn(page)
    assert "theta_E 99, e1 abc, substructure strings, ..." in page.inner_text("#notices")
    assert page.input_value("#theta_E") == "1.2"
    assert page.input_value("#gamma") == "2.1"
    assert page.input_value("#substructure") == "none"


def test_substructure_shows_its_own_sliders_and_its_trace(page, served):
    page.goto(f"{served.url}/#noise=false&size=64")
    drawn(page)
    assert not page.is_visible("#log10_mass")
    assert len(set(pixels(page, "#difference"))) <= 3, "nothing there, nothing seen"
    page.select_option("#substructure", "vortex")
    assert page.is_visible("#half_length")
    assert not page.is_visible("#f_sub")
    comes(page, "document.querySelector('#state').textContent.includes('substructure')")
    assert len(set(pixels(page, "#difference"))) > 10


def test_a_clump_is_moved_by_the_pointer(page, served):
    page.goto(f"{served.url}/#substructure=clump&size=64")
    drawn(page)
    box = page.locator("#image .screen").bounding_box()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.up()
    half = 0.5 * 64 * 0.04
    assert float(page.input_value("#x_sub")) == pytest.approx(-0.5 * half, abs=0.05)
    assert float(page.input_value("#y_sub")) == pytest.approx(0.5 * half, abs=0.05)


def test_a_network_says_what_it_sees_and_files_can_be_kept(page, served):
    page.goto(f"{served.url}/#size=48")
    page.wait_for_selector("#answer .bars li.likely")
    assert page.locator("#answer .bars li").count() == 3
    for format, suffix in (("fits", ".fits"), ("png", ".png"), ("python", ".py")):
        with page.expect_download() as download:
            page.click(f"[data-format={format}]")
        assert download.value.suggested_filename.endswith(suffix)


def test_a_server_that_comes_back_is_found_again(page, served):
    page.goto(f"{served.url}/#size=48&noise=false")
    drawn(page)
    served.stop()
    page.wait_for_selector("#lamp.off")
    assert "away" in page.inner_text("#state")
    page.focus("#theta_E")
    page.keyboard.press("ArrowRight")  # what is wished meanwhile is not lost
    before = frames(page)
    served.start()
    page.wait_for_selector("#lamp.on")
    comes(page, f"Number(document.querySelector('#image').dataset.frames) > {before}")


def test_files_are_dropped_good_and_bad(page, served, tmp_path, lenses):
    np.save(tmp_path / "good.npy", lenses[0])
    (tmp_path / "bad.fits").write_bytes(b"junk")
    page.goto(f"{served.url}/predict")
    page.set_input_files("#files", [tmp_path / "good.npy", tmp_path / "bad.fits"])
    page.wait_for_selector(".one.refused")
    assert "bad.fits is of no format that is read here" in page.inner_text(".one.refused")
    page.wait_for_selector(".one .bars")
    assert "good.npy" in page.inner_text(".answers")
    with page.expect_download() as download:
        page.click("#csv")
    assert download.value.path().read_text().startswith("id,source,predicted,no,sphere,vort")
    transfer = page.evaluate_handle(
        "() => { const t = new DataTransfer(); t.items.add(new File(['nonsense'], 'dropped.png')); return t; }"
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    comes(page, "document.querySelector('.answers').textContent.includes('dropped.png is of no format')")


def test_answers_stand_in_the_order_of_the_files_and_each_bad_one_has_its_sentence(page, served, tmp_path, lenses):
    files = [tmp_path / name for name in ("a.npy", "b.npy", "c.npy")]
    for path, image in zip(files, lenses, strict=True):
        np.save(path, image)
    page.goto(f"{served.url}/predict")
    page.set_input_files("#files", files)
    page.wait_for_selector(".one .bars >> nth=2")
    assert page.locator(".one h3").all_inner_texts() == ["a.npy", "b.npy", "c.npy"]
    page.click("#clear")
    bad = [tmp_path / "small.npy", tmp_path / "words.txt"]
    np.save(bad[0], lenses[0, 0, :5, :5])
    bad[1].write_text("words")
    page.set_input_files("#files", bad)
    page.wait_for_selector(".one.refused >> nth=1")
    sentences = page.locator(".one.refused p").all_inner_texts()
    assert [sentence.split(" is ")[0] for sentence in sentences] == ["small.npy", "words.txt"]


def test_a_folder_is_dropped(page, served, tmp_path, lenses):
    for k, name in enumerate(("no", "vort")):
        (tmp_path / "lenses" / name).mkdir(parents=True)
        np.save(tmp_path / "lenses" / name / "lens.npy", lenses[2 * k])
    page.goto(f"{served.url}/predict")
    box = page.locator("#drop").bounding_box()
    dropped = {"items": [], "files": [str(tmp_path / "lenses")], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        where = {"x": box["x"] + 20, "y": box["y"] + 20}
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": dropped})
    page.wait_for_selector(".one .bars >> nth=1")
    assert page.locator(".one h3").all_inner_texts() == ["lens.npy", "lens.npy (2)"], "and they can be told apart"


def test_where_a_network_looks_is_asked_for_by_keyboard(page, served, tmp_path, lenses):
    np.save(tmp_path / "lens.npy", lenses[2])
    page.goto(f"{served.url}/predict")
    page.set_input_files("#files", tmp_path / "lens.npy")
    page.wait_for_selector(".one .bars")
    assert page.locator(".maps .picture").count() == 3, "image, smooth lens, residual: what takes longer waits to be asked for"
    page.focus(".why button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".maps .picture >> nth=3")
    title = page.locator(".maps h2").nth(3)
    assert title.inner_text() == f"Speaks for {page.inner_text('.called')}"
    first = glow(page, ".maps .picture:nth-child(4)")
    assert first, "something lies over the image"
    page.select_option("[aria-label='Class that is explained']", "no")
    comes(page, "document.querySelector('.maps .picture:nth-child(4) h2').textContent === 'Speaks for no'")
    assert glow(page, ".maps .picture:nth-child(4)") != first, "another class, another map"
    page.select_option("[aria-label=Method]", "attention-rollout")
    comes(page, "document.querySelector('.why').textContent.includes('ArcNet has no attention')")


def test_the_laboratory_shows_where_a_network_looks_and_takes_it_away(page, served):
    page.goto(f"{served.url}/#substructure=vortex&log10_mass=10&size=48")
    page.wait_for_selector("#answer .bars")
    page.uncheck("#curves")
    page.select_option("#substructure", "none")  # and no mark of a vortex
    comes(page, "document.querySelector('#state').textContent.includes('σ') === false")
    assert glow(page, "#image") == 0
    page.check("#explain")
    page.wait_for_selector("#where .picture", state="visible")
    assert page.inner_text("#where h2").startswith("Speaks for ")
    until(lambda: glow(page, "#image"), PATIENCE / 1000)
    page.uncheck("#explain")
    assert glow(page, "#image") == 0
    assert not page.is_visible("#where")


def test_the_residual_follows_the_sliders_before_they_rest(page, served):
    page.goto(f"{served.url}/#substructure=vortex&log10_mass=10&size=48")
    page.wait_for_selector("#answer .bars")
    page.evaluate("""() => {
        let answers = 0;
        let i = 0;
        const slider = document.querySelector("#theta_E");
        new MutationObserver(() => { answers += 1; }).observe(document.querySelector("#answer"), { childList: true });
        const turn = () => {
            slider.value = 1 + 0.3 * Math.abs(Math.sin((i += 1) / 40));
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            if (answers < 2) setTimeout(turn, 30);
            else window.rested = true;
        };
        turn();
    }""")
    comes(page, "window.rested")
    assert "reduced χ²" in page.inner_text("#answer")


def glow(page, selector):
    """Sum up what lies over a picture."""
    return page.evaluate(
        "s => { const c = document.querySelector(s + ' .lines'); if (!c.width) return 0; "
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((a, b) => a + b, 0); }",
        selector,
    )


def test_the_game_is_played_by_keyboard(page, served):
    page.goto(f"{served.url}/guess")
    page.wait_for_selector(".choice")
    page.keyboard.press("h")
    page.wait_for_selector("#residual .pixels", state="visible")
    page.keyboard.press("2")
    page.wait_for_selector("#next:not([hidden])")
    assert page.inner_text("#rounds") == "1 image"
    assert page.locator(".choice.right").count() == 1
    page.keyboard.press("n")
    page.wait_for_selector(".choice:not([disabled])")
    page.reload()
    page.wait_for_selector(".choice")
    assert page.inner_text("#rounds") == "1 image", "the score is kept"


def test_the_interface_is_drawn_and_every_page_has_one_heading(page, served):
    for path in ("/", "/guess", "/predict", "/interface"):
        page.goto(served.url + path)
        assert page.locator("h1").count() == 1
        assert page.locator("nav [aria-current=page]").count() == 1
    page.wait_for_selector(".operation")
    assert page.locator(".operation .path").all_inner_texts().count("/api/predict") == 1


@pytest.mark.parametrize("path", ["/", "/guess", "/predict", "/interface"])
def test_nothing_is_cut_off_on_a_telephone(page, served, path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(served.url + path)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    links = [page.locator("nav a").nth(k).bounding_box() for k in range(page.locator("nav a").count())]
    assert all(link["x"] >= 0 and link["x"] + link["width"] <= 390 for link in links), "every page can be reached"


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_controls_have_names(page, served, path):
    page.goto(served.url + path)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(e => !e.labels?.length && "
        "!e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.id)"
    )
    assert unnamed == []


def test_a_visitor_logs_in_with_the_token(page):
    guarded = Served(token="correct horse battery")
    try:
        page.goto(f"{guarded.url}/predict#theta_E=2")
        assert page.url.endswith("/login?to=%2Fpredict#theta_E=2")
        for token in ("not the one at all", "correct horse battery"):
            assert page.locator("h1").count() == 1, "a page, also after a wrong token"
            page.fill("input[name=token]", token)
            page.keyboard.press("Enter")
            page.wait_for_load_state()
            page.wait_for_selector(".wrong" if token.startswith("not") else "#drop")
        assert page.url == f"{guarded.url}/predict#theta_E=2", "the page that was asked for"
    finally:
        guarded.stop()


def test_colours_can_be_chosen(page, served):
    page.goto(f"{served.url}/interface")
    shades = []
    for choice in ("light", "dark"):
        page.click("#theme")
        comes(page, f"document.documentElement.dataset.theme === '{choice}'")
        shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(shades)) == 2
