//! Settings against each other over their seeds, and against accuracies published elsewhere.
//!
//! Two settings are told apart by the same test images: for each image, the share of one setting's
//! runs that recognise it minus that of the other's. The variance of the mean difference is that
//! over the images, plus that over the seeds, which all settings estimate together.

use std::collections::HashMap;
use std::path::Path;

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{Error, Place, Result, counted};
use crate::report::ranking::{Columns, Entry, mean_and_std, title, wilson_interval};
use crate::report::tables::{self, percent};
use crate::train::hyperparams::KEYS;
use crate::train::outcome::{Outcome, Scores};

/// How often, at most, one of all the intervals of a table misses: 5 %.
const MISSES: f64 = 0.05;
/// Degrees of freedom from which on Student's t is a normal distribution.
const MANY: f64 = 1e6;

/// A run to be compared.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, values and outcome.
    pub entry: Entry,
    /// Whether its model recognises each test image, where there is a model to ask.
    pub hits: Option<Vec<bool>>,
}

/// Accuracies that stand elsewhere, each for the values that its row names.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    keys: Vec<String>,
    rows: Vec<(Vec<String>, Published)>,
}

/// What was published of a setting, as fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The test accuracy.
    pub test: f64,
    /// The validation accuracy, where it is known.
    pub validation: Option<f64>,
    /// The rank by test accuracy, from 1; equal ones share the lower number.
    pub rank: usize,
}

impl Reference {
    /// Reads a CSV with columns of `ranking.csv`: some hyper-parameters, `test_accuracy`, and
    /// `validation_accuracy` if it is known. Other columns are passed over.
    ///
    /// # Errors
    /// Where the file cannot be read, a column is missing, or a number is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|source| Error::read(path, source))?;
        let mut csv = csv::Reader::from_reader(&text[..]);
        let at = |line| Place::Line(path.to_path_buf(), line);
        let torn = |line| Error::unexpected(at(line), "another line", "a row of the CSV");
        let header = csv.headers().map_err(|_| torn(1))?.clone();
        let column = |name: &str| header.iter().position(|other| other == name);
        let is_key = |name: &&str| {
            let layer = name.strip_prefix("hidden_").is_some_and(|n| n.parse::<usize>().is_ok());
            layer || KEYS.iter().any(|key| key.name == *name && !key.is_layers())
        };
        let keys: Vec<String> = header.iter().filter(is_key).map(String::from).collect();
        let wanted = "columns of ranking.csv: some hyper-parameters and test_accuracy";
        let (Some(test), false) = (column("test_accuracy"), keys.is_empty()) else {
            let names = header.iter().collect::<Vec<_>>().join(",");
            return Err(Error::unexpected(at(1), format!("the columns {names}"), wanted));
        };
        let validation = column("validation_accuracy");
        let mut rows: Vec<(Vec<String>, Published)> = Vec::new();
        for (line, record) in (2..).zip(csv.records()) {
            let record = record.map_err(|_| torn(line))?;
            let fraction = |column: usize| {
                let number = record[column].parse().ok();
                number.filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| {
                    let found = format!("{} = {}", &header[column], &record[column]);
                    Error::unexpected(at(line), found, "a fraction from 0 to 1")
                })
            };
            let known = validation.filter(|&column| !record[column].is_empty());
            let cell = |name: &String| record[column(name).expect("a key's")].to_string();
            let published = Published {
                test: fraction(test)?,
                validation: known.map(fraction).transpose()?,
                rank: 0,
            };
            rows.push((keys.iter().map(cell).collect(), published));
        }
        let all: Vec<f64> = rows.iter().map(|(_, published)| published.test).collect();
        for (_, published) in &mut rows {
            published.rank = 1 + all.iter().filter(|&&other| other > published.test).count();
        }
        Ok(Self { keys, rows })
    }

    /// What was published for a setting whose columns have these names and cells.
    fn of(&self, names: &[String], cells: &[String]) -> Option<Published> {
        let same = |name: &String, text: &String| {
            let cell = names.iter().position(|other| other == name).map(|at| &cells[at]);
            cell.is_some_and(|cell| match (cell.parse::<f64>(), text.parse::<f64>()) {
                (Ok(cell), Ok(text)) => cell == text,
                _ => cell == text,
            })
        };
        let fits =
            |row: &&(Vec<String>, Published)| self.keys.iter().zip(&row.0).all(|(k, t)| same(k, t));
        self.rows.iter().find(fits).map(|(_, published)| *published)
    }

    /// The highest validation accuracy that was published.
    fn best_validation(&self) -> Option<f64> {
        self.rows.iter().filter_map(|(_, published)| published.validation).max_by(f64::total_cmp)
    }
}

/// A difference of two mean accuracies, as fractions, with the ends of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The setting's mean accuracy minus the baseline's.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Difference {
    /// Whether the two can be told apart.
    pub fn is_seen(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Runs that differ in their seeds alone.
#[derive(Debug, Clone)]
struct Setting {
    cells: Vec<String>,
    done: Vec<Member>,
    diverged: usize,
    failed: usize,
    published: Option<Published>,
    difference: Option<Difference>,
}

impl Setting {
    fn scores(&self) -> impl ExactSizeIterator<Item = &Scores> + Clone {
        self.done.iter().map(|member| member.entry.record.outcome.scores().expect("it is done"))
    }

    fn test(&self) -> (f64, Option<f64>) {
        mean_and_std(self.scores().map(|scores| scores.test.accuracy))
    }

    fn validation(&self) -> (f64, Option<f64>) {
        mean_and_std(self.scores().map(|scores| scores.validation.accuracy))
    }

    /// The lowest and highest test accuracy.
    fn range(&self) -> (f64, f64) {
        let all = self.scores().map(|scores| scores.test.accuracy);
        all.fold((f64::INFINITY, 0.0), |(low, high), x| (low.min(x), high.max(x)))
    }

    /// The 95 % interval (Wilson's) of the mean accuracy, as of one run's.
    fn interval(&self) -> (f64, f64) {
        wilson_interval(self.test().0, self.scores().next().expect("a run").test_images)
    }

    /// For each test image, the share of the runs that recognise it.
    fn shares(&self) -> Option<Vec<f64>> {
        let hits: Vec<&Vec<bool>> =
            self.done.iter().map(|member| member.hits.as_ref()).collect::<Option<_>>()?;
        let runs = hits.len() as f64;
        let share = |image| hits.iter().filter(|hits| hits[image]).count() as f64 / runs;
        Some((0..hits.first()?.len()).map(share).collect())
    }
}

/// A setting as a figure shows it; accuracies on the test set, as fractions.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingRow {
    /// Its values in the columns in which settings differ.
    pub name: String,
    /// Each run's.
    pub runs: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// The ends of its 95 % interval.
    pub ends: (f64, f64),
    /// What was published.
    pub published: Option<f64>,
}

/// Settings, best mean test accuracy first; those without a run that trained to its end come last.
#[derive(Debug, Clone)]
pub struct Comparison {
    names: Vec<String>,
    settings: Vec<Setting>,
    baseline: usize,
    reference: Option<Reference>,
}

impl Comparison {
    /// Groups runs into settings; differences are to the setting of the run `baseline`, else to the
    /// first.
    pub fn new(
        members: Vec<Member>,
        columns: &Columns,
        baseline: Option<&Entry>,
        reference: Option<Reference>,
    ) -> Self {
        let columns = columns.of_settings();
        let names = columns.names();
        let cells_of = |entry: &Entry| columns.cells(&entry.record.values);
        let baseline = baseline.map(cells_of);
        let mut place_of: HashMap<Vec<String>, usize> = HashMap::new();
        let mut settings: Vec<Setting> = Vec::new();
        for member in members {
            let cells = cells_of(&member.entry);
            let place = *place_of.entry(cells.clone()).or_insert(settings.len());
            if place == settings.len() {
                let published = reference.as_ref().and_then(|known| known.of(&names, &cells));
                let (done, difference) = (Vec::new(), None);
                settings.push(Setting {
                    cells,
                    done,
                    diverged: 0,
                    failed: 0,
                    published,
                    difference,
                });
            }
            match member.entry.record.outcome {
                Outcome::Done(_) => settings[place].done.push(member),
                Outcome::Diverged { .. } => settings[place].diverged += 1,
                Outcome::Failed { .. } => settings[place].failed += 1,
            }
        }
        let mean = |setting: &Setting| {
            if setting.done.is_empty() { f64::NEG_INFINITY } else { setting.test().0 }
        };
        settings.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
        let is_baseline = |setting: &Setting| Some(&setting.cells) == baseline.as_ref();
        let baseline = settings.iter().position(is_baseline).unwrap_or(0);
        let mut comparison = Self { names, settings, baseline, reference };
        comparison.measure_differences();
        comparison
    }

    /// The variance of a run's test accuracy over seeds, of all settings together, and its degrees
    /// of freedom.
    fn seed_variance(&self) -> (f64, f64) {
        let several = self.settings.iter().filter(|setting| setting.done.len() > 1);
        let of = |setting: &Setting| {
            let free = setting.done.len() as f64 - 1.0;
            (free * setting.test().1.expect("several runs").powi(2), free)
        };
        let (squares, free) = several.map(of).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        (if free > 0.0 { squares / free } else { 0.0 }, free)
    }

    fn measure_differences(&mut self) {
        let shares: Vec<Option<Vec<f64>>> = self.settings.iter().map(Setting::shares).collect();
        let comparisons = shares.iter().flatten().count().saturating_sub(1);
        let Some(of_baseline) = shares.get(self.baseline).and_then(Option::as_ref) else { return };
        let (seed_variance, free) = self.seed_variance();
        let runs_of_baseline = self.settings[self.baseline].done.len() as f64;
        for (place, (setting, shares)) in self.settings.iter_mut().zip(&shares).enumerate() {
            let Some(shares) = shares.as_ref().filter(|_| place != self.baseline) else { continue };
            let differences = shares.iter().zip(of_baseline).map(|(share, of_it)| share - of_it);
            let (mean, std) = mean_and_std(differences.collect::<Vec<_>>().into_iter());
            let over_images = std.unwrap_or(0.0).powi(2) / shares.len() as f64;
            let over_seeds =
                seed_variance * (1.0 / setting.done.len() as f64 + 1.0 / runs_of_baseline);
            let variance = over_images + over_seeds;
            // Welch's degrees of freedom; those of the images count as endless.
            let free = if over_seeds > 0.0 { free * (variance / over_seeds).powi(2) } else { MANY };
            let half = t_quantile(1.0 - MISSES / (2 * comparisons) as f64, free) * variance.sqrt();
            setting.difference = Some(Difference { mean, low: mean - half, high: mean + half });
        }
    }

    /// Whether no setting could be held against the baseline image by image.
    pub fn lacks_differences(&self) -> bool {
        self.settings.iter().all(|setting| setting.difference.is_none())
    }

    /// The places of the columns in which settings differ.
    fn varying(&self) -> Vec<usize> {
        let differs = |&column: &usize| {
            self.settings.iter().any(|other| other.cells[column] != self.settings[0].cells[column])
        };
        (0..self.names.len()).filter(differs).collect()
    }

    /// What tells the settings apart, as a person reads it.
    pub fn columns_shown(&self) -> Vec<String> {
        self.varying().into_iter().map(|column| title(&self.names[column], " ")).collect()
    }

    /// The settings of which a run trained to its end, best first.
    pub fn rows(&self) -> Vec<SettingRow> {
        let varying = self.varying();
        let row = |setting: &Setting| {
            let cells: Vec<&str> =
                varying.iter().map(|&column| &setting.cells[column][..]).collect();
            SettingRow {
                name: cells.join(" · "),
                runs: setting.scores().map(|scores| scores.test.accuracy).collect(),
                mean: setting.test().0,
                ends: setting.interval(),
                published: setting.published.map(|published| published.test),
            }
        };
        self.settings.iter().filter(|setting| !setting.done.is_empty()).map(row).collect()
    }

    /// A row for each setting, for scripts; fractions.
    pub fn csv(&self) -> Vec<u8> {
        let mut header = self.names.clone();
        header.extend(
            [
                "runs",
                "diverged",
                "failed",
                "test_accuracy_mean",
                "test_accuracy_std",
                "test_accuracy_least",
                "test_accuracy_most",
                "test_accuracy_low",
                "test_accuracy_high",
                "validation_accuracy_mean",
                "validation_accuracy_std",
                "difference",
                "difference_low",
                "difference_high",
                "published_test_accuracy",
                "published_rank",
            ]
            .map(String::from),
        );
        let number = |number: f64| format!("{number:.6}");
        let some = |value: Option<f64>| value.map(number).unwrap_or_default();
        let row = |setting: &Setting| {
            let mut row = setting.cells.clone();
            let counts = [setting.done.len(), setting.diverged, setting.failed];
            row.extend(counts.map(|count| count.to_string()));
            if setting.done.is_empty() {
                row.extend(std::iter::repeat_n(String::new(), 8));
            } else {
                let ((test, test_std), (low, high)) = (setting.test(), setting.interval());
                let (validation, validation_std) = setting.validation();
                let (least, most) = setting.range();
                row.extend([number(test), some(test_std), number(least), number(most)]);
                row.extend([number(low), number(high), number(validation), some(validation_std)]);
            }
            let difference = setting.difference;
            row.extend([
                some(difference.map(|it| it.mean)),
                some(difference.map(|it| it.low)),
                some(difference.map(|it| it.high)),
                some(setting.published.map(|it| it.test)),
                setting.published.map(|it| it.rank.to_string()).unwrap_or_default(),
            ]);
            row
        };
        tables::csv(&header, &self.settings.iter().map(row).collect::<Vec<_>>())
    }

    /// A table and what a reader should know of it, for a document.
    pub fn markdown(&self) -> String {
        let (header, rows) = self.table(" ");
        let table = tables::markdown(&header, &rows);
        std::iter::once(table).chain(self.notes()).collect::<Vec<_>>().join("\n\n") + "\n"
    }

    /// The same for the terminal.
    pub fn describe(&self) -> String {
        let (header, rows) = self.table("\n");
        [tables::terminal(&header, &rows), self.notes().join("\n")].join("\n\n")
    }

    fn table(&self, gap: &str) -> (Vec<String>, Vec<Vec<String>>) {
        let varying = self.varying();
        let has_differences = !self.lacks_differences();
        let mut header = vec!["Rank".to_string()];
        header.extend(varying.iter().map(|&column| title(&self.names[column], gap)));
        header.extend([
            "Runs".to_string(),
            format!("Test{gap}accuracy"),
            "Range".to_string(),
            format!("95 %{gap}interval"),
            format!("Validation{gap}accuracy"),
        ]);
        if has_differences {
            header.push(format!("Difference{gap}to row {}", self.baseline + 1));
        }
        if self.reference.is_some() {
            header.extend(["Published".to_string(), format!("Published{gap}rank")]);
        }
        let row = |(place, setting): (usize, &Setting)| {
            let mut row = vec![(place + 1).to_string()];
            row.extend(varying.iter().map(|&column| setting.cells[column].clone()));
            row.push(runs_of(setting));
            if setting.done.is_empty() {
                row.extend(std::iter::repeat_n("–".to_string(), 4));
            } else {
                let range =
                    |(low, high): (f64, f64)| format!("{:.2}–{:.2}", 100.0 * low, 100.0 * high);
                row.push(with_deviation(setting.test()));
                let of_one = setting.done.len() == 1;
                row.push(if of_one { "–".to_string() } else { range(setting.range()) });
                row.push(range(setting.interval()));
                row.push(with_deviation(setting.validation()));
            }
            if has_differences {
                row.push(setting.difference.map_or("–".to_string(), |it| {
                    let half = 50.0 * (it.high - it.low);
                    format!("{:+.2} ± {half:.2}", 100.0 * it.mean).replace('-', "−")
                }));
            }
            if self.reference.is_some() {
                let published = setting.published;
                row.push(published.map_or("–".to_string(), |it| percent(it.test)));
                row.push(published.map_or("–".to_string(), |it| it.rank.to_string()));
            }
            row
        };
        (header, self.settings.iter().enumerate().map(row).collect())
    }

    /// What a reader should know, a sentence or two each.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        notes.extend(self.note_on_columns());
        notes.extend(self.note_on_differences());
        if self.reference.is_some() {
            notes.extend(self.note_on_order());
        }
        notes.extend(self.note_on_choice());
        notes
    }

    fn note_on_columns(&self) -> Option<String> {
        let first = self.settings.first()?;
        let varying = self.varying();
        let same = (0..self.names.len()).filter(|column| !varying.contains(column));
        let same: Vec<String> = same
            .map(|column| format!("{} {}", title(&self.names[column], " "), first.cells[column]))
            .collect();
        let mut note = String::from("Accuracies are means over runs");
        if self.settings.iter().any(|setting| setting.done.len() > 1) {
            note += " with other seeds, ± is their standard deviation";
        }
        note += "; the 95 % interval is Wilson's for one run on as many test images.";
        if !same.is_empty() {
            note = format!("{note} The same in all rows: {}.", same.join(", "));
        }
        Some(note)
    }

    fn note_on_differences(&self) -> Option<String> {
        let rows = |seen: bool| {
            let of = |(place, setting): (usize, &Setting)| {
                setting.difference.filter(|it| it.is_seen() == seen).map(|_| place + 1)
            };
            self.settings.iter().enumerate().filter_map(of).collect::<Vec<usize>>()
        };
        let (apart, alike) = (rows(true), rows(false));
        if apart.is_empty() && alike.is_empty() {
            return None;
        }
        let listed = |rows: &[usize]| {
            let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
            format!("row{} {}", if rows.len() == 1 { "" } else { "s" }, rows.join(", "))
        };
        let first = format!("row {}", self.baseline + 1);
        let verdict = match (&apart[..], &alike[..]) {
            ([], _) => format!("no row can be told from {first}"),
            (_, []) => format!("every row can be told from {first}"),
            _ => format!("{} can be told from {first}, {} cannot", listed(&apart), listed(&alike)),
        };
        let over_seeds = if self.seed_variance().1 > 0.0 {
            " and over seeds"
        } else {
            "; as each setting has one run, other seeds may turn it round"
        };
        Some(format!(
            "Image by image on the same test images, {verdict}. A difference is in points of accuracy; \
             all intervals hold together with 95 % (Bonferroni), over images{over_seeds}."
        ))
    }

    fn note_on_order(&self) -> Option<String> {
        let known = self.settings.iter().filter(|setting| !setting.done.is_empty());
        let known: Vec<(&Setting, Published)> =
            known.filter_map(|setting| Some((setting, setting.published?))).collect();
        let mean = |of: &dyn Fn(&(&Setting, Published)) -> f64| {
            known.iter().map(of).sum::<f64>() / known.len() as f64
        };
        if known.len() < 2 {
            return None;
        }
        let ours = mean(&|(setting, _)| setting.test().0);
        let theirs = mean(&|(_, published)| published.test);
        let within = |(setting, published): &&(&Setting, Published)| {
            let (low, high) = setting.interval();
            (low..=high).contains(&published.test)
        };
        let mut pairs = [0_usize; 2]; // in another order, in the same
        for (at, (a, of_a)) in known.iter().enumerate() {
            for (b, of_b) in &known[at + 1..] {
                let product = (a.test().0 - b.test().0) * (of_a.test - of_b.test);
                if product != 0.0 {
                    pairs[usize::from(product > 0.0)] += 1;
                }
            }
        }
        let [other, same] = pairs;
        Some(format!(
            "The {} rows with a published accuracy have {} here on average and {} there; {} of the \
             published ones lie in the row's 95 % interval. Two by two, the published order holds \
             for {same} of {} pairs (by chance alone, for half of them).",
            known.len(),
            percent(ours),
            percent(theirs),
            known.iter().filter(within).count(),
            same + other,
        ))
    }

    /// The best run by test accuracy, and the one that validation would have chosen.
    fn note_on_choice(&self) -> Option<String> {
        let runs = || self.settings.iter().flat_map(|setting| &setting.done);
        let scores = |member: &Member| *member.entry.record.outcome.scores().expect("it is done");
        let by = |of: &dyn Fn(&Scores) -> f64| {
            // The first of equal ones, by name, as a ranking has it.
            runs().min_by(|a, b| {
                let (of_a, of_b) = (of(&scores(a)), of(&scores(b)));
                of_b.total_cmp(&of_a).then_with(|| a.entry.run.cmp(&b.entry.run))
            })
        };
        let (best, chosen) =
            (by(&|scores| scores.test.accuracy)?, by(&|scores| scores.validation.accuracy)?);
        let of_chosen = scores(chosen);
        let published = self.reference.as_ref().and_then(Reference::best_validation);
        let published = published
            .map(|validation| format!(" (published: {} at best)", percent(validation)))
            .unwrap_or_default();
        let on_test = if chosen.entry.run == best.entry.run {
            "which is the best there".to_string()
        } else {
            format!(
                "where the best, which no honest choice can know, is `{}` with {}",
                best.entry.run,
                percent(scores(best).test.accuracy)
            )
        };
        Some(format!(
            "Of all {}, validation accuracy chooses `{}`: {} on the validation set{published}, {} on the \
             test set, {on_test}.",
            counted(runs().count(), "run"),
            chosen.entry.run,
            percent(of_chosen.validation.accuracy),
            percent(of_chosen.test.accuracy),
        ))
    }
}

fn runs_of(setting: &Setting) -> String {
    let (done, all) = (setting.done.len(), setting.done.len() + setting.diverged + setting.failed);
    let mut text = if done == all { done.to_string() } else { format!("{done} of {all}") };
    for (count, what) in [(setting.diverged, "diverged"), (setting.failed, "failed")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

fn with_deviation((mean, std): (f64, Option<f64>)) -> String {
    match std {
        Some(std) => format!("{:.2} ± {:.2} %", 100.0 * mean, 100.0 * std),
        None => percent(mean),
    }
}

/// The point below which Student's t with so many degrees of freedom lies with this probability.
fn t_quantile(probability: f64, free: f64) -> f64 {
    let t = StudentsT::new(0.0, 1.0, free.clamp(1.0, MANY)).expect("degrees of freedom");
    t.inverse_cdf(probability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::hyperparams::Hyperparams;
    use crate::train::outcome::{Record, Score};

    /// A run whose model recognises the first so many of 100 images, and then those of a step.
    fn member(learning_rate: f64, seed: u64, hits: &[bool]) -> Member {
        let right = hits.iter().filter(|hit| **hit).count() as f64;
        let score = |accuracy| Score { loss: 1.0, accuracy };
        let outcome = Outcome::Done(Scores {
            best_epoch: 1,
            train: score(0.5),
            validation: score(0.25 + learning_rate),
            test: score(right / hits.len() as f64),
            test_images: hits.len(),
        });
        let values = Hyperparams { learning_rate, seed, ..Hyperparams::default() };
        let values = values.check().unwrap();
        let record = Record { values, outcome, seconds: 1.0, provenance: Vec::new() };
        let entry = Entry { run: format!("lr{learning_rate}_seed{seed}"), record };
        Member { entry, hits: Some(hits.to_vec()) }
    }

    fn first(count: usize) -> Vec<bool> {
        (0..100).map(|image| image < count).collect()
    }

    fn compared(members: Vec<Member>, reference: Option<Reference>) -> Comparison {
        let values: Vec<_> = members.iter().map(|it| it.entry.record.values.clone()).collect();
        let columns = Columns::new(values.iter().map(|values| &**values), &[]);
        Comparison::new(members, &columns, None, reference)
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }

    #[test]
    fn single_runs_differ_by_the_images_that_one_alone_recognises() {
        let members = vec![member(0.1, 0, &first(50)), member(0.2, 0, &first(60))];
        let comparison = compared(members, None);
        assert_eq!(comparison.settings[0].cells[0], "0.2");
        // Ten images of a hundred: the sample variance is (10·0.9² + 90·0.1²)/99.
        let half = 1.959_964 * ((8.1 + 0.9) / 99.0 / 100.0_f64).sqrt();
        let found = comparison.settings[1].difference.unwrap();
        near(found.mean, -0.1);
        near(found.low, -0.1 - half);
        near(found.high, -0.1 + half);
        assert!(found.is_seen() && comparison.settings[0].difference.is_none());
        let text = comparison.describe();
        assert!(text.contains("every row can be told from row 1"), "{text}");
        assert!(text.contains("as each setting has one run"), "{text}");
    }

    #[test]
    fn seeds_widen_the_interval_of_a_difference() {
        // 60 and 50 right against 52 and 48; what they differ in is the seeds' doing.
        let members = vec![
            member(0.2, 0, &first(60)),
            member(0.2, 1, &first(50)),
            member(0.1, 0, &first(52)),
            member(0.1, 1, &first(48)),
        ];
        let comparison = compared(members, None);
        // Sample variances 0.005 and 0.0008, together 0.0029 with 2 degrees of freedom.
        let over_seeds = 0.0029 * (0.5 + 0.5);
        // Image 48 and 49: 1 − 0.5; 50 and 51: 0.5 − 0.5; 52 to 59: 0.5 − 0; the others 0.
        let over_images = (10.0 * 0.25 - 100.0 * 0.05 * 0.05) / 99.0 / 100.0;
        let variance: f64 = over_seeds + over_images;
        let free = 2.0 * (variance / over_seeds).powi(2);
        let found = comparison.settings[1].difference.unwrap();
        near(found.mean, -0.05);
        near(found.high - found.mean, t_quantile(0.975, free) * variance.sqrt());
        assert!(!found.is_seen());
        let text = comparison.describe();
        assert!(text.contains("no row can be told from row 1"), "{text}");
        assert!(text.contains("55.00 ± 7.07 %"), "{text}");
    }

    #[test]
    fn student_s_t_matches_published_values() {
        for (free, expected) in [(1.0, 12.7062), (4.0, 2.7764), (20.0, 2.0860), (1e9, 1.9600)] {
            assert!((t_quantile(0.975, free) - expected).abs() < 1e-3, "{free}");
        }
    }

    #[test]
    fn a_setting_whose_models_are_gone_has_no_difference_and_a_diverged_run_no_accuracy() {
        let gone = Member { hits: None, ..member(0.1, 0, &first(50)) };
        let mut diverged = member(0.2, 1, &first(9));
        diverged.entry.record.outcome = Outcome::Diverged { epoch: 3 };
        let mut lost = member(0.4, 0, &first(9));
        lost.entry.record.outcome = Outcome::Diverged { epoch: 3 };
        let comparison = compared(vec![lost, diverged, gone, member(0.2, 0, &first(60))], None);
        assert!(comparison.lacks_differences());
        let runs: Vec<String> = comparison.settings.iter().map(runs_of).collect();
        assert_eq!(runs, ["1 of 2, 1 diverged", "1", "0 of 1, 1 diverged"]);
        let csv = String::from_utf8(comparison.csv()).unwrap();
        let columns = |line: &str| line.split(',').count();
        assert!(csv.lines().all(|line| columns(line) == columns(csv.lines().next().unwrap())));
    }

    #[test]
    fn published_rows_are_found_by_their_values_and_held_against_the_order_here() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("published.csv");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(
            "rank,learning_rate,hidden_1,test_accuracy,validation_accuracy\n\
               9,0.10,500,0.7,\n9,0.2,500,0.6,0.61\n9,0.3,500,0.7,0.5\n9,0.1,400,0.9,0.1\n",
        );
        let reference = Reference::read(&path).unwrap();
        let members = [0.1, 0.2, 0.3].map(|rate| member(rate, 0, &first((100.0 * rate) as usize)));
        let comparison = compared(members.to_vec(), Some(reference));
        let ranks = comparison.settings.iter().map(|setting| setting.published.unwrap().rank);
        assert_eq!(ranks.collect::<Vec<_>>(), [2, 4, 2]);
        let text = comparison.describe();
        let order = "the published order holds for 1 of 2 pairs";
        assert!(text.contains(order), "{text}");
        assert!(
            text.contains("55.00 % on the validation set (published: 61.00 % at best)"),
            "{text}"
        );
        for (text, problem) in [
            ("learning_rate,accuracy\n0.1,0.5\n", "1: found the columns learning_rate,accuracy"),
            ("test_accuracy\n0.5\n", "1: found the columns test_accuracy, expected columns of"),
            ("learning_rate,test_accuracy\n0.1,0.5\n0.2,89.8\n", "3: found test_accuracy = 89.8"),
            ("learning_rate,test_accuracy\n0.1\n", "2: found another line, expected a row"),
        ] {
            write(text);
            let found = Reference::read(&path).unwrap_err().to_string();
            assert!(found.contains(problem), "{found}");
        }
    }
}
