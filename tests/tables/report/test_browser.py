import time

import pytest
from browser import chromium, emulate, requests
from made_up_records import write_records

from sla_bench.tables.report.page import write_report

pytestmark = pytest.mark.slow

BOTH = {"baseline": 0.5, "baseline+TTA": 0.55, "SLA+AG": 0.6, "SLA+SI": 0.58}
EVIL = "folder:/x/<script>document.title='ran'</script><img src=http://192.0.2.1/>"
LOAD_SECONDS = 1.0


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    write_records(out, BOTH, seeds=(0, 1), shots=1)
    write_records(out, {**BOTH, "ens-M": 0.57}, seeds=(0, 1), learner=["metaoptnet-rr"])
    store, _ = write_records(out, BOTH, dataset=[EVIL])
    write_report([store], out / "report.html")
    return out / "report.html"


@pytest.fixture
def page(browser, report):
    """The report, freshly loaded; afterwards the console is empty and only the file was asked for."""
    browser.get("about:blank")
    requests(browser), browser.get_log("browser")
    browser.get(report.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    assert set(requests(browser)) <= {report.as_uri(), "data:,"}
    assert browser.title == "sla_bench report"


def find(page, selector):
    return page.find_elements("css selector", selector)


def shown(page):
    """(method, accuracy, gain) of each row that can be seen, from top to bottom."""
    return page.execute_script(
        """return [...document.querySelectorAll("tr[data-row]")].filter(row => row.checkVisibility())
            .map(row => [row.querySelector("button").textContent,
            ...["accuracy %", "gain %"].map(name => row.cells[[...row.closest("table").tHead.rows[0].cells]
                .findIndex(head => head.textContent === name)].dataset.value)
                .map(value => value === undefined ? null : Number(value))])"""
    )


def head(page, name):
    (found,) = [b for b in find(page, "thead button") if b.text.startswith(name)]
    return found


def order_of(page, name):
    return head(page, name).find_element("xpath", "..").get_attribute("aria-sort")


def press(element, key):
    from selenium.webdriver.common.keys import Keys

    element.send_keys(getattr(Keys, key))


def test_a_click_on_a_head_sorts_and_the_third_restores(page):
    before = shown(page)
    head(page, "accuracy").click()
    assert order_of(page, "accuracy") == "descending"
    assert [r[1] for r in shown(page)] == sorted((r[1] for r in before), reverse=True)
    head(page, "accuracy").click()
    assert order_of(page, "accuracy") == "ascending"
    assert [r[1] for r in shown(page)] == sorted(r[1] for r in before)
    head(page, "accuracy").click()
    assert order_of(page, "accuracy") == "none"
    assert shown(page) == before


def test_texts_sort_from_a_and_missing_gains_stay_last(page):
    press(head(page, "method"), "ENTER")
    assert order_of(page, "method") == "ascending"
    names = [r[0].lower() for r in shown(page)]
    assert names == sorted(names)
    for _ in range(2):
        head(page, "gain").click()
        gains = [r[2] for r in shown(page)]
        known = [g for g in gains if g is not None]
        assert gains == known + [None] * (len(gains) - len(known))
        assert known == sorted(known, reverse=order_of(page, "gain") == "descending")
    assert order_of(page, "method") == "none"


def test_an_expanded_row_moves_with_its_row(page):
    button = find(page, "tr.sla .expand")[0]
    button.click()
    head(page, "accuracy").click()
    details = button.find_element("xpath", "ancestor::tr/following-sibling::tr[1]")
    assert details.get_attribute("id") == button.get_attribute("aria-controls")


def test_words_and_selects_filter_together(page):
    everything = shown(page)
    (search,) = find(page, "input[type=search]")
    assert search.accessible_name == "Find"
    search.send_keys("sla+ METAOPT")
    status = find(page, "[role=status]")[0]
    assert {r[0] for r in shown(page)} == {"SLA+AG", "SLA+SI"}
    assert status.text == f"{len(shown(page))} of {len(everything)} rows"
    choose(page, "Against", "ens-M")
    assert [r[0] for r in shown(page)] == ["SLA+AG"]
    search.send_keys(" nothing")
    assert shown(page) == []
    assert "nothing fits" in status.text
    find(page, "button[type=reset]")[0].click()
    assert wait_for(lambda: shown(page) == everything)


def choose(page, label, value):
    from selenium.webdriver.support.select import Select

    (select,) = [s for s in find(page, "select") if s.accessible_name == label]
    Select(select).select_by_visible_text(value)


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize(("label", "value", "rows"), [("Data set", EVIL, 4), ("Learner", "metaoptnet-rr", 6)])
def test_each_select_filters(page, label, value, rows):
    choose(page, label, value)
    assert len(shown(page)) == rows


def test_a_row_expands_by_mouse_to_all_that_it_was_made_of(page):
    button = find(page, "tr.sla .expand")[0]
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    (details,) = find(page, "tr.details")
    titles = [h.text for h in details.find_elements("css selector", "h3")]
    assert titles == [
        "Reproduce", "Seeds", "Test", "Gain over baseline", "Learning curves", "Settings", "Environment"
    ]  # fmt: skip
    assert "python -m sla_bench run fewshot --dataset" in details.find_element("css selector", "code").text
    assert len(details.find_elements("css selector", "svg[role=img] polyline.own")) >= 1
    button.click()
    assert button.get_attribute("aria-expanded") == "false"
    assert find(page, "tr.details") == []


def test_the_page_can_be_used_by_keyboard_and_shows_where_it_is(page):
    find(page, "input[type=search]")[0].click()
    for _ in range(40):
        press(page.switch_to.active_element, "TAB")
        button = page.switch_to.active_element
        assert button.value_of_css_property("outline-style") == "solid"
        if "expand" in button.get_attribute("class"):
            break
    press(button, "SPACE")
    assert button.get_attribute("aria-expanded") == "true"
    press(button, "ENTER")
    assert button.get_attribute("aria-expanded") == "false"


def test_texts_from_outside_stay_texts_when_a_row_expands(page):
    choose(page, "Data set", EVIL)
    for button in [b for b in find(page, ".expand") if b.is_displayed()]:
        button.click()
    texts = [dd.text for dd in find(page, "tr.details dd")]
    assert texts.count(EVIL) == 4
    assert find(page, "tr.details script, tr.details img") == []


def luminance(page, selector, name):
    colour = find(page, selector)[0].value_of_css_property(name)
    channels = [int(c) / 255 for c in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_have_enough_contrast(page, scheme):
    emulate(page, "prefers-color-scheme", scheme)
    back = luminance(page, "body", "background-color")
    assert (back < 0.1) == (scheme == "dark")
    for selector in ("body", "span.where", ".word", "tr.sla .expand", "thead button", "[role=status]"):
        front = luminance(page, selector, "color")
        assert (max(front, back) + 0.05) / (min(front, back) + 0.05) >= 4.5, selector


def test_a_wide_list_of_seeds_does_not_cover_what_stands_beside_it(page):
    find(page, "tr.sla .expand")[0].click()
    table = find(page, ".expanded table")[0]
    page.execute_script("arguments[0].style.width = '90rem'", table)
    # It can be scrolled to its end within its own part of the row.
    scrolled, right, beside = page.execute_script(
        """const own = arguments[0].closest("section");
        own.scrollLeft = 1e6;
        const [here, there] = [own, own.nextElementSibling].map(part => part.getBoundingClientRect());
        return [own.scrollLeft, here.right, there.left]""",
        table,
    )
    assert scrolled > 0
    assert right <= beside


@pytest.mark.parametrize("width", [375, 390, 800, 1280])
def test_no_width_needs_sideways_scrolling(page, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        find(page, "tr.sla .expand")[0].click()
        room = "return [document.documentElement, ...document.querySelectorAll('.scroll')]"
        for shown, needed in page.execute_script(room + ".map(one => [one.clientWidth, one.scrollWidth])"):
            assert shown == needed <= width
        assert find(page, "span.where")[0].is_displayed()
        smallest = page.execute_script(
            """return Math.min(...[...document.querySelectorAll(".cost text")]
                .map(text => text.getBoundingClientRect().height))"""
        )
        assert smallest >= 10
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_csv_is_downloaded_by_a_click(page, tmp_path):
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    find(page, "a[download]")[0].click()
    file = tmp_path / "fewshot.csv"
    assert wait_for(file.exists)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(shown(page))
    requests(page)


def page_of_runs(folder, rates, monkeypatch):
    """A page of 16 runs for each rate, and its section."""
    monkeypatch.setattr("os.fsync", lambda handle: None)  # made-up records need not survive
    options = {"dataset": ["glyphs", "fc100", "cifar_fs", "mini_imagenet"], "shots": 1}
    for rate in range(1, rates + 1):
        settings = ("episodes=10", f"learning_rate={rate / 1000}")
        store, _ = write_records(folder, BOTH, seeds=(0, 1), settings=settings, **options)
    (section,) = write_report([store], folder / "report.html")
    assert section.runs == 16 * rates
    return (folder / "report.html").as_uri(), section


@pytest.mark.campaign
def test_a_page_of_a_thousand_runs_loads_within_a_second(browser, tmp_path, monkeypatch):
    page, _ = page_of_runs(tmp_path, 62, monkeypatch)
    seconds = []
    for _ in range(3):
        browser.get("about:blank")
        browser.get(page)
        seconds.append(
            browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
        )
    assert min(seconds) < LOAD_SECONDS, seconds


def test_a_long_table_shows_its_first_rows_and_a_click_all(browser, tmp_path, monkeypatch):
    page, section = page_of_runs(tmp_path, 20, monkeypatch)
    browser.get(page)
    everything = len(section.rows)
    assert len(shown(browser)) == 200 < everything
    (more,) = find(browser, ".more")
    more.click()
    assert len(shown(browser)) == everything
    assert not more.is_displayed()
    assert browser.execute_script("return document.activeElement.closest('tr').dataset.row") == "200"
