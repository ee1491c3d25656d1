"""The page and its service: every kind of cache, builds, token, errors; any size of screen and set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import browsing
import making
import naive
import numpy as np
import pytest
import serving

from dvsprep import cache
from dvsprep.show.paint import paint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip(
    "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
).expect

TOKEN = "correct-horse-battery-staple"


def test_every_kind_of_cache_is_shown_as_it_is(browser: Browser, served: str, home: Path) -> None:
    events = next((home / "sample" / "events").glob("*.train.h5"))
    varying = next((home / "made" / "frames").glob("*.h5"))
    kept, _ = cache.open_cache(events)[1]
    expected = {
        f"sample.{events.stem}": naive.frames(kept, naive.by_number(kept["t"], 20), 128, 128),
        f"made.{varying.stem}": cache.open_cache(varying)[1][0],
        "wide": cache.open_cache(home / "wide.h5")[1][0],
    }
    with browsing.visit(browser, served, "/", reduced_motion="reduce") as page:
        for id, frames in expected.items():
            page.goto(f"{served}/#cache={id}&sample=1")
            page.wait_for_selector(f"#player[data-ready='{id} 1']")
            last = len(frames) - 1
            page.fill("#p-scrub", str(last))
            np.testing.assert_array_equal(browsing.pixels(page, "#p-stage canvas"), paint(frames)[last])


def test_statistics_are_drawn(browser: Browser, served: str, id20: str, two: dict[int, cache.FrameCache]) -> None:
    with browsing.visit(browser, served, f"/#cache={id20}") as page:
        page.click("#statistics summary")
        for name in ("events", "seconds", "rate"):
            assert "72 samples" in page.locator(f"#s-{name}").get_attribute("aria-label")
            drawn = browsing.pixels(page, f"#s-{name} canvas")
            assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 2
        found = page.evaluate(
            """async (values) => (await import("./plots.js")).histogram(values, 7)""",
            two[20].small("n_events").tolist(),
        )
        counts, edges = np.histogram(two[20].small("n_events"), 7)
        assert found["counts"] == counts.tolist()
        np.testing.assert_allclose(found["edges"], edges)


def test_lines_that_open_the_cache_are_copied(browser: Browser, served: str, id20: str) -> None:
    may = ["clipboard-read", "clipboard-write"]
    with browsing.visit(browser, served, f"/#cache={id20}", permissions=may) as page:
        page.click("#open summary")
        url = f"{served}/v1/caches/{id20}"
        lines = {
            "Python": f'source = dvsprep.open("{url}")',
            "Train": f"python -m train.dvsg --cache {url}",
            "Fetch": f"dvsprep pull {url}",
            "Rebuild": "dvsprep frames sample --split-by number -T 20",
        }
        for name, line in lines.items():
            page.click(f"text=Copy {name}")
            expect(page.locator("#copied")).to_have_text(f"{name} line copied")
            assert page.evaluate("navigator.clipboard.readText()") == line


def test_a_service_without_builds_says_so(browser: Browser, served: str) -> None:
    with browsing.visit(browser, served) as page:
        assert "builds nothing" in page.inner_text("#b-none")
        assert not page.is_visible("#b-form")


def test_a_build_is_asked_for_watched_and_cancelled(browser: Browser, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "sample", tmp_path / "sample")
    with serving.running(tmp_path, rate=0) as base, browsing.visit(browser, base, quiet=False) as page:
        page.fill("[name=dataset]", "no such set")
        page.click("#b-form button")
        expect(page.locator("#b-told")).to_contain_text("no such set")
        page.fill("[name=dataset]", "sample")
        page.select_option("#b-by", "duration")
        assert page.is_disabled("#b-T")
        page.select_option("#b-by", "time")
        body = "async (form) => (await import('./builds.js')).bodyOf(form)"
        form = {"dataset": " cifar10dvs ", "by": "number", "T": "8", "duration": "1", "seed": "3"}
        asked = {"dataset": "cifar10dvs", "spec": {"split_by": "number", "T": 8}, "seed": 3}
        for split, told in (("", {}), ("0.9", {"split": 0.9}), (" official ", {"split": "official"})):
            assert page.evaluate(body, form | {"split": split}) == asked | told
        page.fill("[name=split]", "no such split")
        page.click("#b-form button")
        expect(page.locator("#b-told")).to_contain_text("the name of a published split")
        page.fill("[name=split]", "")
        for T in (3, 5):
            page.fill("#b-T", str(T))
            page.click("#b-form button")
            expect(page.locator("#b-list li")).to_have_count(1 if T == 3 else 2)
        page.locator("#b-list li").nth(0).get_by_role("button").click()
        expect(page.locator("#b-list li").nth(0)).to_contain_text("cancelled", timeout=60_000)
        expect(page.locator("#b-list li").nth(1)).to_contain_text("sample time 3: done", timeout=60_000)
        expect(page.locator("#caches a", has_text="time T=3 · train")).to_have_count(1)
        page.reload()
        expect(page.locator("#b-list li")).to_have_count(2)


def test_a_function_is_offered_where_one_is_allowed(browser: Browser, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "sample", tmp_path / "root" / "sample")
    name = making.plugin(tmp_path, "return np.ones((params['T'], 2, H, W), np.uint8)", "all_is_one_whatever_happened")
    shown = Path(name).name
    options = "[...document.querySelectorAll('#b-by option, #b-plugin option')].map((o) => o.textContent)"
    with serving.running(tmp_path / "root", rate=0) as base, browsing.visit(browser, base) as page:
        assert page.evaluate(options) == ["number", "time", "duration"]
        assert not page.is_visible("#b-plugin")
    with (
        serving.running(tmp_path / "root", rate=0, plugins=(name, "lab:voxels")) as base,
        browsing.visit(browser, base) as page,
    ):
        assert page.evaluate(options) == ["number", "time", "duration", "function", shown, "lab:voxels"]
        assert not page.is_visible("#b-plugin")
        page.fill("[name=dataset]", "sample")
        page.select_option("#b-by", "plugin")
        assert page.is_disabled("#b-T")
        assert page.is_disabled("#b-duration")
        page.select_option("#b-plugin", name)
        page.fill("#b-params", "T")
        page.click("#b-form button")
        expect(page.locator("#b-told")).to_have_text("T: expected NAME=VALUE, for example T=8")
        page.fill("#b-params", " T=2  how=any ")
        page.click("#b-form button")
        line = f'{shown} T=2 how="any"'
        expect(page.locator("#b-list li")).to_contain_text(f"sample {line}: done", timeout=60_000)
        expect(page.locator("#caches a", has_text=f"{line} · train")).to_have_count(1)
        assert page.evaluate("side.scrollWidth <= side.clientWidth")  # such a long name is wrapped
        assert nameless(page)[1] == []
        page.select_option("#b-by", "number")
        assert not page.is_visible("#b-params")


def test_the_token_is_asked_for_once(browser: Browser, root: Path, frames_id: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with (
        serving.running(root, token_file=str(tmp_path / "token"), build=False) as base,
        # Chromium writes each 401 to its console.
        browsing.visit(browser, base, f"/#cache={frames_id}", ready="#token[open]", quiet=False) as page,
    ):
        page.fill("#t-value", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#t-value")).to_have_value("")  # and asked again
        page.fill("#t-value", TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_have_text("72 samples")
        page.wait_for_selector(".cell[data-state=drawn]")
        for link, words in (("Interface", '"openapi": "3'), ("Metrics", "dvsprep_requests_answered_total")):
            page.click(f"text={link}")  # a dialog, as following the link would have the browser ask for a password
            expect(page.locator("#text pre")).to_contain_text(words)
            page.click("#x-close")
        page.reload()
        expect(page.locator("#count")).to_have_text("72 samples")
        assert not page.is_visible("#token")
        assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("target", ["/#cache=nobody", "/#cache={id}&sample=72", "/#cache={id}&sample=x"])
def test_what_is_not_there_is_told(browser: Browser, served: str, id20: str, target: str) -> None:
    with browsing.visit(browser, served, target.format(id=id20), quiet=False) as page:
        expect(page.locator("#told")).to_contain_text("no ")
        assert not page.is_visible("#player")


def test_a_cache_that_is_replaced_is_told_and_never_mixed(
    browser: Browser, two: dict[int, cache.FrameCache], tmp_path: Path
) -> None:
    shutil.copy(two[4].path, tmp_path / "one.h5")
    with serving.running(tmp_path, rate=0, build=False) as base, browsing.visit(browser, base) as page:
        page.wait_for_selector(".cell[data-state=drawn]")
        shutil.copy(two[20].path, tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "one.h5")
        page.goto(f"{base}/#cache=one&sample=71")
        expect(page.locator("#p-told")).to_contain_text("was replaced by another cache")


STUB = """async (count) => {
  const { Grid } = await import("./grid.js");
  const box = document.getElementById("grid");
  const facts = { sensor: [8, 8], version: "v" }, labels = new Float64Array(count);
  const cache = { id: "stub", facts, labels, n_events: labels, length: count, className: () => "one",
    clip: async () => ({ T: 1, planes: 2, H: 8, W: 8, data: new Uint8Array(128).fill(1) }) };
  const fresh = box.cloneNode(false);
  box.replaceWith(fresh);
  const grid = new Grid(fresh, () => {});
  grid.show(cache, Array.from(labels, (_, i) => i));
  let most = 0;
  const work = [], stamps = [];
  for (let k = 0; k <= 100; k++) {
    fresh.scrollTop = (k / 100) * fresh.scrollHeight;
    const begun = performance.now();
    grid.render();
    work.push(performance.now() - begun);
    most = Math.max(most, grid.cells.size);
    stamps.push(await new Promise(requestAnimationFrame));
  }
  const last = Math.max(...grid.cells.keys());
  grid.focus(0);
  const first = document.activeElement.at;
  grid.focus(Infinity);
  const shown = document.activeElement.getBoundingClientRect(), view = fresh.getBoundingClientRect();
  const between = stamps.slice(1).map((stamp, k) => stamp - stamps[k]);
  return { most, work, between, last, first, end: document.activeElement.at,
    seen: shown.top >= view.top - 1 && shown.bottom <= view.bottom + 1 };
}"""


@pytest.mark.parametrize("count", [100_000, 3_000_000])
def test_any_number_of_samples_scrolls(browser: Browser, served: str, count: int) -> None:
    with browsing.visit(browser, served) as page:
        told = page.evaluate(STUB, count)
    assert told["most"] < 80  # elements, of so many samples
    rate, work = 1000 / np.median(told["between"]), np.median(told["work"])
    print(f"{count:,} samples: {rate:.1f} frames/s, {work:.2f} ms of work a frame (medians of 100)")
    assert work < 1000 / 60  # all of a page elsewhere in each frame, and there is time for it
    assert (told["last"], told["first"], told["end"], told["seen"]) == (count - 1, 0, count - 1, True)


def test_thumbnails_of_large_sensors_are_small(browser: Browser, served: str) -> None:
    clip = np.random.default_rng(1).integers(0, 5, (2, 2, 7, 11))
    with browsing.visit(browser, served) as page:
        told = page.evaluate(
            """async ([data, most]) => {
              const { shrunk } = await import("./paint.js");
              const { H, W, data: out } = shrunk({ T: 2, planes: 2, H: 7, W: 11, data }, most);
              return [H, W, Array.from(out)];
            }""",
            [clip.ravel().tolist(), 4],
        )
    padded = np.pad(clip, ((0, 0), (0, 0), (0, 2), (0, 1)))  # whole blocks of 3 x 3
    assert told == [3, 4, padded.reshape(2, 2, 3, 3, 4, 3).sum(axis=(3, 5)).ravel().tolist()]


CONTROLS = {
    "button", "link", "checkbox", "slider", "combobox", "textbox", "searchbox", "spinbutton", "option", "listbox",
    "dialog", "image", "img", "progressbar", "radio", "switch", "navigation", "group", "DisclosureTriangle",
}  # fmt: skip


def nameless(page: Page) -> tuple[set[str], list[str]]:
    """Return the roles that Chromium tells a screen reader of, and the controls among them that have no name."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    told = [node for node in nodes if not node["ignored"]]
    roles = {node["role"]["value"] for node in told}
    without = [
        f"{node['role']['value']} {node.get('properties')}" for node in told
        if node["role"]["value"] in CONTROLS - {"group"} and not node.get("name", {}).get("value", "").strip()
    ]  # fmt: skip
    return roles, without


def test_every_control_has_a_name_for_a_screen_reader(browser: Browser, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "sample", tmp_path / "sample")
    with serving.running(tmp_path, rate=0) as base, browsing.visit(browser, base) as page:
        page.wait_for_selector(".cell[data-state=drawn]")
        for summary in ("#open", "#statistics"):
            page.click(f"{summary} > summary")
        roles, without = nameless(page)
        assert without == []
        assert {"button", "link", "combobox", "searchbox", "spinbutton", "textbox", "option", "listbox"} <= roles
        page.locator(".cell").first.click()
        page.wait_for_selector("#player[data-ready]")
        roles, without = nameless(page)
        assert without == []
        assert {"dialog", "slider", "checkbox", "combobox", "button"} <= roles


NAMELESS = """() => [...document.querySelectorAll("button, input, select, a, [role=img], dialog")].filter((e) =>
  !(e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length
    || e.hidden)).map((e) => e.outerHTML)"""


@pytest.mark.parametrize("look", [
    {"viewport": {"width": 1280, "height": 800}},
    {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
], ids=["light", "dark", "narrow"])  # fmt: skip
def test_looks(browser: Browser, served: str, id20: str, look: dict, request: pytest.FixtureRequest) -> None:
    narrow = look["viewport"]["width"] < 700
    with browsing.visit(browser, served, f"/#cache={id20}", **look) as page:
        page.wait_for_selector(".cell[data-state=drawn]")
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
        assert page.is_visible("#caches") != narrow
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, back[4:-1].split(","))) < 150) == (look.get("color_scheme") == "dark")
        page.locator(".cell").first.click()
        page.wait_for_selector("#player[data-ready]")
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("player.scrollWidth <= player.clientWidth")
        assert page.locator("#p-stage canvas").bounding_box()["width"] > (250 if narrow else 300)
