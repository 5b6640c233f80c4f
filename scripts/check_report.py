#!/usr/bin/env python3
"""Opens a report in Chromium as its readers do: light and dark, on a desktop and on a phone.

    pip install playwright          # and a Chromium: apt-get install chromium
    scripts/check_report.py runs/quickstart/report/report.html [--shots DIR] [--chromium PATH]

Checks that nothing is loaded from elsewhere or logged as an error, that every picture is drawn, that nothing but tables is wider
than the page, and that a point of the map shows its image. Screenshots go to DIR.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

VIEWS = [("light", 1100, 900), ("dark", 1100, 900), ("light", 390, 844), ("dark", 390, 844)]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("page", type=Path)
parser.add_argument("--shots", type=Path)
parser.add_argument("--chromium", default=shutil.which("chromium"))
arguments = parser.parse_args()
failed = 0


def check(what, holds):
    global failed
    failed += not holds
    print(f"{'ok  ' if holds else 'FAIL'} {what}")


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
    for scheme, width, height in VIEWS:
        name = f"{scheme} {width}"
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        errors, requests = [], []
        page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(arguments.page.resolve().as_uri())
        check(f"{name}: no errors {errors or ''}", not errors)
        elsewhere = [url for url in requests[1:] if not url.startswith("data:")]
        check(f"{name}: nothing is loaded {elsewhere or ''}", not elsewhere)
        images = page.eval_on_selector_all("img:not(.sheet)", "all => all.map(i => [i.naturalWidth, i.offsetHeight])")
        check(f"{name}: {len(images)} pictures are drawn", images and all(natural and shown for natural, shown in images))
        check(f"{name}: no wider than the page", page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
        charts = page.eval_on_selector_all("svg.chart", "all => all.filter(s => s.getBoundingClientRect().height > 0).length")
        articles = page.locator("article").count()
        check(f"{name}: {charts} loss curves are shown", charts <= articles)
        smallest = page.eval_on_selector_all(
            "svg.chart text", """all => Math.min(99, ...all.filter(t => t.getBoundingClientRect().height > 0).map(t =>
            parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a))""")
        check(f"{name}: text of charts is {smallest:.1f} pixels high or more", smallest >= 10)
        for index in range(page.locator(".map").count()):
            figure = page.locator(".map").nth(index)
            figure.locator("circle").nth(0).scroll_into_view_if_needed()
            figure.locator("circle").nth(0).hover(force=True)
            tip = figure.locator(".tip")
            box = tip.locator("i").bounding_box() or {"height": 0}
            check(f"{name}: a point shows its image ({tip.inner_text().strip()})", tip.is_visible() and box["height"] > 20)
        if arguments.shots:
            arguments.shots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=arguments.shots / f"{scheme}-{width}.png", full_page=True)
        page.close()
    browser.close()
sys.exit(failed > 0)
