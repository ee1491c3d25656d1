"""The page in a real browser: what it shows, and each control."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import browsing
import numpy as np
import pytest
import requests
from PIL import Image

from dvsprep import cache
from dvsprep.show.paint import paint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip(
    "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
).expect


@pytest.fixture
def page(browser: Browser, served: str, id20: str) -> Iterator[Page]:
    with browsing.visit(browser, served, f"/#cache={id20}") as page:
        yield page


@pytest.fixture
def player(browser: Browser, served: str, id20: str) -> Iterator[Page]:
    """Yield the page with sample 3 of 72 in the player, at rest on its first frame."""
    with browsing.visit(browser, served, f"/#cache={id20}&sample=3", reduced_motion="reduce") as page:
        page.wait_for_selector("#player[data-ready]")
        yield page


def frame(page: Page) -> int:
    return int(page.input_value("#p-scrub"))


def test_caches_stand_below_their_datasets_with_counts_and_sizes(page: Page, served: str, id20: str) -> None:
    told = requests.get(f"{served}/v1/caches", timeout=30).json()["caches"]
    assert page.locator("#caches a").count() == len(told)
    assert page.locator("#caches h3").count() == len({facts["dataset"] for facts in told})
    current = page.locator("#caches a[aria-current=page]")
    assert current.get_attribute("data-id") == id20
    assert "number T=20 · train" in current.inner_text()
    assert "72 samples" in current.inner_text()
    assert "11 classes · 128 × 128" in page.inner_text("#summary")
    page.click('#caches a[data-id="wide"]')
    expect(page.locator("#count")).to_have_text("2 samples")
    page.go_back()
    expect(page.locator("#count")).to_have_text("72 samples")


HELD = """async () => {
  const { Cache } = await import("./cache.js"), open = Cache.open;
  Cache.open = (id) => new Promise((done) => {
    window.go = async () => {
      done(await open.call(Cache, id));
      await new Promise(requestAnimationFrame);
    };
  });
}"""


def test_who_goes_back_before_a_cache_has_come_is_not_shown_it(page: Page) -> None:
    page.evaluate(HELD)
    page.click('#caches a[data-id="wide"]')
    page.wait_for_function("!!window.go")  # a function would be called
    page.go_back()
    page.evaluate("go()")
    assert page.inner_text("#count") == "72 samples"
    assert page.inner_text("#title") == "sample number T=20"
    page.click('#caches a[data-id="wide"]')  # which has come meanwhile
    expect(page.locator("#count")).to_have_text("2 samples")


def test_classes_and_words_filter(page: Page, two: dict[int, cache.FrameCache]) -> None:
    labels, classes = two[20].labels, two[20].classes
    bar = page.locator("#classes button").nth(7)
    assert f"{np.count_nonzero(labels == 7)}" in bar.inner_text()
    bar.click()
    assert bar.get_attribute("aria-pressed") == "true"
    assert page.inner_text("#count") == f"{np.count_nonzero(labels == 7)} of 72 samples"
    assert set(page.locator(".cell span").all_inner_texts()) == {classes[7]}
    page.locator("#classes button").nth(0).click()
    assert page.inner_text("#count") == f"{np.isin(labels, [0, 7]).sum()} of 72 samples"
    page.click("#clear")
    assert page.inner_text("#count") == "72 samples"
    page.fill("#search", str(two[20].ids[5]).upper())
    assert page.locator(".cell").first.get_attribute("aria-label").startswith("sample 5,")
    page.fill("#search", "no such thing")
    assert page.inner_text("#count") == "0 of 72 samples"
    assert page.locator(".cell").count() == 0


def test_thumbnails_are_the_sum_of_the_frames_and_play_below_the_pointer(
    page: Page, two: dict[int, cache.FrameCache]
) -> None:
    cell = page.locator(".cell").nth(2)
    page.wait_for_selector('.cell[data-state="drawn"] >> nth=2')
    frames, _ = two[20][2]
    still = paint(frames.sum(axis=0, keepdims=True, dtype=np.int64))[0]
    np.testing.assert_array_equal(browsing.pixels(page, ".cell:nth-child(3) canvas"), still)
    cell.hover()
    page.wait_for_selector(".cell:nth-child(3)[data-frame='2']")
    moving = paint(frames)
    shown = browsing.pixels(page, ".cell:nth-child(3) canvas")
    assert any(np.array_equal(shown, image) for image in moving)
    page.mouse.move(600, 20)
    page.wait_for_selector(".cell:nth-child(3):not([data-frame])")
    np.testing.assert_array_equal(browsing.pixels(page, ".cell:nth-child(3) canvas"), still)


def test_the_player_plays_pauses_steps_and_loops(player: Page) -> None:
    assert frame(player) == 0
    player.click("#p-next")
    player.click("#p-next")
    player.click("#p-back")
    assert frame(player) == 1
    player.click("#p-last")
    assert player.inner_text("#p-told").startswith("frame 20 of 20")
    player.click("#p-next")  # round to the first one
    assert frame(player) == 0
    player.click("#p-last")
    player.uncheck("#p-loop")
    player.fill("#p-speed", "60")
    assert player.inner_text("#p-speed-told") == "60 frames/s"
    player.click("#p-play")  # from the last frame it begins anew, and ends there without a loop
    assert player.inner_text("#p-play") == "Pause"
    expect(player.locator("#p-play")).to_have_text("Play")
    assert frame(player) == 19
    player.check("#p-loop")
    player.click("#p-play")
    expect(player.locator("#p-scrub")).to_have_value(re.compile("^[3-9]$"))
    player.click("#p-play")
    held = frame(player)
    player.wait_for_timeout(100)
    assert frame(player) == held
    player.click("#p-first")
    assert frame(player) == 0


def test_the_player_shows_the_colours_of_every_other_window(player: Page, two: dict[int, cache.FrameCache]) -> None:
    frames, _ = two[20][3]
    for palette in ("classic", "gray", "colorblind"):
        player.select_option("#p-palette", palette)
        for k in (0, 11):
            player.fill("#p-scrub", str(k))
            np.testing.assert_array_equal(browsing.pixels(player, "#p-stage canvas"), paint(frames, palette=palette)[k])
    full = paint(frames)
    player.uncheck("#p-off")
    only = browsing.pixels(player, "#p-stage canvas")
    np.testing.assert_array_equal(only[frames[11, 0] == 0], full[11][frames[11, 0] == 0])
    assert (only[(frames[11, 1] == 0)] == only[0, 0]).all()
    player.uncheck("#p-on")
    assert len(np.unique(browsing.pixels(player, "#p-stage canvas").reshape(-1, 3), axis=0)) == 1


def test_the_line_of_events_scrubs(player: Page, two: dict[int, cache.FrameCache]) -> None:
    box = player.locator("#p-plot .u-over").bounding_box()
    middle = box["y"] + box["height"] / 2
    player.mouse.move(box["x"] + box["width"] * 10 / 19, middle)
    player.mouse.down()
    assert frame(player) == 10
    player.mouse.move(box["x"] + box["width"] * 15 / 19, middle)
    player.mouse.up()
    assert frame(player) == 15
    off, on = two[20][3][0][15].sum(axis=(1, 2))
    assert player.inner_text("#p-told") == f"frame 16 of 20 · {off:,} OFF, {on:,} ON"
    assert player.get_attribute("#p-scrub", "aria-valuetext") == f"frame 16 of 20: {off:,} OFF, {on:,} ON"


def test_zoom(player: Page) -> None:
    def width() -> float:
        return player.locator("#p-stage canvas").bounding_box()["width"]

    fit = width()
    player.click("#p-in")
    larger = width()
    assert larger > fit
    assert (larger - 2) % 128 in (0, 126)  # whole pixels, and a border
    player.click("#p-out")
    player.click("#p-out")
    assert width() < larger
    player.click("#p-fit")
    assert width() == fit


def test_the_keyboard_does_it_all(page: Page) -> None:
    page.wait_for_selector(".cell")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus(".cell[tabindex='0']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    columns = page.evaluate("document.activeElement.at")
    assert columns >= 4
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.at") == 71
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector("#player[data-ready]")
    expect(page.locator("#p-play")).to_have_text("Pause")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#p-play")).to_have_text("Play")
    at = frame(page)
    page.keyboard.press("ArrowLeft")
    assert frame(page) == (at - 1) % 20
    page.keyboard.press("End")
    assert frame(page) == 19
    page.keyboard.press("f")
    assert not page.is_checked("#p-off")
    page.keyboard.press("n")
    assert not page.is_checked("#p-on")
    page.keyboard.press("l")
    assert not page.is_checked("#p-loop")
    page.keyboard.press("+")
    assert page.get_attribute("#player", "data-zoom") != "fit"
    page.keyboard.press("0")
    assert page.get_attribute("#player", "data-zoom") == "fit"
    page.keyboard.press("PageDown")
    expect(page.locator("#p-title")).to_contain_text("#1")
    page.keyboard.press("Escape")
    page.wait_for_selector("#player", state="hidden")
    assert page.evaluate("document.activeElement.i") == 1
    assert "sample" not in page.url.partition("#")[2].replace("sample.", "")


def test_facts_and_provenance(player: Page, two: dict[int, cache.FrameCache]) -> None:
    told = player.inner_text("#p-facts")
    source = two[20]
    for fact in (
        source.ids[3],
        f"{source.small('n_events')[3]:,}",
        source.key,
        "DvsGesture.tar.gz",
        "MD5 4896dfd3",
        '"T":20',
    ):
        assert str(fact) in told
    player.click("#p-following")
    expect(player.locator("#p-facts")).to_contain_text(str(source.ids[4]))
    player.wait_for_selector("#player[data-ready$=' 4']")
    player.click("#p-previous")
    player.wait_for_selector("#player[data-ready$=' 3']")


def test_two_specs_of_a_recording_side_by_side(player: Page, two: dict[int, cache.FrameCache]) -> None:
    id4 = f"sample.{two[4].path.stem}"
    assert id4 in player.locator("#p-beside option").all_inner_texts()
    player.select_option("#p-beside", id4)
    expect(player.locator("#p-stage canvas")).to_have_count(2)
    player.fill("#p-scrub", "12")
    np.testing.assert_array_equal(browsing.pixels(player, "figure:nth-child(1) canvas"), paint(two[20][3][0])[12])
    np.testing.assert_array_equal(browsing.pixels(player, "figure:nth-child(2) canvas"), paint(two[4][3][0])[2])
    player.click("#p-following")  # it stays beside the next one
    player.wait_for_selector("#player[data-ready$=' 4']")
    expect(player.locator("#p-stage canvas")).to_have_count(2)
    player.select_option("#p-beside", "")
    expect(player.locator("#p-stage canvas")).to_have_count(1)


def test_a_gif_has_exactly_the_colours_shown(player: Page, two: dict[int, cache.FrameCache]) -> None:
    player.fill("#p-speed", "20")
    with player.expect_download() as download:
        player.click("#p-gif")
    assert download.value.suggested_filename.endswith("-3.gif")
    expected = paint(two[20][3][0])
    with Image.open(io.BytesIO(Path(download.value.path()).read_bytes())) as image:
        assert image.n_frames == 20
        for k in range(20):
            image.seek(k)
            assert image.info["duration"] == 50
            np.testing.assert_array_equal(np.array(image.convert("RGB")), expected[k])
