"""A real browser, where one is installed, and what to look for on a page."""

import shutil
from contextlib import contextmanager

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: Controls that a finger may miss; a checkbox counts with its label, a menu with its frame.
SMALL = """() => [...document.querySelectorAll('button, input, textarea, a[href]')]
    .map(e => e.closest('label:has(> input[type=checkbox]), .secondary-wrap') || e)
    .map(e => [e.getBoundingClientRect(), e.outerHTML.slice(0, 200)])
    .filter(([box]) => box.width > 1 && box.height > 1 && Math.min(box.width, box.height) < 44)
    .map(([box, text]) => `${box.width}×${box.height} ${text}`)"""
#: Texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3).
FAINT = """() => {
    const parse = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const color = parse(getComputedStyle(e).backgroundColor);
            if (color.length < 4 || color[3] > 0.9) return color;
        }
        return [255, 255, 255];
    };
    const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
        if (!/[\\p{L}\\d]/u.test(text) || !e.getClientRects().length) continue;
        if (e.closest('[disabled], style, script')) continue;
        const [a, b] = [parse(getComputedStyle(e).color), behind(e)].map(luminance);
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) found.push(`${text} ${contrast.toFixed(2)}`);
    }
    return found;
}"""


@contextmanager
def chromium(*arguments):
    """The browser; without one, the test is skipped."""
    if BROWSER is None:
        pytest.skip("no Chromium here")
    sync_api = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*quiet, *arguments])
        yield browser
        browser.close()
