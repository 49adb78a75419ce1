//! `rookie rank`: one ranking of the finished runs of one or several results folders.

use std::collections::{BTreeMap, HashMap};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use crate::cli::{RankArgs, SortBy, TableFormat};
use crate::commands::common::{Status, print, terminal_width};
use crate::error::{Error, Place, Result, counted};
use crate::grid::space::{Run, spelled};
use crate::grid::store::{Results, read_results, read_shards, run_folder};
use crate::progress::say;
use crate::report::ranking::{By, Columns, Entry, Ranking};
use crate::train::outcome::Record;
use crate::train::provenance::{mixed, same_data};

/// Rows of a table unless a user says otherwise.
const TOP: usize = 10;

/// Ranks finished runs.
///
/// # Errors
/// Where a folder is no results folder.
pub fn run(args: &RankArgs) -> Result<Status> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = HashMap::new();
    let mut planned = Vec::new();
    let mut varying = Vec::new();
    let mut data: Option<(PathBuf, Vec<(String, String)>)> = None;
    for (at, folder) in args.folders.iter().enumerate() {
        if args.folders[..at].contains(folder) {
            return Err(Error::input(Place::file(folder), "is given twice"));
        }
        let Results { grid, runs, ended } = read_results(folder)?;
        if ended.len() < runs.len() {
            say_missing(folder, &runs, &ended);
        }
        for (place, record) in &ended {
            let path = || run_folder(folder, &runs[*place].name);
            let (first, of_first) = data.get_or_insert_with(|| (path(), record.provenance.clone()));
            if !same_data(of_first, &record.provenance) {
                let problem = format!("was trained on other data than {}", first.display());
                return Err(Error::input(Place::file(path()), problem).hint("rank them apart"));
            }
        }
        varying.extend(grid.varying());
        let several = args.folders.len() > 1;
        for (place, record) in ended {
            let name = &runs[place].name;
            let run = if several { format!("{}/{name}", folder.display()) } else { name.clone() };
            let entry = Entry { run, record };
            if !several || !is_there_already(&mut seen, &entries, &entry)? {
                entries.push(entry);
            }
        }
        planned.extend(runs.into_iter().map(|run| run.values));
    }
    for sentence in mixed(entries.iter().map(|entry| &entry.record.provenance[..]), None) {
        say(&sentence);
    }
    if entries.is_empty() {
        say("no run has ended yet");
    }
    let mut columns = Columns::new(planned.iter().map(|values| &**values), &varying);
    if args.folders.len() > 1 {
        columns = columns.with_run();
    }
    let by = match args.by {
        SortBy::Test => By::Test,
        SortBy::Validation => By::Validation,
    };
    let ranking = Ranking::new(entries, columns, by);
    let top = args.top.map(|top| top as usize);
    match args.format {
        TableFormat::Table => {
            print(&ranking.describe(top.unwrap_or(TOP), terminal_width()))?;
        }
        TableFormat::Csv => stdout().write_all(&ranking.csv(top.unwrap_or(usize::MAX)))?,
        TableFormat::Markdown => {
            print(ranking.markdown(top.unwrap_or(TOP)).trim_end())?;
        }
    }
    Ok(Status::Done)
}

/// How many shards with missing runs are told of, each in a line.
const MOST_SHARDS: usize = 10;

/// Tells how many runs have not ended and, where a grid was trained in shards, whose they are.
fn say_missing(folder: &Path, runs: &[Run], ended: &[(usize, Record)]) {
    let left = counted(runs.len() - ended.len(), "run");
    say(&format!("{}: {left} of {} not finished", folder.display(), runs.len()));
    let (count, shard_of) = match read_shards(folder, runs) {
        Ok(None) => return,
        Ok(Some(planned)) => planned,
        Err(error) => return say(&error.to_string()),
    };
    // Both are in the grid's order.
    let mut ended = ended.iter().map(|(place, _)| *place).peekable();
    let mut missing: BTreeMap<usize, (usize, &Run)> = BTreeMap::new();
    for (place, (run, shard)) in runs.iter().zip(shard_of).enumerate() {
        if ended.next_if_eq(&place).is_none() {
            missing.entry(shard).or_insert((0, run)).0 += 1;
        }
    }
    for (shard, (left, first)) in missing.iter().take(MOST_SHARDS) {
        let left = counted(*left, "run");
        say(&format!("of shard {shard}/{count}: {left}, the first of them {}", first.name));
    }
    if missing.len() > MOST_SHARDS {
        let further = counted(missing.len() - MOST_SHARDS, "further shard");
        say(&format!("and of {further}"));
    }
}

/// Whether the same run with the same result is among the entries. `seen` has their places.
///
/// # Errors
/// Where it is there with another result.
fn is_there_already(
    seen: &mut HashMap<String, usize>,
    entries: &[Entry],
    entry: &Entry,
) -> Result<bool> {
    let place = *seen.entry(spelled(&entry.record.values)).or_insert(entries.len());
    let Some(other) = entries.get(place) else { return Ok(false) };
    if other.record.outcome == entry.record.outcome {
        return Ok(true);
    }
    let result = |entry: &Entry| match entry.record.outcome.scores() {
        Some(scores) => format!("test accuracy {}", scores.test.accuracy),
        None => entry.record.outcome.status().to_string(),
    };
    let problem = format!(
        "is the same run as {} with another result: {} here, {} there",
        other.run,
        result(entry),
        result(other)
    );
    Err(Error::input(Place::file(&entry.run), problem).hint("rank their folders apart"))
}
