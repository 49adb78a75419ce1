//! Settings against each other over their seeds, and against accuracies published elsewhere.
//!
//! Two settings are told apart by the same test images: for each image, the share of one setting's
//! runs that recognise it minus that of the other's. The variance of the mean difference is that
//! over the images, plus that over the seeds, which all settings estimate together.

use std::collections::HashMap;
use std::path::Path;

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::data::file;
use crate::error::{Error, Place, Result, counted};
use crate::results::ranking::{Columns, mean_and_std, title, wilson_interval};
use crate::results::tables::{self, percent};
use crate::text::in_markdown;
use crate::train::hyperparams::{Hyperparams, KEYS};
use crate::train::outcome::{Outcome, Record, Scores};
use crate::train::provenance::{Provenance, mixed};

/// How often, at most, one of all the intervals of a table misses: 5 %.
const MISSES: f64 = 0.05;
/// The largest CSV of accuracies that is read: the ranking of a million runs.
const MAX_REFERENCE: u64 = 512 << 20;
/// What a narrow terminal can do without, the least important first.
const LEAST: [&str; 6] =
    ["Published rank", "Range", "Validation accuracy", "95 % interval", "Published", "Runs"];
/// Degrees of freedom from which on Student's t is a normal distribution.
const MANY: f64 = 1e6;

/// A run to be compared.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, values and outcome.
    pub record: Record,
    /// Whether its model recognises each test image, where that is known.
    pub hits: Option<Vec<bool>>,
    /// The validation accuracy that it ended with, where its curve is there.
    pub last_validation: Option<f64>,
}

impl Member {
    fn scores(&self) -> &Scores {
        self.record.outcome.scores().expect("it is done")
    }

    /// Whether training went wrong after the model was taken: at the end, validation errs more than
    /// twice as often as at its best.
    fn has_broken_down(&self) -> bool {
        let best = 1.0 - self.scores().validation.accuracy;
        self.last_validation.is_some_and(|last| 1.0 - last > 2.0 * best)
    }
}

/// Accuracies that stand elsewhere, each for the values that its rows name.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    keys: Vec<String>,
    rows: Vec<(Vec<String>, Published)>,
}

/// What was published of a setting, as fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Published {
    test: f64,
    validation: Option<f64>,
    rank: usize, // by test accuracy, from 1; equal ones share the lower number
}

impl Reference {
    /// Reads a CSV with columns of `ranking.csv`: some hyper-parameters, `test_accuracy`, and
    /// `validation_accuracy` if it is known. Rows that differ in their seed are one, with their mean;
    /// rows without a test accuracy and other columns are passed over.
    ///
    /// # Errors
    /// Where the file cannot be read, a column is missing, or a number is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read(path, "a CSV", MAX_REFERENCE)?;
        let mut csv = csv::Reader::from_reader(&text[..]);
        let at = |line| Place::Line(path.to_path_buf(), line);
        let torn = |line| Error::unexpected(at(line), "another line", "a row of the CSV");
        let header = csv.headers().map_err(|_| torn(1))?.clone();
        let column = |name: &str| header.iter().position(|other| other == name);
        let is_repeated = |(at, name): &(usize, &str)| column(name) != Some(*at);
        if let Some((_, name)) = header.iter().enumerate().find(is_repeated) {
            return Err(Error::unexpected(at(1), format!("two columns `{name}`"), "each once"));
        }
        let is_key =
            |name: &&str| *name != SEED && cell_of(&Hyperparams::default(), name).is_some();
        let keys: Vec<String> = header.iter().filter(is_key).map(String::from).collect();
        let (Some(test), false) = (column("test_accuracy"), keys.is_empty()) else {
            let names = format!("the columns {}", header.iter().collect::<Vec<_>>().join(","));
            let wanted = "columns of ranking.csv: some hyper-parameters and test_accuracy";
            return Err(Error::unexpected(at(1), names, wanted));
        };
        let validation = column("validation_accuracy");
        let mut order: Vec<Vec<String>> = Vec::new();
        let mut found: HashMap<Vec<String>, Vec<(f64, Option<f64>)>> = HashMap::new();
        for (line, record) in (2..).zip(csv.records()) {
            let record = record.map_err(|_| torn(line))?;
            let fraction = |column: usize| -> Result<Option<f64>> {
                if record[column].is_empty() {
                    return Ok(None);
                }
                let number = record[column].parse().ok();
                let number = number.filter(|number| (0.0..=1.0).contains(number));
                number.map(Some).ok_or_else(|| {
                    let found = format!("{} = {}", &header[column], &record[column]);
                    Error::unexpected(at(line), found, "a fraction from 0 to 1")
                })
            };
            let Some(test) = fraction(test)? else { continue };
            let known = validation.map(fraction).transpose()?.flatten();
            let cells: Vec<String> = keys
                .iter()
                .map(|name| record[column(name).expect("a key's")].to_string())
                .collect();
            let of_setting = found.entry(cells).or_insert_with_key(|cells| {
                order.push(cells.clone());
                Vec::new()
            });
            of_setting.push((test, known));
        }
        let published = |cells: Vec<String>| {
            let rows = &found[&cells];
            let test = rows.iter().map(|row| row.0).sum::<f64>() / rows.len() as f64;
            let validation = rows.iter().filter_map(|row| row.1).max_by(f64::total_cmp);
            (cells, Published { test, validation, rank: 0 })
        };
        let mut rows: Vec<(Vec<String>, Published)> = order.into_iter().map(published).collect();
        let all: Vec<f64> = rows.iter().map(|(_, published)| published.test).collect();
        for (_, published) in &mut rows {
            published.rank = 1 + all.iter().filter(|&&other| other > published.test).count();
        }
        Ok(Self { keys, rows })
    }

    /// What was published of a run with these values.
    fn of(&self, values: &Hyperparams) -> Option<Published> {
        let same = |(name, text): (&String, &String)| {
            let cell = cell_of(values, name).expect("a key");
            match (cell.parse::<f64>(), text.parse::<f64>()) {
                (Ok(cell), Ok(text)) => cell == text,
                _ => cell == *text,
            }
        };
        let row = self.rows.iter().find(|(cells, _)| self.keys.iter().zip(cells).all(same));
        row.map(|(_, published)| *published)
    }

    /// Whether any of these values are in it.
    pub fn knows<'a>(&self, mut values: impl Iterator<Item = &'a Hyperparams>) -> bool {
        values.any(|values| self.of(values).is_some())
    }

    /// The highest validation accuracy that was published.
    fn best_validation(&self) -> Option<f64> {
        self.rows.iter().filter_map(|(_, published)| published.validation).max_by(f64::total_cmp)
    }
}

/// What a column of `ranking.csv` says of a run's values; empty for a layer that it has not, `None` if
/// the column is none of theirs.
fn cell_of(values: &Hyperparams, name: &str) -> Option<String> {
    if let Some(layer) = name.strip_prefix("hidden_") {
        let place = layer.parse::<usize>().ok()?.checked_sub(1)?;
        return Some(values.hidden.get(place).map(ToString::to_string).unwrap_or_default());
    }
    let key = KEYS.iter().find(|key| key.name == name && !key.is_layers())?;
    Some(key.get(values).to_string())
}

/// Runs that differ in this alone repeat one setting.
const SEED: &str = "seed";

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
        self.done.iter().map(Member::scores)
    }

    fn test(&self) -> (f64, Option<f64>) {
        mean_and_std(self.scores().map(|scores| scores.test.accuracy))
    }

    fn validation(&self) -> (f64, Option<f64>) {
        mean_and_std(self.scores().map(|scores| scores.validation.accuracy))
    }

    fn broken_down(&self) -> usize {
        self.done.iter().filter(|member| member.has_broken_down()).count()
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

    /// The variance of a share that stems from the runs: another one would recognise other images.
    /// Of a single run it cannot be told from that over images.
    fn run_noise(&self, shares: &[f64]) -> f64 {
        let spread: f64 = shares.iter().map(|share| share * (1.0 - share)).sum();
        match self.done.len() {
            0 | 1 => 0.0,
            runs => spread / shares.len() as f64 / (runs - 1) as f64,
        }
    }
}

/// A setting as a figure shows it; accuracies on the test set, as fractions.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingRow {
    /// Its values in the columns in which settings differ, and how many runs diverged, failed or
    /// broke down.
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
    provenances: Vec<Provenance>, // of all runs
    settings: Vec<Setting>,
    baseline: usize,
    reference: Option<Reference>,
}

impl Comparison {
    /// Groups runs into settings; differences are to the setting of the run `baseline`, which is
    /// among them, else to the best whose runs all have predictions.
    pub fn new(
        members: Vec<Member>,
        columns: &Columns,
        baseline: Option<&Record>,
        reference: Option<Reference>,
    ) -> Self {
        let columns = columns.without(&[SEED]);
        let names = columns.names();
        let cells_of = |record: &Record| columns.cells(&record.values);
        let baseline = baseline.map(cells_of);
        let provenances = members.iter().map(|member| member.record.provenance.clone()).collect();
        let mut place_of: HashMap<Vec<String>, usize> = HashMap::new();
        let mut settings: Vec<Setting> = Vec::new();
        for member in members {
            let cells = cells_of(&member.record);
            let place = *place_of.entry(cells.clone()).or_insert(settings.len());
            if place == settings.len() {
                let values = &member.record.values;
                let published = reference.as_ref().and_then(|known| known.of(values));
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
            match member.record.outcome {
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
        let chosen = settings.iter().position(is_baseline);
        let can_be_asked = |setting: &Setting| setting.shares().is_some();
        let best = settings.iter().position(can_be_asked);
        let baseline = chosen.or(best).unwrap_or(0);
        let mut comparison = Self { names, provenances, settings, baseline, reference };
        comparison.measure_differences(chosen.is_none());
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

    /// Measures every setting against the baseline. If that is the best of them, it was chosen after
    /// the fact, and all pairs of settings have been compared.
    fn measure_differences(&mut self, baseline_is_best: bool) {
        let shares: Vec<Option<Vec<f64>>> = self.settings.iter().map(Setting::shares).collect();
        let count = shares.iter().flatten().count();
        let comparisons = if baseline_is_best {
            count * count.saturating_sub(1) / 2
        } else {
            count.saturating_sub(1)
        };
        let Some(of_baseline) = shares.get(self.baseline).and_then(Option::as_ref) else { return };
        let (seed_variance, free) = self.seed_variance();
        let baseline = &self.settings[self.baseline];
        let runs_of_baseline = baseline.done.len() as f64;
        let noise_of_baseline = baseline.run_noise(of_baseline);
        for (place, (setting, shares)) in self.settings.iter_mut().zip(&shares).enumerate() {
            let Some(shares) = shares.as_ref().filter(|_| place != self.baseline) else { continue };
            let differences = shares.iter().zip(of_baseline).map(|(share, of_it)| share - of_it);
            let (mean, std) = mean_and_std(differences.collect::<Vec<_>>().into_iter());
            // What the runs add to it is that of the seeds, and counted there.
            let noise = setting.run_noise(shares) + noise_of_baseline;
            let of_an_image = (std.unwrap_or(0.0).powi(2) - noise).max(0.0);
            let over_images = of_an_image / shares.len() as f64;
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
            let lost = setting.broken_down() + setting.diverged + setting.failed;
            let all = setting.done.len() + setting.diverged + setting.failed;
            let lost = if lost > 0 { format!(" ({lost} of {all} lost)") } else { String::new() };
            SettingRow {
                name: cells.join(" · ") + &lost,
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
                "broken_down",
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
            let counts =
                [setting.done.len(), setting.broken_down(), setting.diverged, setting.failed];
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
        let notes = self.notes().into_iter().map(|note| in_markdown(&note));
        std::iter::once(table).chain(notes).collect::<Vec<_>>().join("\n\n") + "\n"
    }

    /// The same for the terminal, of `width` columns if it is known.
    pub fn describe(&self, width: Option<usize>) -> String {
        let (header, rows) = self.table("\n");
        [tables::fitting(&header, &rows, width, &LEAST), tables::lines(&self.notes())].join("\n\n")
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
        let mixed = mixed(self.provenances.iter(), None);
        notes.extend(mixed.iter().map(|text| tables::sentence(text)));
        notes
    }

    fn note_on_columns(&self) -> Option<String> {
        let first = self.settings.first()?;
        let varying = self.varying();
        let same = (0..self.names.len()).filter(|column| !varying.contains(column));
        let same: Vec<String> = same
            .map(|column| format!("{} {}", title(&self.names[column], " "), first.cells[column]))
            .collect();
        let has_several = self.settings.iter().any(|setting| setting.done.len() > 1);
        let several =
            "Accuracies are means over runs with other seeds, ± is their standard deviation; ";
        let mut note = if has_several { several.to_string() } else { String::new() };
        note += if has_several { "the" } else { "The" };
        note += " 95 % interval is Wilson's for one run on as many test images.";
        if self.settings.iter().any(|setting| setting.broken_down() > 0) {
            note += " A run broke down if at its end validation errs more than twice as often as with \
                     the weights that it is judged by.";
        }
        if !same.is_empty() {
            note = format!("{note} The same in all rows: {}.", same.join(", "));
        }
        Some(note)
    }

    fn note_on_differences(&self) -> Option<String> {
        let rows = |wanted: Option<bool>| {
            let is_wanted = |(place, setting): &(usize, &Setting)| {
                *place != self.baseline && setting.difference.map(|it| it.is_seen()) == wanted
            };
            let found = self.settings.iter().enumerate().filter(is_wanted);
            found.map(|(place, _)| (place + 1).to_string()).collect::<Vec<String>>()
        };
        let (apart, alike, unknown) = (rows(Some(true)), rows(Some(false)), rows(None));
        if apart.is_empty() && alike.is_empty() {
            return None;
        }
        let listed = |rows: &[String]| {
            format!("row{} {}", if rows.len() == 1 { "" } else { "s" }, rows.join(", "))
        };
        let first = format!("row {}", self.baseline + 1);
        let mut verdict = match (&apart[..], &alike[..]) {
            ([], _) if unknown.is_empty() => format!("no row can be told from {first}"),
            (_, []) if unknown.is_empty() => format!("every row can be told from {first}"),
            ([], alike) => format!("{} cannot be told from {first}", listed(alike)),
            (apart, []) => format!("{} can be told from {first}", listed(apart)),
            (apart, alike) => {
                format!("{} can be told from {first}, {} cannot", listed(apart), listed(alike))
            }
        };
        if !unknown.is_empty() {
            verdict += &format!("; there are no test predictions for {}", listed(&unknown));
        }
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
        let count = known.len() as f64;
        if known.len() < 2 {
            return None;
        }
        let ours = known.iter().map(|(setting, _)| setting.test().0).sum::<f64>() / count;
        let theirs = known.iter().map(|(_, published)| published.test).sum::<f64>() / count;
        let mut note = format!(
            "The {} rows with a published accuracy have {} here on average and {} there",
            known.len(),
            percent(ours),
            percent(theirs),
        );
        let (seed_variance, free) = self.seed_variance();
        if free > 0.0 {
            // On the same test images, one more run differs from the mean of others by its seed.
            let within = |(setting, published): &&(&Setting, Published)| {
                let variance = seed_variance * (1.0 + 1.0 / setting.done.len() as f64);
                let half = t_quantile(1.0 - MISSES / 2.0, free) * variance.sqrt();
                (setting.test().0 - published.test).abs() <= half
            };
            note += &format!(
                "; {} of the published ones lie where another seed's run would here, with 95 %",
                known.iter().filter(within).count()
            );
        }
        let mut pairs = [0_usize; 2]; // in another order, in the same
        for (at, (a, of_a)) in known.iter().enumerate() {
            for (b, of_b) in &known[at + 1..] {
                let product = (a.test().0 - b.test().0) * (of_a.test - of_b.test);
                if product != 0.0 {
                    pairs[usize::from(product > 0.0)] += 1;
                }
            }
        }
        let all = pairs[0] + pairs[1];
        // Kendall's test: the variance of how many more pairs have one order than the other.
        let spread = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let half = t_quantile(1.0 - MISSES / 2.0, MANY) * spread / 2.0;
        Some(format!(
            "{note}. Two by two, the published order holds for {} of {all} pairs; by chance alone, it \
             would for {:.0} ± {half:.0} (95 %).",
            pairs[1],
            all as f64 / 2.0,
        ))
    }

    /// The best run by test accuracy, and the one that validation would have chosen.
    fn note_on_choice(&self) -> Option<String> {
        let runs: Vec<&Member> = self.settings.iter().flat_map(|setting| &setting.done).collect();
        let by = |of: fn(&Scores) -> f64| {
            // The first of equal ones, by name, as a ranking has it.
            runs.iter().copied().min_by(|a, b| {
                let (of_a, of_b) = (of(a.scores()), of(b.scores()));
                of_b.total_cmp(&of_a).then_with(|| a.record.run.cmp(&b.record.run))
            })
        };
        let best = by(|scores| scores.test.accuracy)?;
        let chosen = by(|scores| scores.validation.accuracy)?;
        let set = |member: &Member| {
            let values = &member.record.values;
            (values.data_seed, values.validation_size)
        };
        // Accuracies on other validation sets say nothing of each other.
        if runs.len() == 1 || runs.iter().any(|member| set(member) != set(chosen)) {
            return None;
        }
        let published = self.reference.as_ref().and_then(Reference::best_validation);
        let published = published
            .map(|validation| format!(" (published: {} at best)", percent(validation)))
            .unwrap_or_default();
        let on_test = if std::ptr::eq(chosen, best) {
            "which is the best there".to_string()
        } else {
            format!(
                "where the best, which no honest choice can know, is `{}` with {}",
                best.record.run,
                percent(best.scores().test.accuracy)
            )
        };
        Some(format!(
            "Of all {}, validation accuracy chooses `{}`: {} on the validation set{published}, {} on the \
             test set, {on_test}.",
            counted(runs.len(), "run"),
            chosen.record.run,
            percent(chosen.scores().validation.accuracy),
            percent(chosen.scores().test.accuracy),
        ))
    }
}

fn runs_of(setting: &Setting) -> String {
    let (done, all) = (setting.done.len(), setting.done.len() + setting.diverged + setting.failed);
    let mut text = if done == all { done.to_string() } else { format!("{done} of {all}") };
    let broken_down = setting.broken_down();
    for (count, what) in
        [(broken_down, "broke down"), (setting.diverged, "diverged"), (setting.failed, "failed")]
    {
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
    use crate::train::outcome::Score;

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
        let (run, provenance) = (format!("lr{learning_rate}_seed{seed}"), Provenance::default());
        let record = Record { run, values, outcome, seconds: 1.0, provenance };
        Member { record, hits: Some(hits.to_vec()), last_validation: None }
    }

    fn first(count: usize) -> Vec<bool> {
        (0..100).map(|image| image < count).collect()
    }

    fn compared(members: Vec<Member>, reference: Option<Reference>) -> Comparison {
        let values: Vec<_> = members.iter().map(|it| it.record.values.clone()).collect();
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
        let text = comparison.describe(None);
        assert!(text.contains("every row can be told from row 1"), "{text}");
        assert!(text.contains("as each setting has one run"), "{text}");
    }

    #[test]
    fn seeds_widen_the_interval_of_a_difference() {
        // Three settings: 60 and 50 right, 52 and 48, and 40 in a single run.
        let members = vec![
            member(0.2, 0, &first(60)),
            member(0.2, 1, &first(50)),
            member(0.1, 0, &first(52)),
            member(0.1, 1, &first(48)),
            member(0.4, 0, &first(40)),
        ];
        // Sample variances 0.005 and 0.0008, together 0.0029 with 2 degrees of freedom.
        let half = |of_an_image: f64, over_seeds: f64, comparisons: f64| {
            let variance = over_seeds + of_an_image / 100.0;
            let free = 2.0 * (variance / over_seeds).powi(2);
            t_quantile(1.0 - 0.025 / comparisons, free) * variance.sqrt()
        };
        // Shares differ by 0.5 for images 48, 49 and 52 to 59. Those of the first setting are ½ for ten
        // images, of the second for four: noise of (10 + 4)·¼/100.
        let second: f64 = (10.0 * 0.25 - 100.0 * 0.05 * 0.05) / 99.0 - 0.035;
        // By 1 for images 40 to 49, by 0.5 for 50 to 59.
        let third = (10.0 + 10.0 * 0.25 - 100.0 * 0.15 * 0.15) / 99.0 - 0.025;
        let comparison = compared(members.clone(), None);
        let found: Vec<Difference> =
            comparison.settings[1..].iter().map(|setting| setting.difference.unwrap()).collect();
        // The best was chosen after the fact: three pairs.
        near(found[0].mean, -0.05);
        near(found[0].high - found[0].mean, half(second.max(0.0), 0.0029 * (0.5 + 0.5), 3.0));
        near(found[1].mean, -0.15);
        near(found[1].mean - found[1].low, half(third, 0.0029 * (0.5 + 1.0), 3.0));
        assert!(!found[0].is_seen());
        let text = comparison.describe(None);
        assert!(text.contains("no row can be told from row 1"), "{text}");
        assert!(text.contains("55.00 ± 7.07 %"), "{text}");

        // A baseline of one's own: two pairs, and the other direction.
        let baseline = members[2].record.clone();
        let values: Vec<_> = members.iter().map(|it| it.record.values.clone()).collect();
        let columns = Columns::new(values.iter().map(|values| &**values), &[]);
        let comparison = Comparison::new(members, &columns, Some(&baseline), None);
        let found = comparison.settings[0].difference.unwrap();
        near(found.mean, 0.05);
        near(found.high - found.mean, half(second.max(0.0), 0.0029, 2.0));
        assert!(comparison.settings[1].difference.is_none());
    }

    #[test]
    fn a_run_whose_end_is_far_worse_than_its_best_has_broken_down() {
        let broken = |last| {
            let mut run = member(0.7, 0, &first(60)); // 95 % of the validation set at its best
            run.last_validation = last;
            runs_of(&compared(vec![run], None).settings[0])
        };
        assert_eq!(broken(None), "1");
        assert_eq!(broken(Some(0.91)), "1");
        assert_eq!(broken(Some(0.89)), "1, 1 broke down");
    }

    #[test]
    fn other_data_seeds_are_other_settings_and_choose_nothing() {
        let mut other = member(0.2, 0, &first(50));
        let values = Hyperparams { data_seed: 3, ..(*other.record.values).clone() };
        other.record.values = values.check().unwrap();
        let comparison = compared(vec![member(0.2, 0, &first(60)), other], None);
        let text = comparison.describe(None);
        assert_eq!(comparison.columns_shown(), ["data seed"]);
        assert!(!text.contains("validation accuracy chooses"), "{text}");
    }

    #[test]
    fn student_s_t_matches_published_values() {
        for (free, expected) in [(1.0, 12.7062), (4.0, 2.7764), (20.0, 2.0860), (1e9, 1.9600)] {
            assert!((t_quantile(0.975, free) - expected).abs() < 1e-3, "{free}");
        }
    }

    #[test]
    fn a_setting_without_predictions_has_no_difference_and_a_diverged_run_no_accuracy() {
        let gone = Member { hits: None, ..member(0.1, 0, &first(50)) };
        let mut diverged = member(0.2, 1, &first(9));
        diverged.record.outcome = Outcome::Diverged { epoch: 3 };
        let mut lost = member(0.4, 0, &first(9));
        lost.record.outcome = Outcome::Diverged { epoch: 3 };
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
        let text = comparison.describe(None);
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
