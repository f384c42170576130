"""BrowserRace: right results, cancelling, a page that stays free, and every way a GPU can fail."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import traitlets
from playwright.sync_api import Browser, Page

from browser.stage import HEIGHTS, Stage, check_redraws, sentence, state
from fastattn_lite.figures import BrowserRace
from fastattn_lite.figures.base import DIST
from fastattn_lite.figures.words import catalogue
from tools.browser import executable

pytestmark = pytest.mark.browser

WORDS = catalogue()["BrowserRace"]
WEBGPU = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
"""A GPU in software, which every machine has."""
SMALL: dict[str, Any] = {"dim": 9, "order": 2, "most_tokens": 512, "budget": 8.0}
LONG: dict[str, Any] = {"dim": 64, "order": 3, "most_tokens": 65536, "budget": 8.0}
OVER = "() => !document.querySelector('.fastattn-race button').disabled"
TOKENS = [32, 64, 128, 256, 512]


@pytest.fixture(scope="module")
def gpu_browser(browser: Browser) -> Iterator[Browser]:
    started = browser.browser_type.launch(executable_path=executable(), args=WEBGPU)
    yield started
    started.close()


@pytest.fixture
def gpu(gpu_browser: Browser, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(gpu_browser, tmp_path)
    yield stage
    stage.close()
    assert stage.problems == []


def begin(page: Page) -> None:
    page.get_by_role("button", name=WORDS["start"]).press("Enter")


def race(page: Page) -> Any:
    """Run the race to its end and return its result."""
    begin(page)
    page.wait_for_function(OVER, timeout=120_000)
    return state(page, "result")


def said(page: Page) -> str:
    return page.locator(".fastattn-note").inner_text()


def synthetic(rates: tuple[float, float] = (2e9, 1e9), **settings: Any) -> BrowserRace:
    """Return a figure with a race whose times follow the counts exactly."""
    figure = BrowserRace(**settings)
    points = [
        [name, n, figure._flops(name, n) / rate]
        for n in (256, 512, 1024, 2048)
        for name, rate in zip(("direct", "fast"), rates, strict=True)
    ]
    settings = {"device": figure.device, "dim": figure.dim, "order": figure.order}
    figure.result = {**settings, "points": points}
    return figure


def test_the_race_measures_both_at_every_size(stage: Stage) -> None:
    page = stage.show(BrowserRace(**SMALL))
    result = race(page)
    assert (result["device"], result["dim"], result["order"]) == ("cpu", 9, 2)
    expected = [[name, n] for n in TOKENS for name in ("direct", "fast")]
    assert [point[:2] for point in result["points"]] == expected
    assert all(seconds > 0 for _, _, seconds in result["points"])
    assert said(page) == WORDS["finished"]
    assert page.locator("progress").get_attribute("value") == "1"
    assert sentence(page) == BrowserRace(**SMALL, result=result).summary()
    assert page.locator(".fastattn-point").count() >= len(expected)


@pytest.mark.parametrize(("dim", "order"), [(8, 1), (13, 3), (64, 2)])
def test_every_dimension_and_order_is_right_on_the_gpu(gpu: Stage, dim: int, order: int) -> None:
    """The race refuses to time a wrong result, so points are proof that the check has passed."""
    page = gpu.show(BrowserRace(dim=dim, order=order, most_tokens=256, budget=0.25, device="gpu"))
    result = race(page)
    assert result["device"] == "gpu", said(page)
    assert {name for name, _, _ in result["points"]} == {"direct", "fast"}
    assert said(page) == WORDS["finished"]


def in_worker(script: str) -> str:
    """Return a script of the page that puts another one in front of the worker's."""
    return f"""(() => {{
        const Plain = Blob;
        window.Blob = function (parts, options) {{
            return new Plain([{json.dumps(script)}, ...parts], options);
        }};
    }})();"""


BREAK = """(() => {
    const make = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function ({ code }) {
        return make.call(this, { code: code.replace(WRONG) });
    };
})();"""


@pytest.mark.parametrize(
    "wrong",
    [
        '"total * kept", "total"',
        '"m0 += phi", "m0 += 1.01 * phi"',
        '"sum += partial", "sum = partial"',
    ],
)
def test_a_wrong_gpu_is_noticed_before_it_is_timed(gpu: Stage, wrong: str) -> None:
    figure = BrowserRace(**{**SMALL, "dim": 8}, device="gpu")
    script = in_worker(BREAK.replace("WRONG", wrong))
    page = gpu.open(gpu.write(figure).as_uri(), script=script)
    result = race(page)
    assert result["device"] == "cpu"
    assert said(page).startswith(WORDS["problem_wrong"])
    assert len(result["points"]) == 2 * len(TOKENS)


DRIFT = """(() => {
    const exp = Math.exp;
    let calls = 0;
    Math.exp = (x) => exp(x) * (1 + 1e-4 * (calls += 1));
})();"""


def test_a_wrong_result_on_the_cpu_is_not_timed(stage: Stage) -> None:
    page = stage.open(stage.write(BrowserRace(**SMALL)).as_uri(), script=in_worker(DRIFT))
    begin(page)
    page.wait_for_function(
        "words => document.querySelector('fastattn-figure').innerText.includes(words)",
        arg=WORDS["problem_cpu_wrong"],
    )
    assert page.locator(".fastattn-point").count() == 0


NO_ROOM = """GPUDevice.prototype.popErrorScope = async () => new GPUOutOfMemoryError("no room");"""
NO_ADAPTER = "GPU.prototype.requestAdapter = async () => null;"
GONE = """(() => {
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...given) {
        self.device = await request.apply(this, given);
        WHEN
        return self.device;
    };
})();"""
GONE_AT_ONCE = GONE.replace("WHEN", "self.device.destroy();")
GONE_IN_MID_RACE = GONE.replace(
    "WHEN",
    """const post = self.postMessage;
        self.postMessage = (message) => {
            post.call(self, message);
            if (message.kind === "point") self.device.destroy();
        };""",
)
BROKEN = "GPUAdapter.prototype.requestDevice = async () => { throw new Error('broken'); };"


@pytest.mark.parametrize(
    ("script", "key"),
    [
        (NO_ROOM, "problem_memory"),
        (NO_ADAPTER, "problem_none"),
        (GONE_AT_ONCE, "problem_lost"),
        (GONE_IN_MID_RACE, "problem_lost"),
        (BROKEN, "problem_failed"),
    ],
)
def test_what_the_gpu_lacks_is_said_and_the_cpu_races(gpu: Stage, script: str, key: str) -> None:
    figure = BrowserRace(**SMALL, device="gpu")
    page = gpu.open(gpu.write(figure).as_uri(), script=in_worker(script))
    result = race(page)
    assert result["device"] == "cpu"
    assert [n for _, n, _ in result["points"]] == [n for n in TOKENS for _ in range(2)]
    assert said(page) == f"{WORDS[key]} {WORDS['finished']}"


def test_without_webgpu_a_sentence_and_the_cpu(stage: Stage) -> None:
    figure = BrowserRace(**SMALL, device="gpu")
    script = "Object.defineProperty(WorkerNavigator.prototype, 'gpu', { value: undefined });"
    page = stage.open(stage.write(figure).as_uri(), script=in_worker(script))
    assert race(page)["device"] == "cpu"
    assert said(page) == f"{WORDS['problem_none']} {WORDS['finished']}"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_cancel_in_mid_run(gpu: Stage, device: str) -> None:
    page = gpu.show(BrowserRace(**LONG, device=device))
    begin(page)
    page.wait_for_timeout(700)
    assert not page.evaluate(OVER)
    page.get_by_role("button", name=WORDS["cancel"]).press("Enter")
    assert page.evaluate(OVER)
    assert said(page) == WORDS["cancelled"]
    assert page.evaluate("document.activeElement.textContent") == WORDS["start"]
    before = state(page, "result")
    page.wait_for_timeout(400)
    assert state(page, "result") == before, "the race goes on"


def test_changing_a_setting_ends_the_race_and_hides_its_points(stage: Stage) -> None:
    page = stage.show(BrowserRace(**LONG))
    begin(page)
    page.get_by_role("slider", name=WORDS["dim"]).press("ArrowLeft")
    page.wait_for_function(OVER)
    assert sentence(page) == BrowserRace(**{**LONG, "dim": 56}).summary()


LISTEN = """() => {
    window.busy = 0;
    const add = (list) => list.getEntries().forEach((task) => { busy += task.duration / 1000; });
    new PerformanceObserver(add).observe({ type: "longtask" });
}"""
"""Adds up the seconds of the tasks during which the page answers no one for 50 ms or more."""


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_page_stays_free(gpu: Stage, device: str) -> None:
    """On the page's own thread the tables of so many features alone take half of the time."""
    page = gpu.show(BrowserRace(dim=64, order=3, most_tokens=256, budget=0.25, device=device))
    page.evaluate(LISTEN)
    start = time.monotonic()
    assert race(page)["device"] == device
    assert page.evaluate("window.busy") < 0.1 * (time.monotonic() - start)


def test_the_worker_needs_no_file(stage: Stage) -> None:
    page = stage.show(BrowserRace(**SMALL))
    assert page.url.startswith("file:")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    race(page)
    assert all(address.startswith("blob:") for address in asked)


def test_a_browser_without_workers_says_so(stage: Stage) -> None:
    page = stage.open(stage.write(BrowserRace(**SMALL)).as_uri(), script="delete window.Worker;")
    begin(page)
    page.wait_for_function(OVER)
    assert said(page) == f"{WORDS['problem_worker']} {WORDS['failed']}"


ANYWIDGET = """async ([text, state]) => {
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const { default: figure } = await import(address);
    const listeners = {};
    const model = {
        get: (name) => state[name],
        set: (name, value) => { state[name] = value; (listeners[name] ?? []).forEach((f) => f()); },
        save_changes() {},
        on(event, f) { const name = event.slice(7); (listeners[name] ??= []).push(f); },
        off() {},
    };
    const el = document.querySelector("#widget");
    const leave = figure.render({ model, el });
    Object.assign(window, { widget: { state, el, leave } });
}"""


def test_in_the_host_of_anywidget(stage: Stage) -> None:
    """The module from a Blob and a model of the kernel's, as anywidget gives them."""
    page = stage.open(stage.write('<div id="widget"></div>').as_uri())
    figure = BrowserRace(**SMALL)
    module = (DIST / "BrowserRace.js").read_text(encoding="utf-8")
    page.evaluate(ANYWIDGET, [module, {**figure.state(), "result": {}}])
    begin(page)
    page.wait_for_function(OVER, timeout=60_000)
    figure.result = page.evaluate("window.widget.state.result")
    assert len(figure.result["points"]) == 2 * len(TOKENS)
    assert sentence(page) == figure.summary()
    begin(page)
    page.evaluate("window.widget.leave()")
    before = page.evaluate("window.widget.state.result")
    page.wait_for_timeout(300)
    assert page.evaluate("window.widget.state.result") == before, "the worker goes on"


FIGURES = [
    BrowserRace(),
    synthetic(dim=16),
    synthetic(dim=64, order=3, most_tokens=65536),
    synthetic((1e9, 1e9), dim=8, order=1, device="gpu"),
]


@pytest.mark.parametrize("figure", FIGURES, ids=repr)
def test_the_page_says_what_python_says(stage: Stage, figure: BrowserRace) -> None:
    page = stage.show(figure)
    page.evaluate(
        "(result) => document.querySelector('fastattn-figure').model.set('result', result)",
        figure.result,
    )
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=figure.summary())


def test_laws_and_crossover_of_exact_times() -> None:
    found = FIGURES[1].outcome()
    assert found.counted == 163
    assert found.fitted == pytest.approx(2 * 153 * 17 / 16)
    laws = {name: law for name, law in found.laws.items() if law}
    assert laws["direct"].exponent == pytest.approx(2)
    assert laws["fast"].exponent == pytest.approx(1)
    assert found.measured == pytest.approx(found.fitted, rel=1e-6)
    assert BrowserRace().outcome().fitted is None


@pytest.mark.parametrize("width", [340, 375, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(stage: Stage, width: int, theme: Any) -> None:
    page = stage.show(FIGURES[1], width=width, color_scheme=theme, reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    states = [{"result": figure.result} for figure in (FIGURES[1], FIGURES[0], FIGURES[1])]
    assert len(set(page.evaluate(HEIGHTS, states))) == 1, "the figure changes its height"


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("dim", "ArrowRight", 40),
        ("order", "ArrowLeft", 1),
        ("most_tokens", "End", 65536),
        ("budget", "ArrowRight", 2),
        ("device", "ArrowRight", "gpu"),
    ],
)
def test_keys_move_every_control(stage: Stage, name: str, key: str, expected: Any) -> None:
    page = stage.show(BrowserRace())
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => { heard += 1; })")
    page.locator(f'[data-parameter="{name}"] input').first.press(key)
    assert state(page, name) == expected
    assert page.evaluate("heard") == 0, "JupyterLab would take the key"


def test_redraw_within_a_frame(stage: Stage) -> None:
    page = stage.show(FIGURES[1])
    times = page.evaluate(
        """async (result) => {
            const times = [];
            const { model } = document.querySelector("fastattn-figure");
            const note = (event) => times.push(event.detail.milliseconds);
            addEventListener("fastattn-redraw", note, true);
            for (let step = 0; step < 40; step += 1) {
                const points = result.points.slice(0, 1 + (step % result.points.length));
                model.set("result", { ...result, points });
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
            }
            return times;
        }""",
        FIGURES[1].result,
    )
    assert len(times) > 20
    check_redraws(page, times)


@pytest.mark.parametrize("figure", FIGURES, ids=repr)
def test_still_and_html(figure: BrowserRace) -> None:
    (axes,) = figure.still().axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert eval(repr(figure), {"BrowserRace": BrowserRace}).state() == figure.state()
    assert "points" not in figure._repr_html_()


def test_values_out_of_range_are_refused() -> None:
    for name, value in [("dim", 7), ("order", 4), ("device", "tpu"), ("budget", math.inf)]:
        with pytest.raises(traitlets.TraitError, match=name):
            BrowserRace(**{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "tpu"},
        {"device": ""},
        {"points": [["fast", 32, 10**400]]},
        {"points": 3},
        {"points": [["slow", 32, 1.0]]},
        {"points": [["fast", 32, 0.0]]},
        {"points": [["fast", 0, 1.0]]},
    ],
)
def test_what_no_race_gives_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(traitlets.TraitError, match="result: expected device, dim, order and"):
        BrowserRace(result={**FIGURES[1].result, **changes})
