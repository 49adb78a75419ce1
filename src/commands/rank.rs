//! `rookie rank`: one ranking of the finished runs of one or several results folders.

use std::io::Write;

use crate::cli::reading::{RankArgs, SortBy, TableFormat};
use crate::commands::common::{
    Status, print, say_left_out, terminal_width, unless_closed, write_out,
};
use crate::error::Result;
use crate::progress::say;
use crate::results::ranking::By;
use crate::results::read::Results;
use crate::train::cautions::notes_on;

/// Rows of a table unless a user says otherwise.
const TOP: usize = 10;

/// Ranks finished runs.
///
/// # Errors
/// Where a folder is none of results, or folders do not go together.
pub fn run(args: &RankArgs) -> Result<Status> {
    let results = Results::read(&args.folders)?;
    let status = say_left_out(&results);
    if results.ended.is_empty() && results.stopped.is_empty() {
        say("no run has finished yet");
    }
    let by = match args.by {
        SortBy::Test => By::Test,
        SortBy::Validation => By::Validation,
    };
    let ranking = results.ranking(by);
    let top = args.top.map(|top| top as usize);
    let printed = match args.format {
        TableFormat::Table => print(&ranking.describe(top.unwrap_or(TOP), terminal_width())),
        TableFormat::Csv => {
            for sentence in notes_on(ranking.records().iter()) {
                say(&sentence);
            }
            write_out(|out| out.write_all(&ranking.csv(top.unwrap_or(usize::MAX))))
        }
        TableFormat::Markdown => print(ranking.markdown(top.unwrap_or(TOP)).trim_end()),
    };
    unless_closed(printed, status)
}
