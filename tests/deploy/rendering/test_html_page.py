"""The HTML page in a real browser: its numbers are the report's, and it asks nobody for anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic_reports import make_report, make_stalled_point, make_sweep
from synthetic_streams import make_token_report

from serve_deploy.rendering import render
from serve_deploy.reports.gates import evaluate_gates, parse_gate
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import group_by_load, pool_repeats
from serve_deploy.reports.report import LoadTestReport, NamedReport, ReportSet

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
WIDTHS = {"phone": 390, "tablet": 768, "desktop": 1280}
Browse = Callable[..., str]


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Browse]:
    """Run headless Chromium on a file with options, and return what it printed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here to look at the page with; `make tools` names the package")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def run(page: Path, *options: str) -> str:
            command = [chromium, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()]
            return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout

        yield run


class Page(HTMLParser):
    """What a browser's document says: figures with their values, addresses, words, identifiers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str, str]] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []
        self.labels: list[str] = []
        self._key: tuple[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect what the tags carry."""
        named = {name: value or "" for name, value in attributes}
        self._key = (named["data-key"], named["value"]) if tag == "data" else None
        self.addresses += [named[name] for name in ("href", "src", "xlink:href", "action", "data") if name in named]
        self.identifiers += [named["id"]] if "id" in named else []
        self.labels += [named["aria-labelledby"]] if "aria-labelledby" in named else []

    def handle_data(self, words: str) -> None:
        """The words of a figure."""
        if self._key:
            self.figures.append((*self._key, words))
            self._key = None


def write_page(folder: Path, report: LoadTestReport | ReportSet) -> Path:
    """Render a report as a file."""
    page = folder / "report.html"
    page.write_text(render(report, "html"), encoding="utf-8")
    return page


def make_judged_sweep() -> LoadTestReport:
    """Five loads of three repeats with gates."""
    points = make_sweep()
    return make_report(*points, gates=evaluate_gates([parse_gate("p99<50ms")], points))


def look_up(saved: dict[str, Any], key: str) -> float:
    """Find a figure of the page in the saved JSON of a single-load report."""
    value: Any = saved["points"][0]
    for part in key.rsplit("/", maxsplit=1)[-1].split("."):
        value = value[part]
    return float(value)


def read_words(words: str) -> float:
    """What a figure says, in µs, as a fraction, or as it stands."""
    number, unit = re.fullmatch(r"(?:slip p99 |max )?([\d,.]+) ?(µs|ms|s|%)?(?: .*)?", words).groups()  # type: ignore[union-attr]
    return float(number.replace(",", "")) * {"µs": 1, "ms": 1e3, "s": 1e6, "%": 0.01, None: 1}[unit]


@pytest.mark.parametrize("report", [make_report(make_stalled_point()), make_token_report()], ids=["plain", "tokens"])
def test_every_number_of_the_page_is_the_json_files(browse: Browse, tmp_path: Path, report: LoadTestReport) -> None:
    """In the browser's own document each figure has the exact value of the JSON, and its words round it."""
    saved = json.loads(render(report, "json"))
    page = Page(browse(write_page(tmp_path, report), "--dump-dom"))
    direct = [figure for figure in page.figures if not figure[0].endswith(("queue_us", "error_rate", "goodput"))]
    assert len(direct) >= 15
    for key, value, words in direct:
        assert float(value) == look_up(saved, key), key
        assert read_words(words) == pytest.approx(float(value), rel=0.0051, abs=0.5), key


def test_the_figures_of_repeats_are_those_of_all_their_requests(browse: Browse, tmp_path: Path) -> None:
    """A sweep's page shows each load's repeats pooled, as the JSON's points pool."""
    report = make_judged_sweep()
    saved = LoadTestReport.model_validate_json(render(report, "json"))
    page = Page(browse(write_page(tmp_path, report), "--dump-dom"))
    p99 = {key.split("/")[1]: float(value) for key, value, _ in page.figures if key.endswith("/response.p99_us")}
    pooled: list[Point] = [pool_repeats(group) for group in group_by_load(saved.points)]
    assert p99 == {f"concurrency {point.load.concurrency}": point.response.p99_us for point in pooled}


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    """No address, script or import is in it, and its own policy forbids any."""
    text = write_page(tmp_path, make_judged_sweep()).read_text()
    page = Page(text)
    assert page.addresses == []
    assert "<script" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\s<\"']+", text)) == {"http://127.0.0.1:8000"}


def test_charts_have_names_and_identifiers_of_their_own(tmp_path: Path) -> None:
    """Every drawing is labelled by a title that exists, also with several reports on one page."""
    reports = ReportSet(
        reports=(NamedReport(name="a", report=make_judged_sweep()), NamedReport(name="b", report=make_judged_sweep()))
    )
    page = Page(write_page(tmp_path, reports).read_text())
    assert len(page.identifiers) == len(set(page.identifiers))
    assert set(page.labels) <= set(page.identifiers)
    assert len(page.labels) > 40


PROBE = """<script>
  const boxes = [...document.querySelectorAll('svg')].map(drawing => [drawing, drawing.getBoundingClientRect().width]);
  const shown = boxes.filter(([, width]) => width > 0);
  document.title = JSON.stringify({
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    variants: [...new Set(shown.map(([drawing]) => drawing.getAttribute('class')))],
    smallest: Math.min(...shown.map(([drawing, width]) => width / drawing.viewBox.baseVal.width)),
    background: getComputedStyle(document.body).backgroundColor,
    scrolls: [...document.querySelectorAll('.scroll')].map(box => getComputedStyle(box).backgroundAttachment),
    fetched: performance.getEntriesByType('resource').map(entry => entry.name),
  });
</script>"""
GATHER = "onload = () => document.title = JSON.stringify(Array.from(frames, frame => JSON.parse(frame.document.title)))"


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(14, 20, 27)")])
def test_the_page_fits_every_screen(browse: Browse, tmp_path: Path, scheme: str, background: str) -> None:
    """On phone, tablet and desktop nothing sticks out, charts keep their size, and nothing at all is fetched."""
    streams = NamedReport(name="streams", report=make_token_report())
    page = write_page(tmp_path, ReportSet(reports=(NamedReport(name="sweep", report=make_judged_sweep()), streams)))
    opened = page.read_text().replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    page.write_text(opened.replace("</body>", f"{PROBE}</body>"))
    # A headless window is never narrower than 500 pixels, a frame is.
    box = "height:900px;border:0"
    screens = [f'<iframe src="{page.name}" style="width:{width}px;{box}"></iframe>' for width in WIDTHS.values()]
    frames = tmp_path / "frames.html"
    frames.write_text("".join(screens) + f"<script>{GATHER}</script>")
    dark = ("--blink-settings=preferredColorScheme=0",) if scheme == "dark" else ()
    options = ("--dump-dom", "--allow-file-access-from-files", "--window-size=1400,1000", "--virtual-time-budget=3000")
    title = re.search(r"<title>(.*?)</title>", browse(frames, *options, *dark))
    assert title is not None
    phone, tablet, desktop = json.loads(title[1])
    assert [seen["variants"] for seen in (phone, tablet, desktop)] == [["narrow"], ["wide"], ["wide"]]
    for seen in (phone, tablet, desktop):
        assert seen["overflow"] <= 0
        assert seen["smallest"] > 0.85
        assert (seen["background"], seen["fetched"]) == (background, [])
        # The first two layers scroll with the table and hide the shadows of the others where it ends.
        assert set(seen["scrolls"]) == {"local, local, scroll, scroll"}
