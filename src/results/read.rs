//! Reads what runs have left, and checks that it belongs to them: the same for every command.
//!
//! What does not belong or is damaged in a results folder is left out, with a sentence; what a user
//! names by itself and cannot be used is an error. Records are always read; a curve or a model is read
//! and checked where it is needed (`docs/reliability.md`).

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::{Builder, ScopedJoinHandle, available_parallelism, scope};
use std::{fs, io};

use crate::error::{Error, Place, Result, counted};
use crate::grid::growth::placed;
use crate::grid::names::RUNS;
use crate::grid::range::Range;
use crate::grid::run_folder::{has_record, model_of, read_run, run_folder, run_record};
use crate::grid::space::{Grid, Run, spelled};
use crate::grid::store::{is_grid, read_grid};
use crate::results::columns::Columns;
use crate::results::ranking::{By, Ranking};
use crate::train::checked::Checked;
use crate::train::model::Model;
use crate::train::outcome::{REMOVE_RUN, Record};
use crate::train::provenance::{Provenance, mixed};

/// What to do about results that do not go together.
const SEPARATELY: &str = "name their folders in separate commands";
/// Fewer runs than this are read by one thread.
const FEWEST_TO_SHARE: usize = 1000;

/// What results folders and folders of single runs hold together.
#[derive(Debug, Default, PartialEq)]
pub struct Results {
    /// The results folders among them, in their order.
    pub grids: Vec<GridFolder>,
    /// The values of all runs, ended or not, each once.
    pub planned: Vec<Checked>,
    /// The runs that have ended, each once.
    pub ended: Vec<Ended>,
    /// The runs that halving has stopped, or that wait at a rung, each once.
    pub stopped: Vec<Ended>,
    /// What was left out because it is damaged or does not belong, a sentence each.
    pub left_out: Vec<String>,
    /// What else a reader should know, a sentence each.
    pub notes: Vec<String>,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its name, with its results folder where there are several.
    pub label: String,
    /// Its own folder.
    pub folder: PathBuf,
    /// Its record.
    pub record: Record,
}

/// A results folder.
#[derive(Debug, PartialEq)]
pub struct GridFolder {
    /// Where it is.
    pub path: PathBuf,
    /// As it was started.
    pub grid: Grid,
    /// Its runs, in the grid's order.
    pub runs: Vec<Run>,
    /// The indices of those that have no record that can be used.
    pub missing: Vec<usize>,
}

impl Results {
    /// Reads folders. The same run in several of them counts once; where it has several results
    /// because the program or its kernels differ, the first counts.
    ///
    /// # Errors
    /// Where a folder is none of results, where folders are of different data, or where a run has two
    /// results although nothing explains it.
    pub fn read(folders: &[PathBuf]) -> Result<Self> {
        let mut results = Self::default();
        let mut read = Vec::new();
        let mut planned = HashSet::new();
        let mut is_new = |values: &&Checked| planned.insert(spelled(values));
        for folder in folders {
            let several = Some(folder.display().to_string()).filter(|_| folders.len() > 1);
            refuse_file(folder)?;
            let Some(grid) = read_grid(folder)? else {
                let record = read_single(folder)?;
                results.planned.extend([&record.values].into_iter().filter(&mut is_new).cloned());
                let label = several.unwrap_or_else(|| record.run.clone());
                read.push(Ended { label, folder: folder.clone(), record });
                continue;
            };
            let runs = placed(folder, grid.runs()?);
            let values = runs.iter().map(|run| &run.values);
            results.planned.extend(values.filter(&mut is_new).cloned());
            let (records, left_out) = read_records(folder, &runs)?;
            results.left_out.extend(left_out);
            let missing = (0..runs.len()).filter(|&index| records[index].is_none()).collect();
            read.extend(records.into_iter().flatten().map(|record| {
                let (name, folder) = (&record.run, run_folder(folder, &record.run));
                let label = several.as_ref().map_or(name.clone(), |root| format!("{root}/{name}"));
                Ended { label, folder, record }
            }));
            results.grids.push(GridFolder { path: folder.clone(), grid, runs, missing });
        }
        refuse_several_data(&read)?;
        results.merge(read)?;
        Ok(results)
    }

    /// Keeps each run once.
    fn merge(&mut self, read: Vec<Ended>) -> Result<()> {
        let mut index_of = HashMap::new();
        let mut twins = Vec::new();
        for run in read {
            let init = run.record.provenance.init().map(String::from);
            let key = (spelled(&run.record.values), init);
            let index = *index_of.entry(key).or_insert(self.ended.len());
            let Some(first) = self.ended.get(index) else {
                self.ended.push(run);
                continue;
            };
            let (ours, theirs) = (&first.record, &run.record);
            if !(ours.outcome.is_end() && theirs.outcome.is_end()) {
                // It can be trained further, so it is no result.
                let progress = |of: &Record| {
                    (of.outcome.is_end(), of.outcome.epochs_trained(of.values.epochs))
                };
                if progress(theirs) > progress(ours) {
                    self.ended[index] = run;
                }
                continue;
            }
            let Some(difference) = theirs.difference(ours) else { continue };
            let because = mixed([&ours.provenance, &theirs.provenance].into_iter(), None);
            if because.is_empty() {
                let first = first.folder.display();
                let problem = format!(
                    "has a different result from {first} for the same values: {difference}"
                );
                return Err(Error::input(Place::file(&run.folder), problem).hint(SEPARATELY));
            }
            let (first, second) = (first.folder.display(), run.folder.display());
            let because = because.join(", and ");
            twins.push(format!("{first}, not {second} ({difference}): {because}"));
        }
        if let Some(example) = twins.first() {
            let runs = counted(twins.len(), "run");
            self.notes.push(format!("the first of two results is used for {runs}: {example}"));
        }
        let is_stopped = |it: &mut Ended| it.record.outcome.is_stopped();
        self.stopped = self.ended.extract_if(.., is_stopped).collect();
        if !self.stopped.is_empty() {
            let runs = counted(self.stopped.len(), "run");
            self.notes.push(format!(
                "{runs} stopped by halving or waiting at a rung, without a test accuracy; `rookie grid` \
                 with --no-halving trains them to their ends"
            ));
        }
        Ok(())
    }

    /// The runs that have ended, best first, and those that were stopped, under their labels.
    pub fn ranking(&self, by: By) -> Ranking {
        let labelled = |it: &Ended| Record { run: it.label.clone(), ..it.record.clone() };
        let mut columns = self.columns().with_kinds(self.all().map(|it| &it.record));
        if self.all().any(|it| it.label != it.record.run) {
            columns = columns.with_run();
        }
        Ranking::new(self.all().map(labelled).collect(), columns, by)
    }

    /// What the first of the runs came from.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.all().next().map(|it| &it.record.provenance)
    }

    /// The folder of each run, by its label.
    pub fn folders(&self) -> HashMap<&str, &Path> {
        self.all().map(|it| (&it.label[..], &*it.folder)).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Ended> + Clone {
        self.ended.iter().chain(&self.stopped)
    }

    /// The ranges that searches among the grids have drawn from, each with the column of its values.
    pub fn ranges(&self) -> Vec<(String, Range)> {
        self.grids.iter().flat_map(|it| it.grid.ranges()).collect()
    }

    /// What tells the runs apart.
    pub fn columns(&self) -> Columns {
        let varying: Vec<_> = self.grids.iter().flat_map(|it| it.grid.varying()).collect();
        Columns::new(self.planned.iter().map(|values| &**values), &varying)
    }
}

/// The record of each of a results folder's `runs`, if it has ended, and why others were left out, a
/// sentence each. Records of other data than most have are left out too.
///
/// # Errors
/// Where the system does not let the folder be read.
pub fn read_records(root: &Path, runs: &[Run]) -> Result<(Vec<Option<Record>>, Vec<String>)> {
    // Many small files are read faster by several at once.
    let readers = available_parallelism().map_or(1, NonZero::get);
    let share = runs.len().div_ceil(readers).max(FEWEST_TO_SHARE);
    let read = |part: &[Run]| part.iter().map(|run| run_record(root, run)).collect::<Vec<_>>();
    let all: Vec<Result<Option<Record>>> = scope(|scope| {
        // Without a thread of its own, a part is read here.
        let begin = |part| Builder::new().spawn_scoped(scope, move || read(part)).map_err(|_| part);
        let begun: Vec<_> = runs.chunks(share).map(begin).collect();
        let join = |begun: std::result::Result<ScopedJoinHandle<'_, _>, _>| match begun {
            Ok(part) => part.join().expect("it does not panic"),
            Err(part) => read(part),
        };
        begun.into_iter().flat_map(join).collect()
    });
    let mut left_out = Vec::new();
    let mut usable = |read: Result<Option<Record>>| {
        read.unwrap_or_else(|error| {
            left_out.push(format!("left out: {error}"));
            None
        })
    };
    let mut records: Vec<_> = all.into_iter().map(&mut usable).collect();
    left_out.extend(foreign_runs(root, runs)?);
    let Some(data) = data_of_most(records.iter().flatten()).cloned() else {
        return Ok((records, left_out));
    };
    let is_of_data = |record: &Record| record.provenance.same_data(&data);
    let images = |record: &Record| record.scores().map(|scores| scores.test_images);
    let of_data = records.iter().flatten().filter(|record| is_of_data(record));
    let most = most_common(of_data.filter_map(images));
    for slot in &mut records {
        let problem = match slot {
            Some(record) if !is_of_data(record) => "was trained on other data",
            Some(record) if images(record).is_some_and(|it| Some(it) != most) => {
                "has another number of test_images"
            }
            _ => continue,
        };
        let folder = slot.take().map(|record| run_folder(root, &record.run)).unwrap_or_default();
        left_out.push(format!(
            "left out: {}: {problem} than most runs of its folder",
            folder.display()
        ));
    }
    Ok((records, left_out))
}

/// The runs in a results folder that its grid does not have, by name, a sentence each.
///
/// # Errors
/// Where the system does not let the folder be read.
pub fn foreign_runs(root: &Path, runs: &[Run]) -> Result<Vec<String>> {
    let folder = root.join(RUNS);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|source| Error::read(&folder, source))?,
    };
    let own: HashSet<&str> = runs.iter().map(|run| &run.name[..]).collect();
    let is_own = |path: &Path| {
        path.file_name().is_some_and(|it| it.to_str().is_some_and(|it| own.contains(it)))
    };
    let paths = entries.filter_map(io::Result::ok).map(|entry| entry.path());
    let mut foreign: Vec<PathBuf> = paths.filter(|it| !is_own(it) && has_record(it)).collect();
    foreign.sort();
    let sentence =
        |it: &PathBuf| format!("left out: {}: grid.toml does not have this run", it.display());
    Ok(foreign.iter().map(sentence).collect())
}

/// The provenance whose data most records share, the first of equals.
fn data_of_most<'a>(records: impl Iterator<Item = &'a Record>) -> Option<&'a Provenance> {
    let mut kinds: Vec<(&Provenance, usize)> = Vec::new();
    for Record { provenance, .. } in records {
        match kinds.iter_mut().find(|(known, _)| known.same_data(provenance)) {
            Some((_, count)) => *count += 1,
            None => kinds.push((provenance, 1)),
        }
    }
    kinds.into_iter().reduce(|a, b| if b.1 > a.1 { b } else { a }).map(|(data, _)| data)
}

/// The most frequent number.
fn most_common(numbers: impl Iterator<Item = usize>) -> Option<usize> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    numbers.for_each(|number| *counts.entry(number).or_default() += 1);
    counts.into_iter().max_by_key(|&(number, count)| (count, number)).map(|(number, _)| number)
}

/// Refuses runs of several folders that were trained on different data.
fn refuse_several_data(read: &[Ended]) -> Result<()> {
    let Some(first) = read.first() else { return Ok(()) };
    let is_other = |it: &&Ended| !it.record.provenance.same_data(&first.record.provenance);
    let Some(other) = read.iter().find(is_other) else { return Ok(()) };
    let first_folder = first.folder.display();
    let problem = match other.record.provenance.other_options(&first.record.provenance) {
        Some(difference) => format!("{difference}, as {first_folder} has"),
        None => format!("was trained on other data than {first_folder}"),
    };
    Err(Error::input(Place::file(&other.folder), problem).hint(SEPARATELY))
}

/// Refuses a file where a folder is to be named.
fn refuse_file(path: &Path) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new(".")).display();
    let expected = "a results folder, or the folder of a finished run";
    Err(Error::unexpected(Place::file(path), "a file", expected)
        .hint(format!("name its folder, {parent}")))
}

/// The record of a run's folder that a user names.
///
/// # Errors
/// Where it is no such folder, or the record cannot be used.
pub fn read_single(folder: &Path) -> Result<Record> {
    refuse_file(folder)?;
    if let Some(record) = read_run(folder)? {
        return Ok(record);
    }
    let found = match folder.is_dir() {
        true if is_grid(folder) => "a results folder",
        true => "a folder without grid.toml or run.toml",
        false => "no such folder",
    };
    let expected = if is_grid(folder) {
        "the folder of one of its runs"
    } else {
        "a results folder, or the folder of a finished run"
    };
    Err(Error::unexpected(Place::file(folder), found, expected))
}

/// The model of a run, whose values and validation are those of its record.
///
/// # Errors
/// Where it cannot be read or does not belong to the record.
pub fn model_of_run(folder: &Path, record: &Record) -> Result<Model> {
    model_of_run_with_hash(folder, record).map(|(model, _)| model)
}

/// The same, with the SHA-256 of its file in hexadecimal.
///
/// # Errors
/// As [`model_of_run`].
pub fn model_of_run_with_hash(folder: &Path, record: &Record) -> Result<(Model, String)> {
    let path = model_of(folder);
    let (model, sha256) = Model::read_with_hash(&path)?;
    let epoch = |best: usize, accuracy: f64| format!("epoch {best} with {accuracy}");
    let here = epoch(model.best_epoch, model.validation_accuracy);
    let there = record.scores().map_or_else(
        || "no model".to_string(),
        |scores| epoch(scores.best_epoch, scores.validation.accuracy),
    );
    let difference = model.values.difference(&record.values);
    let difference = difference
        .or_else(|| (here != there).then(|| format!("validation: {there} there, {here} here")));
    // Models of another draw of the test rows may have the same accuracy and epoch.
    let trained_on = record.provenance.trained_on(&record.values);
    let is_other = model.trained_on.is_some() && model.trained_on != trained_on;
    let difference = difference.or_else(|| is_other.then(|| "it was trained on other rows".into()));
    match difference {
        None => Ok((model, sha256)),
        Some(difference) => {
            let problem = format!("is not the model of its run.toml ({difference})");
            Err(Error::input(Place::file(path), problem).hint(REMOVE_RUN))
        }
    }
}
