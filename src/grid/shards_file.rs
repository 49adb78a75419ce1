//! The file that says in which shard each run of a grid is trained.

use std::path::{Path, PathBuf};

use crate::data::file;
use crate::error::{Error, Place, Result};
use crate::grid::disk::{STATE, write_whole};
use crate::grid::names::SHARDS_FILE;
use crate::grid::space::Run;
use crate::train::provenance::Provenance;

/// The largest plan of shards that is read: a million runs of the longest names.
const MAX_SHARDS_FILE: u64 = 512 << 20;

pub(super) fn shards_file(root: &Path) -> PathBuf {
    root.join(STATE).join(SHARDS_FILE)
}

/// A grid in shards.
#[derive(Debug)]
pub struct Shards {
    /// How many there are.
    pub count: usize,
    /// The shard of each run, in the grid's order.
    pub shard_of: Vec<usize>,
    pub(super) data: String, // that all of them train on
}

const SHARD_COLUMNS: [&str; 4] = ["run", "shard", "shards", "data"];

pub(super) fn write_shards(root: &Path, runs: &[Run], shards: &Shards) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let in_memory = "writing into memory does not fail";
    csv.write_record(SHARD_COLUMNS).expect(in_memory);
    for (run, shard) in runs.iter().zip(&shards.shard_of) {
        let row = [&run.name, &shard.to_string(), &shards.count.to_string(), &shards.data];
        csv.write_record(row).expect(in_memory);
    }
    write_whole(&shards_file(root), &csv.into_inner().expect(in_memory))
}

/// In which shards a grid was last trained, if in any.
///
/// # Errors
/// Where the file cannot be read or is of other runs.
pub fn read_shards(root: &Path, runs: &[Run]) -> Result<Option<Shards>> {
    let path = shards_file(root);
    if !path.exists() {
        return Ok(None);
    }
    let text = file::read(&path, "the shards of a grid", MAX_SHARDS_FILE)?;
    let (mut csv, mut runs) = (csv::Reader::from_reader(&text[..]), runs.iter());
    let mut shards = Shards { count: 0, shard_of: Vec::new(), data: String::new() };
    for record in csv.records() {
        let row = record.ok().and_then(|record| {
            let number = |field: usize| record.get(field)?.parse::<usize>().ok();
            let is_next = record.get(0)? == runs.next()?.name;
            let (shard, count) = (number(1)?, number(2)?);
            (is_next && shard < count).then_some((shard, count, record.get(3)?.to_string()))
        });
        let Some((shard, count, data)) = row else {
            let found = "another line";
            return Err(Error::unexpected(
                Place::Line(path, shards.shard_of.len() + 2),
                found,
                "a run of the grid with its shard, their number and their data",
            )
            .hint(
                "start the same command again when no shard is at work, and it plans them anew",
            ));
        };
        (shards.count, shards.data) = (count, data);
        shards.shard_of.push(shard);
    }
    Ok(runs.next().is_none().then_some(shards))
}

/// The shard of each run as planned before for so many shards on these data. A plan that cannot be read
/// is none.
pub fn planned_shards(
    root: &Path,
    runs: &[Run],
    count: usize,
    data: &Provenance,
) -> Option<Vec<usize>> {
    let planned = read_shards(root, runs).ok().flatten();
    let planned = planned.filter(|it| it.count == count && it.data == data.data_hash());
    planned.map(|it| it.shard_of)
}
