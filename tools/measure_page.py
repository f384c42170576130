"""Measure how soon the formulas of a built page can be read in a slow browser.

`python -m tools.measure_page FOLDER PAGE` serves FOLDER compressed on the loopback, opens
PAGE in a fresh browser with a slowed-down processor and network, and prints JSON: seconds
until every formula is drawn, layout shift, blocked seconds and bytes sent (medians).
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import statistics
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from playwright.sync_api import Browser, sync_playwright

from tools.browser import ARGUMENTS, executable

BITS_PER_SECOND, LATENCY_MS = 1_600_000, 150
OBSERVE = """
window.shift = 0; window.blocked = 0;
new PerformanceObserver(list => { for (const e of list.getEntries()) window.shift += e.value; })
  .observe({type: "layout-shift", buffered: true});
new PerformanceObserver(list => { for (const e of list.getEntries())
    window.blocked += e.duration - 50; })
  .observe({type: "longtask", buffered: true});
"""
DRAWN = """() => {
  const formulas = [...document.querySelectorAll(".math")];
  const katex = formulas.length && formulas.every(f => f.querySelector(".katex"))
    && document.fonts.status === "loaded" && document.fonts.check("16px KaTeX_Main");
  const mathjax = formulas.length && formulas.every(f => f.querySelector("mjx-container svg"));
  const painted = performance.getEntriesByType("paint").length > 0;
  return painted && (katex || mathjax) ? performance.now() : 0;
}"""


class _Compressed(SimpleHTTPRequestHandler):
    """Files of one folder, text gzipped as public hosts do; counts the bytes it sends."""

    sent: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        """Send one file."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        if path.suffix in {".html", ".js", ".css", ".svg", ".json"}:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.sent.append(len(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Generator[str]:
    handler = functools.partial(_Compressed, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _measure_once(browser: Browser, address: str, slowdown: float) -> dict[str, float]:
    _Compressed.sent.clear()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    speed = BITS_PER_SECOND / 8
    network = {"offline": False, "latency": LATENCY_MS}
    network |= {"downloadThroughput": speed, "uploadThroughput": speed}
    session.send("Network.emulateNetworkConditions", network)
    page.add_init_script(OBSERVE)
    page.goto(address, wait_until="commit")
    drawn = page.wait_for_function(DRAWN, polling=50, timeout=120_000).json_value()
    page.wait_for_load_state("load")
    page.wait_for_timeout(1000)
    shift, blocked = page.evaluate("[window.shift, window.blocked]")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    kilobytes = sum(_Compressed.sent) / 1000
    return {
        "first_paint_s": paint / 1000,
        "formulas_drawn_s": drawn / 1000,
        "layout_shift": shift,
        "blocked_s": blocked / 1000,
        "kilobytes": kilobytes,
    }


def measure(folder: Path, page: str, slowdown: float, repeats: int = 3) -> dict[str, float]:
    """Return the medians of `repeats` loads with an empty cache."""
    with _served(folder) as host, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        runs = [_measure_once(browser, f"{host}/{page}", slowdown) for _ in range(repeats)]
        browser.close()
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def main() -> None:
    """Print the measurements for two slowdowns of the processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("page")
    options = parser.parse_args()
    result = {f"cpu_{rate}x": measure(options.folder, options.page, rate) for rate in (4, 6)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
