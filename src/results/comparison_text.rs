//! A comparison as a table with notes, for the terminal, as Markdown and as CSV.

use crate::error::counted;
use crate::results::columns::title;
use crate::results::comparison::Comparison;
use crate::results::configuration::Configuration;
use crate::results::reference::Reference;
use crate::results::tables::{self, percent};
use crate::statistics::{clopper_pearson, mean, mean_interval};

/// What a narrow terminal can do without, the least important first.
const LEAST: [&str; 7] = [
    "Published rank",
    "With collapsed",
    "95 % interval",
    "Validation accuracy",
    "Published",
    "Standard deviation",
    "Runs",
];
/// The columns of the CSV behind the hyper-parameters.
const CSV_COLUMNS: [&str; 25] = [
    "runs",
    "broken_down",
    "diverged",
    "failed",
    "lost_rate",
    "lost_rate_low",
    "lost_rate_high",
    "test_accuracy_mean",
    "test_accuracy_std",
    "test_accuracy_least",
    "test_accuracy_most",
    "test_accuracy_low",
    "test_accuracy_high",
    "test_accuracy_mean_with_broken_down",
    "validation_accuracy_mean",
    "validation_accuracy_std",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_adjusted",
    "significant",
    "published_test_accuracy",
    "published_rank",
    "published_in_interval",
];

/// What a reader should know where no row can be chosen.
const NO_CHOICE: &str = "Validation cannot choose among these rows, because they have different validation sets \
                         (data_seed, validation_size).";

impl Comparison {
    /// One row per configuration, for scripts; fractions.
    pub fn csv(&self) -> Vec<u8> {
        let mut header = self.names.clone();
        header.extend(CSV_COLUMNS.map(String::from));
        let rows: Vec<Vec<String>> = self.configurations.iter().map(csv_row).collect();
        tables::csv(&header, &rows)
    }

    /// A table and notes, for a document.
    pub fn markdown(&self) -> String {
        let (header, rows) = self.table(" ");
        tables::document(&header, &rows, &self.notes())
    }

    /// The same for the terminal, of `width` columns if it is known.
    pub fn describe(&self, width: Option<usize>) -> String {
        let (header, rows) = self.table("\n");
        tables::with_notes(tables::fitting(&header, &rows, width, &LEAST), &self.notes())
    }

    fn has_several_runs(&self) -> bool {
        self.configurations.iter().any(|row| row.kept.len() > 1)
    }

    fn table(&self, gap: &str) -> (Vec<String>, Vec<Vec<String>>) {
        let any = |of: fn(&Configuration) -> bool| self.configurations.iter().any(of);
        let (any_lost, any_collapsed) =
            (any(|row| row.lost().0 > 0), any(|row| !row.collapsed.is_empty()));
        let any_compared = any(|row| row.compared.is_some());
        let any_test = any(|row| row.compared.is_some_and(|it| it.test.is_some()));
        let several = self.has_several_runs();
        // Each column is a title and its cells, so that both come and go together.
        let mut columns: Vec<(String, Vec<String>)> = Vec::new();
        // Notes name rows by their place, which is the rank unless rows share one or have none.
        let ranks = self.ranks();
        let places = 1..=ranks.len();
        if !places.clone().map(Some).eq(ranks.iter().copied()) {
            columns.push(("Row".into(), places.map(|place| place.to_string()).collect()));
        }
        let shown = |rank: Option<usize>| or_dash(rank.map(|rank| rank.to_string()));
        columns.push(("Rank".into(), ranks.into_iter().map(shown).collect()));
        let mut column =
            |is_shown: bool, title: String, cell: &dyn Fn(&Configuration) -> String| {
                if is_shown {
                    columns.push((title, self.configurations.iter().map(cell).collect()));
                }
            };
        let range = |(low, high): (f64, f64)| format!("{:.2}–{:.2}", 100.0 * low, 100.0 * high);
        for index in self.varying() {
            column(true, title(&self.names[index], gap), &|row| row.cells[index].clone());
        }
        column(true, "Runs".into(), &|row| runs(row));
        column(any_lost, format!("Lost{gap}runs"), &|row| lost(row));
        let mean_of = |(mean, _): (f64, Option<f64>)| (!mean.is_nan()).then(|| percent(mean));
        column(true, format!("Test{gap}accuracy"), &|row| or_dash(mean_of(row.test())));
        column(any_collapsed, format!("With{gap}collapsed"), &|row| {
            or_dash(row.test_with_collapsed().map(percent))
        });
        column(several, format!("Standard{gap}deviation"), &|row| {
            or_dash(row.test().1.map(|std| format!("{:.2}", 100.0 * std)))
        });
        column(true, format!("95 %{gap}interval"), &|row| or_dash(row.interval().map(range)));
        column(true, format!("Validation{gap}accuracy"), &|row| or_dash(mean_of(row.validation())));
        column(any_compared, format!("Difference{gap}to row {}", self.baseline + 1), &|row| {
            or_dash(row.compared.map(|it| {
                let half = it.test.map(|test| format!(" ± {:.2}", 100.0 * test.half));
                format!("{:+.2}{}", 100.0 * it.mean, half.unwrap_or_default()).replace('-', "−")
            }))
        });
        column(any_test, format!("p{gap}(corrected)"), &|row| {
            or_dash(row.compared.and_then(|it| it.test).map(|test| p_value(test.p_adjusted)))
        });
        let has_reference = self.reference.is_some();
        column(has_reference, "Published".into(), &|row| {
            or_dash(row.published.map(|published| percent(published.test)))
        });
        column(has_reference, format!("Published{gap}rank"), &|row| {
            or_dash(row.published.map(|published| published.rank.to_string()))
        });
        let (header, cells): (Vec<String>, Vec<Vec<String>>) = columns.into_iter().unzip();
        let row = |index: usize| cells.iter().map(|column| column[index].clone()).collect();
        (header, (0..self.configurations.len()).map(row).collect())
    }

    /// What a reader should know, one paragraph each.
    fn notes(&self) -> Vec<String> {
        let notes = [
            self.note_on_columns(),
            self.note_on_lost_runs(),
            self.note_on_differences(),
            self.note_on_two_models(),
            self.note_on_published(),
            self.note_on_choice(),
        ];
        let on_runs = self.notes_on_runs.iter().map(|text| tables::sentence(text));
        notes.into_iter().flatten().chain(on_runs).collect()
    }

    fn note_on_columns(&self) -> Option<String> {
        let first = self.configurations.first()?;
        let images = self.configurations.iter().find_map(images);
        let on_images = images.map(|images| format!("these {images} test {}s", self.noun))?;
        let mut note = if self.has_several_runs() {
            format!(
                "Accuracies are means over runs with different seeds. The 95 % interval is Student's, \
                 for the mean over seeds on {on_images}; for a single run, or runs that do not vary, it is \
                 Wilson's."
            )
        } else {
            let is_of_one = self.configurations.iter().all(|row| row.lost().1 + row.failed < 2);
            let each =
                if is_of_one { "Each row is one run" } else { "Accuracies are of one run each" };
            format!("{each}; other seeds may change the order. The 95 % interval is Wilson's.")
        };
        if self.configurations.iter().any(Configuration::has_folds) {
            note += " Folds count as seeds. They share most of their training rows, so intervals are too \
                     narrow and p values too small.";
        }
        let varying = self.varying();
        let same = (0..self.names.len()).filter(|column| !varying.contains(column));
        let same: Vec<String> = same
            .map(|column| format!("{} {}", title(&self.names[column], " "), first.cells[column]))
            .collect();
        if !same.is_empty() {
            note += &format!(" The same in all rows: {}.", same.join(", "));
        }
        Some(note)
    }

    fn note_on_lost_runs(&self) -> Option<String> {
        let any_lost = self.configurations.iter().any(|row| row.lost().0 > 0);
        any_lost.then(|| {
            "A run is lost if it diverged, or collapsed: its last validation error is more than twice the \
             least one of a model of its configuration and far above it (more than ten points, and beyond \
             chance), and the run fell as far from its own best epoch or never learned (its own least error \
             is as poor). Means and tests use the other runs; the rate of lost runs has Clopper and Pearson's \
             95 % interval."
                .to_string()
        })
    }

    fn note_on_differences(&self) -> Option<String> {
        let tested = |wanted: bool| {
            let rows = self.configurations.iter().enumerate();
            let is_wanted = move |row: &Configuration| {
                row.compared.and_then(|it| it.test).is_some_and(|it| it.is_significant() == wanted)
            };
            rows.filter(move |(_, row)| is_wanted(row)).map(|(index, _)| index + 1)
        };
        let (differ, alike): (Vec<usize>, Vec<usize>) =
            (tested(true).collect(), tested(false).collect());
        let baseline = format!("row {}", self.baseline + 1);
        if self.configurations.get(self.baseline)?.kept.is_empty() {
            return Some(format!(
                "All runs of {baseline}, the baseline, are lost: nothing is compared."
            ));
        }
        let verdict = match (&differ[..], &alike[..]) {
            ([], []) => return None,
            ([], _) => format!("No row differs significantly from {baseline}"),
            (_, []) if differ.len() > 1 => {
                format!("All tested rows differ significantly from {baseline}")
            }
            _ => format!(
                "{} significantly from {baseline}{}",
                sentence(&differ, "differs", "differ"),
                if alike.is_empty() { "" } else { "; the other tested rows do not" },
            ),
        };
        let corrected = if self.comparisons > 1 {
            format!(", corrected for {} comparisons (Bonferroni)", self.comparisons)
        } else {
            String::new()
        };
        let by_image = |wanted: bool| {
            let tests = self.configurations.iter().filter_map(|row| row.compared?.test);
            tests.into_iter().any(|test| test.by_image == wanted)
        };
        let (images, noun) = (self.configurations.iter().find_map(images)?, self.noun);
        let these = format!("on these {images} test {noun}s");
        let scope = match (by_image(true), by_image(false)) {
            (true, false) => format!("on new {noun}s of the same kind"),
            (false, _) => these,
            (true, true) => format!(
                "on new {noun}s of the same kind, or {these} where answers per {noun} are missing"
            ),
        };
        let mut note = format!(
            "{verdict} (p < 0.05{corrected}). This holds for new runs (other initial weights) {scope}, \
             with this split and batch order."
        );
        let untested: Vec<usize> = self
            .configurations
            .iter()
            .enumerate()
            .filter(|(index, row)| {
                *index != self.baseline && row.compared.is_none_or(|it| it.test.is_none())
            })
            .map(|(index, _)| index + 1)
            .collect();
        if untested.is_empty()
            && self.baseline_is_best
            && differ.len() + 1 < self.configurations.len()
        {
            note += " With 95 % confidence, the best configuration is among the rows that do not differ.";
        }
        if !untested.is_empty() {
            let too_few = sentence(&untested, "has", "have");
            note +=
                &format!(" {too_few} no verdict, which needs two kept runs whose accuracies vary.");
        }
        Some(note)
    }

    fn note_on_two_models(&self) -> Option<String> {
        let (found, more) = self.two_models()?;
        let which = match more {
            0 => format!("both classify equally many {}s correctly", self.noun),
            more => format!(
                "the {} classifies {} more correctly",
                if more > 0 { "first" } else { "second" },
                counted(more.unsigned_abs(), self.noun)
            ),
        };
        Some(format!(
            "Of these two models, {which} (McNemar's test, {}). One run each cannot show which \
             configuration is better.",
            p_is(found.p)
        ))
    }

    fn note_on_published(&self) -> Option<String> {
        let known = self.configurations.iter().filter(|row| !row.kept.is_empty());
        let known: Vec<&Configuration> = known.filter(|row| row.published.is_some()).collect();
        let within: Vec<bool> = known.iter().filter_map(|row| row.predicts_published()).collect();
        if known.len() < 2 {
            return None;
        }
        let ours = mean(&known.iter().map(|row| row.test().0).collect::<Vec<_>>());
        let theirs: Vec<f64> = known.iter().filter_map(|row| Some(row.published?.test)).collect();
        let mut note = format!(
            "The {} rows with a published accuracy have {} here on average, and {} there.",
            known.len(),
            percent(ours),
            percent(mean(&theirs)),
        );
        if !within.is_empty() {
            note += &format!(
                " {} of {} published accuracies are in the 95 % prediction interval of one more run; 1 in \
                 20 is outside by chance.",
                within.iter().filter(|is_within| **is_within).count(),
                within.len(),
            );
        }
        Some(note)
    }

    /// The row that validation chooses; its test accuracy is the one to report.
    fn note_on_choice(&self) -> Option<String> {
        let Some(chosen) = self.chosen() else {
            let rows = self.configurations.iter().filter(|row| row.has_validation());
            return (rows.count() > 1).then(|| NO_CHOICE.to_string());
        };
        let row = &self.configurations[chosen.index];
        let published = self.reference.as_ref().and_then(Reference::best_validation);
        let published = published
            .map(|validation| format!(" (published: {} at best)", percent(validation)))
            .unwrap_or_default();
        let interval = match mean_interval(&row.tests()) {
            Some((low, high)) => {
                format!("{:.2} ± {:.2} %", 100.0 * row.test().0, 50.0 * (high - low))
            }
            None => percent(row.test().0),
        };
        let mut note = format!(
            "Validation chooses row {}: {interval} on the test set ({}), {} on the validation set{published}.",
            chosen.index + 1,
            if row.kept.len() == 1 {
                "one run".to_string()
            } else {
                format!("mean of {} runs", row.kept.len())
            },
            percent(chosen.validation),
        );
        if self.configurations.iter().any(|row| !row.collapsed.is_empty()) {
            note += " Collapsed runs count for the choice, and not for the means of the table.";
        }
        if chosen.equals > 1 {
            note += &format!(
                " {} rows share this validation accuracy; the lower validation loss decides, then the name.",
                chosen.equals
            );
        }
        if self.ranks()[chosen.index] == Some(1) {
            note += " It is also first by the test set.";
        } else {
            note += &format!(
                " Row 1 was picked by the test set itself, so its {} is probably too high.",
                percent(self.configurations[0].test().0)
            );
        }
        Some(note)
    }
}

fn csv_row(of: &Configuration) -> Vec<String> {
    let number = |number: f64| format!("{number:.6}");
    let some = |value: Option<f64>| value.map(number).unwrap_or_default();
    let mut row = of.cells.clone();
    let counts = [of.kept.len(), of.collapsed.len(), of.diverged, of.failed];
    row.extend(counts.map(|count| count.to_string()));
    let (lost, all) = of.lost();
    let rate = (all > 0).then(|| (lost as f64 / all as f64, clopper_pearson(lost, all)));
    row.extend([rate.map(|it| it.0), rate.map(|it| it.1.0), rate.map(|it| it.1.1)].map(some));
    let (has_run, tests) = (!of.kept.is_empty(), of.tests());
    let least = tests.iter().copied().min_by(f64::total_cmp);
    let most = tests.iter().copied().max_by(f64::total_cmp);
    row.extend([has_run.then(|| of.test().0), of.test().1, least, most].map(some));
    row.extend([of.interval().map(|it| it.0), of.interval().map(|it| it.1)].map(some));
    row.push(some(of.test_with_collapsed()));
    row.extend([of.has_validation().then(|| of.validation().0), of.validation().1].map(some));
    let test = of.compared.and_then(|it| it.test);
    let end = |sign: f64| Some(of.compared?.mean + sign * test?.half);
    row.extend([of.compared.map(|it| it.mean), end(-1.0), end(1.0)].map(some));
    // Enough digits for any p value.
    let p = |value: Option<f64>| value.map(|p| format!("{p:.3e}")).unwrap_or_default();
    row.extend([p(test.map(|it| it.p)), p(test.map(|it| it.p_adjusted))]);
    row.push(test.map(|it| it.is_significant().to_string()).unwrap_or_default());
    row.push(some(of.published.map(|it| it.test)));
    row.push(of.published.map(|it| it.rank.to_string()).unwrap_or_default());
    row.push(of.predicts_published().map(|is_in| is_in.to_string()).unwrap_or_default());
    row
}

fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "–".to_string())
}

/// "Row 3 differs", "Rows 3, 5 differ".
fn sentence(rows: &[usize], one: &str, several: &str) -> String {
    let listed = rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if rows.len() == 1 { format!("Row {listed} {one}") } else { format!("Rows {listed} {several}") }
}

fn images(row: &Configuration) -> Option<usize> {
    Some(row.kept.first()?.record.outcome.scores()?.test_images)
}

/// The number of kept runs, and of failed ones.
fn runs(row: &Configuration) -> String {
    let failed = if row.failed > 0 { format!(", {} failed", row.failed) } else { String::new() };
    format!("{}{failed}", row.kept.len())
}

/// "1 of 3 (1–91 %)".
fn lost(row: &Configuration) -> String {
    let (lost, all) = row.lost();
    if all == 0 {
        return or_dash(None);
    }
    let (low, high) = clopper_pearson(lost, all);
    format!("{lost} of {all} ({:.0}–{:.0} %)", 100.0 * low, 100.0 * high)
}

/// `p = 0.03` or `p < 0.001`.
pub(crate) fn p_is(p: f64) -> String {
    let value = p_value(p);
    value.strip_prefix('<').map_or(format!("p = {value}"), |bound| format!("p < {bound}"))
}

fn p_value(p: f64) -> String {
    match p {
        p if p < 0.001 => "<0.001".to_string(),
        p if p < 0.0995 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}
