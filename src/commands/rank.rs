//! `rookie rank`: one ranking of the finished runs of one or several results folders.

use std::io::{Write, stdout};

use crate::cli::{Format, RankArgs, SortBy};
use crate::commands::common::Status;
use crate::error::{Result, counted};
use crate::grid::store::read_results;
use crate::progress::say;
use crate::report::ranking::{By, Columns, Entry, Ranking};

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
    for folder in &args.folders {
        let (grid, ended) = read_results(folder)?;
        let runs = grid.runs()?;
        if ended.len() < runs.len() {
            let left = counted(runs.len() - ended.len(), "run");
            say(&format!("{}: {left} of {} not finished", folder.display(), runs.len()));
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
    let columns = Columns::new(planned.iter().map(|values| &**values), &varying);
    let by = match args.by {
        SortBy::Test => By::Test,
        SortBy::Validation => By::Validation,
    };
    let ranking = Ranking::new(entries, columns, by);
    let top = args.top.map(|top| top as usize);
    let mut out = stdout().lock();
    match args.format {
        Format::Table => {
            writeln!(out, "{}\n", ranking.table(top.unwrap_or(TOP)))?;
            for note in ranking.notes(top.unwrap_or(TOP)) {
                writeln!(out, "{note}")?;
            }
        }
        Format::Csv => out.write_all(&ranking.csv(top.unwrap_or(usize::MAX)))?,
        Format::Markdown => out.write_all(ranking.markdown(top.unwrap_or(TOP)).as_bytes())?,
    }
    out.flush()?;
    Ok(Status::Done)
}
