//! `rookie rank`: one ranking of the finished runs of one or several results folders.

use std::io::{Write, stdout};
use std::path::Path;

use crate::cli::{RankArgs, SortBy, TableFormat};
use crate::commands::common::{Status, print};
use crate::error::{Error, Place, Result, counted};
use crate::grid::store::read_results;
use crate::progress::say;
use crate::report::ranking::{By, Columns, Entry, Ranking};
use crate::train::provenance::same_data;

/// Rows of a table unless a user says otherwise.
const TOP: usize = 10;

/// Ranks finished runs.
///
/// # Errors
/// Where a folder is no results folder.
pub fn run(args: &RankArgs) -> Result<Status> {
    let mut entries = Vec::new();
    let mut planned = Vec::new();
    let mut varying = Vec::new();
    let mut data: Option<(&Path, Vec<(String, String)>)> = None;
    for (at, folder) in args.folders.iter().enumerate() {
        if args.folders[..at].contains(folder) {
            return Err(Error::input(Place::file(folder), "is given twice"));
        }
        let (grid, ended) = read_results(folder)?;
        let runs = grid.runs()?;
        if ended.len() < runs.len() {
            let left = counted(runs.len() - ended.len(), "run");
            say(&format!("{}: {left} of {} not finished", folder.display(), runs.len()));
        }
        if let Some((_, record)) = ended.first() {
            let (first, of_first) = data.get_or_insert((folder, record.provenance.clone()));
            if !same_data(of_first, &record.provenance) {
                let problem = format!("was trained on other data than {}", first.display());
                return Err(Error::input(Place::file(folder), problem).hint("rank them apart"));
            }
        }
        varying.extend(grid.varying());
        planned.extend(runs.into_iter().map(|run| run.values));
        entries.extend(ended.into_iter().map(|(run, record)| {
            let run = match args.folders.len() {
                1 => run.name,
                _ => format!("{}/{}", folder.display(), run.name),
            };
            Entry { run, record }
        }));
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
        TableFormat::Table => print(&ranking.describe(top.unwrap_or(TOP)))?,
        TableFormat::Csv => stdout().write_all(&ranking.csv(top.unwrap_or(usize::MAX)))?,
        TableFormat::Markdown => {
            stdout().write_all(ranking.markdown(top.unwrap_or(TOP)).as_bytes())?;
        }
    }
    Ok(Status::Done)
}
