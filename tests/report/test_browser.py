"""The pages in a real browser, headless Chromium: they render, sort, and log no message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import make_run, make_sweep
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from dermaexp.compare.output import compare
from dermaexp.report.page import write_report
from dermaexp.report.style import FIGURE_DPI


@contextmanager
def opened(browser: Chrome, page: Path) -> Iterator[Chrome]:
    """The browser with the page open, which must not have complained in the end."""
    browser.get_log("browser")
    browser.get(page.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert browser.get_log("browser") == []


@pytest.fixture
def report(browser: Chrome, tmp_path: Path) -> Iterator[Chrome]:
    """A run's page."""
    with opened(browser, write_report(make_run(tmp_path))) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison's page of three groups and a run that failed."""
    folder = make_sweep(tmp_path_factory.mktemp("sweep"))
    compare(folder)
    return folder / "comparison.html"


@pytest.fixture
def comparison(browser: Chrome, sweep: Path) -> Iterator[Chrome]:
    """A comparison's page."""
    with opened(browser, sweep) as chrome:
        yield chrome


def sortable_tables(browser: Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, "table.sortable")


def heading(table: WebElement, column: int) -> WebElement:
    return table.find_elements(By.CSS_SELECTOR, "thead th")[column]


def column(table: WebElement, index: int) -> list[str]:
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[index].text for row in rows]


def click(table: WebElement, index: int) -> None:
    heading(table, index).find_element(By.TAG_NAME, "button").click()


def width(browser: Chrome, pixels: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": pixels < 600},
    )


def test_the_page_renders(report: Chrome) -> None:
    assert report.title == "my net on Small"
    assert report.find_element(By.TAG_NAME, "h1").text == "my net on Small"
    images = report.find_elements(By.TAG_NAME, "img")
    assert [image.get_property("naturalWidth") for image in images] == [2 * FIGURE_DPI] * 3
    assert all(image.get_attribute("alt") for image in images)
    for table in report.find_elements(By.TAG_NAME, "table"):
        assert table.find_element(By.TAG_NAME, "caption").text
        cells = table.find_elements(By.TAG_NAME, "th")
        assert {cell.get_attribute("scope") for cell in cells} <= {"col", "row"}


def test_a_click_sorts_both_ways(report: Chrome) -> None:
    _, history = sortable_tables(report)
    epochs = [str(epoch) for epoch in range(1, 12)]
    assert column(history, 0) == epochs
    assert heading(history, 0).get_attribute("aria-sort") is None
    click(history, 0)
    assert column(history, 0) == epochs, "9 before 10: as numbers, not as texts"
    assert heading(history, 0).get_attribute("aria-sort") == "ascending"
    click(history, 0)
    assert column(history, 0) == epochs[::-1]
    assert heading(history, 0).get_attribute("aria-sort") == "descending"


def test_empty_cells_come_last_both_ways(report: Chrome) -> None:
    _, history = sortable_tables(report)
    filled = [str(epoch) for epoch in range(1, 12) if epoch != 5]
    click(history, 5)
    assert column(history, 0) == [*filled, "5"]
    click(history, 5)
    assert column(history, 0) == [*filled[::-1], "5"]


def test_equal_rows_keep_their_order(report: Chrome) -> None:
    """All learning rates but two are made equal; the rows were sorted by epoch before, down."""
    _, history = sortable_tables(report)
    report.execute_script(
        "for (const { cells } of arguments[0].tBodies[0].rows)"
        " cells[6].textContent = ['3', '7'].includes(cells[0].textContent) ? '1,000' : '9e1'",
        history,
    )
    click(history, 0)
    click(history, 0)
    equal = ["11", "10", "9", "8", "6", "5", "4", "2", "1"]
    click(history, 6)
    assert column(history, 0) == [*equal, "7", "3"]
    click(history, 6)
    assert column(history, 0) == ["7", "3", *equal]
    assert heading(history, 0).get_attribute("aria-sort") is None, "only one heading has it"


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE], ids=["enter", "space"])
def test_the_keyboard_sorts_texts(report: Chrome, key: str) -> None:
    classes, _ = sortable_tables(report)
    button = heading(classes, 0).find_element(By.TAG_NAME, "button")
    names = sorted(column(classes, 0), key=str.lower)
    button.send_keys(key)
    assert column(classes, 0) == names
    button.send_keys(key)
    assert column(classes, 0) == names[::-1]


@pytest.mark.parametrize("pixels", [360, 1200])
def test_only_wide_boxes_scroll_sideways(report: Chrome, pixels: int) -> None:
    width(report, pixels)
    wide = "return document.documentElement.scrollWidth"
    assert report.execute_script(wide) <= pixels


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_can_be_read(report: Chrome, scheme: str) -> None:
    """Contrast of at least 4.5 (WCAG 2 AA) of text, small print and links with the page."""
    report.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    ground = luminance(report, "body", "background-color")
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("body", "caption", "footer", "a"):
        lighter, darker = sorted((luminance(report, selector, "color"), ground), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector


def test_the_comparison_renders(comparison: Chrome) -> None:
    assert comparison.title == "Comparison on Data"
    images = comparison.find_elements(By.TAG_NAME, "img")
    assert [image.get_property("naturalWidth") > 600 for image in images] == [True] * 4
    assert all(image.get_attribute("alt") for image in images)
    for table in comparison.find_elements(By.TAG_NAME, "table"):
        assert table.find_element(By.TAG_NAME, "caption").text


def test_the_ranked_table_sorts(comparison: Chrome) -> None:
    ranked, _ = sortable_tables(comparison)
    accuracies = ["0.750 ± 0.071", "0.550 ± 0.071", "0.400", "0.500"]
    assert column(ranked, 4) == accuracies
    click(ranked, 4)
    assert column(ranked, 4) == sorted(accuracies)
    click(ranked, 4)
    assert column(ranked, 4) == sorted(accuracies, reverse=True)
    click(ranked, 3)
    assert column(ranked, 3)[:2] == ["0.700 ± 0.000", "0.850 ± 0.071"]
    click(ranked, 3)
    assert column(ranked, 1)[:2] == ["cnn", "ffn"], "undefined comes last both ways"


def test_small_p_values_sort_as_numbers(comparison: Chrome) -> None:
    ranked, _ = sortable_tables(comparison)
    comparison.execute_script(
        "['0.5', '< 0.001', '0.02'].forEach((text, row) => {"
        "arguments[0].tBodies[0].rows[row].cells[8].textContent = text })",
        ranked,
    )
    click(ranked, 8)
    assert column(ranked, 8)[:3] == ["< 0.001", "0.02", "0.5"]


def test_another_group_can_be_chosen(comparison: Chrome) -> None:
    first, second = comparison.find_elements(By.CSS_SELECTOR, ".confusion")
    assert confusion(first) == [["0", "40", "0"], ["0", "90", "10"], ["0", "0", "60"]]
    before = confusion(second)
    assert before == [["0", "40", "0"], ["0", "50", "50"], ["0", "0", "60"]]
    choice = Select(first.find_element(By.TAG_NAME, "select"))
    assert [option.text for option in choice.options] == ["model=cnn", "model=ffn", "model=mlp"]
    choice.select_by_visible_text("model=mlp")
    assert confusion(first) == [["0", "20", "0"], ["0", "10", "40"], ["0", "0", "30"]]
    assert confusion(second) == before
    caption, cell = (first.find_element(By.CSS_SELECTOR, css) for css in ("caption", "td b"))
    assert caption.text == "model=mlp, counts of one seed"
    assert cell.text == "0 %"


def confusion(part: WebElement) -> list[list[str]]:
    """The counts of a confusion matrix."""
    rows = part.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "td span")] for row in rows]


@pytest.mark.parametrize("pixels", [360, 1200])
def test_only_wide_boxes_of_a_comparison_scroll(comparison: Chrome, pixels: int) -> None:
    width(comparison, pixels)
    wide = "return document.documentElement.scrollWidth"
    assert comparison.execute_script(wide) <= pixels


def luminance(browser: Chrome, selector: str, name: str) -> float:
    """The relative luminance that WCAG 2 defines for sRGB."""
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    numbers = browser.execute_script(script, selector, name).strip("rgb()").split(",")
    shares = [float(number) / 255 for number in numbers]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
