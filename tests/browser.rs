//! The report in a real browser: headless Chromium opens that of a small grid on Fashion-MNIST
//! itself, and does what a reader would.

mod support;

#[path = "support/browser.rs"]
mod browser;

use std::fs;
use std::path::Path;

use browser::Browser;
use serde_json::{Value, json};
use support::{Csv, FASHION_MNIST, Work, fashion_mnist, has_program, is_skipped};

/// A grid with two factors, its report, and a browser that has it open.
struct Opened {
    work: Work,
    browser: Browser,
}

/// Whether a test is skipped for want of a browser to drive.
fn is_without_browser() -> bool {
    is_skipped("chromedriver (scripts/setup --tests)", has_program("chromedriver"))
}

impl Opened {
    /// Nothing where this machine lacks something that it takes.
    fn new() -> Option<Self> {
        let data = fashion_mnist();
        if is_without_browser() || is_skipped(FASHION_MNIST, data.is_some()) {
            return None;
        }
        let (work, data) = (Work::new(), data?);
        let grid = "grid quick --epochs 2 --hidden 30,20/10 --out r";
        work.rookie(&format!("{grid} --data {}", data.display())).exits(0);
        work.rookie(&format!("report r --data {}", data.display())).exits(0).says("r/report.html");
        let browser = Browser::start();
        browser.resize(1280, 1000);
        browser.open(&format!("file://{}", work.path("r/report.html").display()));
        browser.wait_for(ROWS, &json!(12));
        Some(Self { work, browser })
    }

    fn ranking(&self) -> Csv {
        Csv::parse(&self.work.text("r/ranking.csv"))
    }

    /// The runs in the order of the table.
    fn table(&self) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll('#rows tr')].map(row => row.dataset.run)";
        serde_json::from_value(self.browser.run(script)).unwrap()
    }

    /// Keeps a picture of the window for a person to look at.
    fn shoot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.browser.screenshot()).unwrap();
    }
}

const ROWS: &str = "return document.querySelectorAll('#rows tr').length";

/// How many lines a chart of curves has.
fn lines_of(chart: &str) -> String {
    format!("return Number(document.getElementById('chart-{chart}').dataset.curves)")
}

#[test]
fn a_reader_sorts_filters_and_picks_and_the_page_says_nothing_on_its_console() {
    let Some(page) = Opened::new() else { return };
    let (browser, ranking) = (&page.browser, page.ranking());
    assert_eq!(page.table(), ranking.column("run"), "the table begins in the ranking's order");

    // Sorting.
    browser.click("#headings th[data-column=validation_accuracy] button");
    let mut sorted: Vec<(f64, &str)> =
        ranking.numbers("validation_accuracy").into_iter().zip(ranking.column("run")).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sorted: Vec<&str> = sorted.into_iter().map(|(_, run)| run).collect();
    assert_eq!(page.table(), sorted, "the highest validation accuracy first");
    let direction = "return document.querySelector('th[data-column=validation_accuracy]').ariaSort";
    assert_eq!(browser.run(direction), "descending");

    // Two runs are picked at first; each has a line for training and one for validation.
    browser.wait_for(&lines_of("loss"), &json!(4));
    browser.click("#clear-picks");
    let legend =
        "return [...document.querySelectorAll('#legend li > span')].map(s => s.textContent)";
    browser.wait_for(legend, &json!([]));
    let all = ranking.column("run");
    let runs = [all[3], all[7]];
    for run in runs {
        browser.click(&format!("#rows input[data-pick='{run}']"));
    }
    browser.wait_for(legend, &json!(runs));
    browser.wait_for(&lines_of("loss"), &json!(4));
    browser.wait_for(&lines_of("accuracy"), &json!(4));
    browser.click(&format!("#rows input[data-pick='{}']", runs[0]));
    browser.wait_for(&lines_of("accuracy"), &json!(2));

    // Dragging on an axis fills the filter of its column, which the rows follow.
    let axis = "const chart = document.getElementById('chart-parallel');
        chart.scrollIntoView({ block: 'center', behavior: 'instant' });
        const { left, top, height } = chart.getBoundingClientRect();
        const axes = echarts.getInstanceByDom(chart).getOption().parallel[0];
        return [left + axes.left, top + axes.top, top + height - axes.bottom].map(Math.round)";
    let place: Vec<i64> = serde_json::from_value(browser.run(axis)).unwrap();
    let (x, top, bottom) = (place[0], place[1], place[2]);
    browser.drag((x, top + (bottom - top) / 3), (x, top - 5));
    let rates = ranking.column("learning_rate").iter().filter(|rate| **rate == "0.4").count();
    browser.wait_for(ROWS, &json!(rates));
    let filter = "return document.querySelector(\"input[data-column='axis.learning_rate']\").value";
    assert_eq!(browser.run(filter), "0.4");
    page.shoot("filtered");

    // What is typed there does the same; what is not understood is told and not applied.
    let filter = "#filters input[data-column='axis.learning_rate']";
    browser.write(filter, "0.1..0.2");
    browser.wait_for(ROWS, &json!(12 - rates));
    browser.write(filter, "fast");
    browser.wait_for(ROWS, &json!(12));
    let error = browser.run("return document.getElementById('filter-error').textContent");
    assert!(error.as_str().unwrap().contains("not understood"), "{error}");
    browser.click("#clear-filters");

    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_page_fits_a_telephone_and_a_screen_by_day_and_by_night() {
    let Some(page) = Opened::new() else { return };
    for scheme in ["light", "dark"] {
        page.browser.prefer(scheme);
        for width in [1280, 400] {
            page.browser.resize(width, 1400);
            page.browser.wait_for("return innerWidth", &json!(width));
            // Charts take their new width a moment later.
            let script = "const { scrollWidth, clientWidth } = document.documentElement;
                return scrollWidth - clientWidth";
            page.browser.wait_for(script, &json!(0));
            for section in ["ranking", "parallel", "closer", "settings"] {
                page.browser.run(&format!("document.getElementById('{section}').scrollIntoView()"));
                page.shoot(&format!("{width}_{scheme}_{section}"));
            }
        }
    }
    // The pictures, the confusion matrix, and nothing from elsewhere.
    let script =
        "return [...document.images].map(image => image.naturalWidth > 100 && image.alt !== '')";
    assert_eq!(page.browser.run(script), json!([true, true, true, true, true]));
    let script = "return [...document.querySelectorAll('#confusion td')]
        .map(cell => Number(cell.textContent)).reduce((a, b) => a + b)";
    assert_eq!(page.browser.run(script), json!(10_000));
    let script = "return performance.getEntriesByType('resource')
        .filter(entry => !entry.name.startsWith('data:')).length";
    assert_eq!(page.browser.run(script), json!(0));
    assert_eq!(page.browser.console(), [""; 0]);
}

#[test]
fn what_a_file_says_is_shown_and_not_run() {
    if is_without_browser() {
        return;
    }
    let work = Work::ranked();
    let run = work.rookie("rank results/my --format csv").exits(0);
    let run = Csv::parse(&run.stdout).column("run")[0].to_string();
    let record = format!("results/my/runs/{run}/run.toml");
    let hostile = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>";
    let text = work.text(&record);
    let values: Vec<&str> = text.lines().take_while(|line| !line.starts_with("status")).collect();
    let provenance = text.split_once("[provenance]").unwrap().1;
    work.write(
        &record,
        format!(
            "{}\nstatus = \"failed\"\nreason = \"{hostile}\"\nseconds = 1.0\n[provenance]{provenance}\
             other = \"{hostile}\"\n",
            values.join("\n")
        ),
    );
    work.rookie("report results/my").exits(0);
    let browser = Browser::start();
    browser.open(&format!("file://{}", work.path("results/my/report.html").display()));
    browser.wait_for("return document.querySelectorAll('#rows tr').length > 1", &json!(true));
    assert_ne!(browser.run("return document.title"), Value::from("taken"));
    let shown = browser.run("return document.body.innerText");
    assert_eq!(shown.as_str().unwrap().matches(hostile).count(), 2, "{shown}");
    assert_eq!(browser.run("return document.querySelectorAll('img[src=x]').length"), json!(0));
    assert_eq!(browser.console(), [""; 0]);
}
