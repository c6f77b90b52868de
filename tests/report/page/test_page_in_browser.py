"""report.html as a reader meets it: in Chromium, opened from its file, by pointer and by keyboard."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from poolbench.report import page
from poolbench.report.make import gather
from poolbench.report.reading.loading import load

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no chromium and chromedriver on the path; `apt-get install chromium chromium-driver` brings both",
)
WAIT_S = 10.0
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page of a small comparison, opened."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.prefer("light")
        for log in ("browser", "performance"):
            driver.get_log(log)
        self.open()

    def open(self) -> None:
        self.driver.get(self.address)
        self.until(lambda: self.all("#forest svg") and self.all("#trade svg"))

    def prefer(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, found: Callable[[], Any]) -> Any:
        ends = time.monotonic() + WAIT_S
        while not (value := found()):
            assert time.monotonic() < ends, "waited in vain"
            time.sleep(0.02)
        return value

    def column(self, key: str) -> list[str]:
        """Return the texts of a column of the table of variants."""
        script = """
            const table = document.getElementById("arms");
            const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.dataset.key === arguments[0]);
            return [...table.tBodies[0].rows].map((row) => row.cells[at].innerText.trim());
        """
        found: list[str] = self.js(script, key)
        return found

    def heading(self, key: str) -> WebElement:
        return self.one(f'#arms th[data-key="{key}"]')

    def mark(self, plot: str, variant: str) -> WebElement:
        """Return the point of a variant in a plot."""
        marks = self.all(f'#{plot} .mark-symbol path[aria-label*="variant: {variant};"]')
        assert marks, [mark.get_attribute("aria-label") for mark in self.all(f"#{plot} .mark-symbol path")]
        return marks[-1]

    def opacity(self, plot: str, variant: str) -> float:
        return float(self.mark(plot, variant).get_attribute("opacity") or 1)


@pytest.fixture
def opened(chromium: webdriver.Chrome, results: Any) -> Iterator[Page]:
    results.grid(blocks=[("slides", "digits"), ("resnet18", "digits")], variants=["max", "avg", "gap"], seeds=3)
    results.add("broken", 0, status="failed", reason="RuntimeError: no memory\nTraceback")
    results.add(HOSTILE, 0, 0.5, config={"protocol": {"optimizer": {"name": "sgd", "lr": 0.1}}})
    path = results.folder / "report.html"
    path.write_bytes(page.html(gather(load(results.folder))))
    yield Page(chromium, path.as_uri())
    # Files share one store, and the theme is kept in it.
    chromium.execute_script("localStorage.clear()")


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split(" ")[0].replace("−", "-").replace(",", "")) for text in texts if text != "–"]


class TestTable:
    def test_sorts_by_value_on_a_click_empty_last(self, opened: Page) -> None:
        before = opened.column("difference_mean")
        opened.heading("difference_mean").find_element(By.TAG_NAME, "button").click()
        assert opened.heading("difference_mean").get_attribute("aria-sort") == "ascending"
        up = opened.column("difference_mean")
        assert numbers(up) == sorted(numbers(up))
        assert up[-1] == "–"
        opened.heading("difference_mean").find_element(By.TAG_NAME, "button").click()
        down = opened.column("difference_mean")
        assert opened.heading("difference_mean").get_attribute("aria-sort") == "descending"
        assert numbers(down) == sorted(numbers(down), reverse=True)
        assert down[-1] == "–"
        opened.heading("difference_mean").find_element(By.TAG_NAME, "button").click()
        assert opened.heading("difference_mean").get_attribute("aria-sort") is None
        assert opened.column("difference_mean") == before

    @pytest.mark.slow
    def test_sorts_by_keyboard(self, opened: Page) -> None:
        button = opened.heading("parameters").find_element(By.TAG_NAME, "button")
        opened.js("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        assert opened.heading("parameters").get_attribute("aria-sort") == "ascending"
        found = numbers(opened.column("parameters"))
        assert found == sorted(found)
        assert found[0] != found[-1]
        assert opened.js("return document.activeElement.closest('th').dataset.key") == "parameters"
        button.send_keys(Keys.SPACE)
        assert opened.heading("parameters").get_attribute("aria-sort") == "descending"

    @pytest.mark.slow
    def test_filters_and_says_how_many(self, opened: Page) -> None:
        assert len(opened.column("variant")) == 8
        opened.one("#find").send_keys("GAP")
        assert set(opened.column("variant")) == {"gap"}
        assert opened.one("#count").text == "2 of 8 rows match."
        assert opened.one("#count").get_attribute("aria-live") == "polite"
        opened.one("#find").clear()
        Select(opened.one("#filter-block")).select_by_visible_text("resnet18 on digits")
        assert len(opened.column("variant")) == 3
        Select(opened.one("#filter-verdict")).select_by_visible_text("reference")
        assert opened.column("variant") == ["max"]
        # The plots follow the block.
        assert Select(opened.one("#plot-block")).first_selected_option.text == "resnet18 on digits"

    @pytest.mark.slow
    def test_names_stay_texts(self, opened: Page) -> None:
        assert HOSTILE in opened.column("variant")
        assert opened.all("main img") == []

    @pytest.mark.slow
    def test_flag_is_explained_by_keyboard(self, opened: Page) -> None:
        flag = opened.one("#arms .flag")
        assert "recipe" in (flag.get_attribute("aria-label") or "")
        opened.js("arguments[0].focus()", flag)
        flag.send_keys(Keys.ENTER)
        assert flag.get_attribute("aria-expanded") == "true"
        assert "another recipe" in opened.one("#flag-note").text
        flag.send_keys(Keys.ESCAPE)
        assert not opened.one("#flag-note").is_displayed()

    @pytest.mark.slow
    def test_all_columns(self, opened: Page) -> None:
        usual = len(opened.all("#arms thead th"))
        opened.one("#chooser > summary").click()
        opened.until(lambda: opened.all("#all-columns"))
        opened.one("#all-columns").click()
        assert len(opened.all("#arms thead th")) > usual + 60
        assert opened.column("raw:n_seeds")[0] == "3"


@pytest.mark.slow
def test_the_interval_that_decides_a_tie_is_its_own(chromium: webdriver.Chrome, results: Any) -> None:
    for seed in range(4):
        results.add("max", seed, 0.9 + seed / 1000, margin=0.03)
        results.add("avg", seed, 0.9 + seed / 900, margin=0.03)
        results.add("gap", seed, 0.8 + seed / 300, margin=0.03)
    content = gather(load(results.folder))
    path = results.folder / "report.html"
    path.write_bytes(page.html(content))
    opened = Page(chromium, path.as_uri())
    rows = content.tables["summary"].set_index("variant")
    assert rows["verdict"][["avg", "gap"]].tolist() == ["tie", "worse"]
    shown = dict(zip(opened.column("variant"), opened.column("difference_holm_low"), strict=True))
    for variant, ends in {
        "avg": ["tie_low", "tie_high"],
        "gap": ["difference_holm_low", "difference_holm_high"],
    }.items():
        assert numbers(shown[variant].split(" to ")) == pytest.approx(100 * rows.loc[variant, ends], abs=0.005)
    assert rows.loc["avg", "tie_low"] != rows.loc["avg", "difference_holm_low"]
    assert opened.one("#forest-tie").is_displayed()


class TestPlots:
    @pytest.mark.slow
    def test_values_on_hover(self, opened: Page) -> None:
        mark = opened.mark("forest", "gap")
        opened.js("arguments[0].scrollIntoView({block: 'center'})", mark)
        ActionChains(opened.driver).move_to_element(mark).perform()
        tip = opened.until(lambda: opened.all("#vg-tooltip-element.visible"))[0].text
        row = opened.column("variant").index("gap")
        assert "gap" in tip
        assert opened.column("difference_mean")[row] in tip
        assert opened.column("difference_holm_low")[row] in tip
        assert opened.column("test_accuracy_mean")[row] in tip

    @pytest.mark.slow
    def test_choosing_in_one_marks_in_all(self, opened: Page) -> None:
        mark = opened.mark("trade", "gap")
        opened.js("arguments[0].scrollIntoView({block: 'center'})", mark)
        ActionChains(opened.driver).move_to_element(mark).click().perform()
        opened.until(lambda: opened.opacity("forest", "avg") < 0.5)
        assert opened.opacity("forest", "gap") == 1
        assert opened.opacity("trade", "avg") < 0.5
        assert [row.text for row in opened.all("#arms tr.chosen .name")] == ["gap", "gap"]
        assert "gap" in opened.one("#chosen").text
        opened.one("#clear").click()
        opened.until(lambda: opened.opacity("forest", "avg") == 1)
        assert opened.all("#arms tr.chosen") == []

    @pytest.mark.slow
    def test_choosing_in_the_table_by_keyboard(self, opened: Page) -> None:
        button = opened.all("#arms .name")[opened.column("variant").index("avg")]
        opened.js("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        assert button.get_attribute("aria-pressed") == "true"
        opened.until(lambda: opened.opacity("trade", "gap") < 0.5)
        assert opened.opacity("forest", "avg") == 1

    @pytest.mark.slow
    def test_another_cost(self, opened: Page) -> None:
        chooser = Select(opened.one("#plot-cost"))
        assert len(chooser.options) >= 4
        chooser.select_by_visible_text("parameters")
        opened.until(lambda: any("parameters (left is better)" in e.text for e in opened.all("#trade svg text")))


class TestCell:
    @pytest.mark.slow
    def test_opens_and_closes(self, opened: Page) -> None:
        opened.one("#arms .seed").click()
        dialog = opened.one("#cell")
        assert dialog.is_displayed()
        for part in ("Metrics", "Learning curve", "Audit of the network", "MaxPool2d", "Configuration", "Origin"):
            assert part in dialog.text
        opened.until(lambda: len(opened.all("#cell svg.marks")) == 2)
        link = opened.one("#cell a").get_attribute("href") or ""
        assert link.startswith(opened.address.removesuffix("report.html") + "records/")
        assert opened.js("return document.activeElement.closest('dialog') !== null")
        ActionChains(opened.driver).send_keys(Keys.ESCAPE).perform()
        assert not dialog.is_displayed()
        # Back where one came from.
        assert opened.js("return document.activeElement.className") == "seed"

    @pytest.mark.slow
    def test_configuration_unfolds(self, opened: Page) -> None:
        opened.one("#list .name").click()
        next(e for e in opened.all("#cell summary") if e.text == "Configuration").click()
        assert "protocol.optimizer.lr" in opened.one("#cell").text
        opened.one("#cell-close").click()
        assert not opened.one("#cell").is_displayed()

    @pytest.mark.slow
    def test_a_failed_cell_says_why(self, opened: Page) -> None:
        Select(opened.one("#filter-status")).select_by_visible_text("failed")
        assert opened.one("#count-cells").text == "1 of 20 cells match."
        opened.one("#list .name").click()
        assert "RuntimeError: no memory\nTraceback" in opened.one("#cell pre").text

    @pytest.mark.slow
    def test_next_and_before(self, opened: Page) -> None:
        opened.one("#list .name").click()
        first = opened.one("#cell-h").text
        opened.one("#cell-after").click()
        assert opened.one("#cell-h").text != first
        opened.one("#cell-before").click()
        assert opened.one("#cell-h").text == first
        assert not opened.one("#cell-before").is_enabled()


class TestPage:
    def test_no_errors_and_no_request(self, opened: Page) -> None:
        opened.one("#theme").click()
        opened.one("#arms .seed").click()
        opened.until(lambda: len(opened.all("#cell svg.marks")) == 2)
        assert opened.driver.get_log("browser") == []
        asked = []
        for entry in opened.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        assert {url for url in asked if not url.startswith("data:")} == {opened.address}

    @pytest.mark.slow
    def test_follows_the_systems_theme_and_the_button(self, opened: Page) -> None:
        ground = "return getComputedStyle(document.body).backgroundColor"
        ink = "return document.querySelector('#forest svg .role-axis-label text').getAttribute('fill')"
        light, light_ink = opened.js(ground), opened.js(ink)
        opened.prefer("dark")
        opened.until(lambda: opened.js(ground) != light)
        opened.until(lambda: opened.all("#forest svg .role-axis-label text") and opened.js(ink) != light_ink)
        opened.one("#theme").click()
        opened.until(lambda: opened.js(ground) == light)
        opened.until(lambda: opened.all("#forest svg .role-axis-label text") and opened.js(ink) == light_ink)

    def test_fits_a_phone(self, opened: Page) -> None:
        metrics = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
        opened.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        opened.open()
        assert opened.js("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
        # A row is a card: nothing scrolls sideways, and each figure has its column's title beside it.
        for table in ("#arms", ".glance", "#list"):
            box = f"const box = document.querySelector('{table}').parentElement;"
            assert opened.js(f"{box} return box.scrollWidth - box.clientWidth") <= 0, table
        shown = (
            "const cell = document.querySelector('#arms td.number'); return getComputedStyle(cell, '::before').content"
        )
        assert "points" in opened.js(shown)
        opened.one("#list .name").click()
        assert opened.js("return document.querySelector('dialog').getBoundingClientRect().right <= innerWidth")

    @pytest.mark.slow
    def test_every_control_has_a_name(self, opened: Page) -> None:
        nameless = opened.js("""
            const labelled = (one) => one.labels && one.labels.length;
            const named = (one) => one.getAttribute("aria-label") || one.textContent || labelled(one);
            const controls = [...document.querySelectorAll("button, select, input, a")];
            return controls.filter((one) => !named(one)).map((one) => one.outerHTML);
        """)
        assert nameless == []
