//! The results of a grid while it is trained: its records, and their ranking on the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::engine::event::{Event, OnEvent};
use crate::error::Result;
use crate::grid::saved::remove_checkpoints;
use crate::grid::space::{Grid, Run};
use crate::grid::store::Store;
use crate::results::columns::Columns;
use crate::results::ranking::{By, Ranking};
use crate::results::read::{foreign_runs, read_records};
use crate::train::cautions::notes_on;
use crate::train::outcome::{Outcome, Record};

/// How many rows `top10.md` has.
pub const TOP_ROWS: usize = 10;
/// Between two writings of the ranking while runs finish.
const RANK_EVERY: Duration = Duration::from_secs(1);

/// What has finished, and its ranking on the disk.
pub(super) struct GridResults<'g> {
    runs: &'g [Run],
    pub(super) store: &'g Store,
    ranking: Mutex<Ranking>,
    written: Mutex<Option<Instant>>, // when the ranking was
    reached: Vec<AtomicUsize>,       // epochs that the record of each run speaks for
}

impl<'g> GridResults<'g> {
    /// Of these runs, of which some have left records.
    pub(super) fn new(
        runs: &'g [Run],
        store: &'g Store,
        grid: &Grid,
        records: Vec<(usize, Record)>,
    ) -> Self {
        let reached: Vec<AtomicUsize> = runs.iter().map(|_| AtomicUsize::new(0)).collect();
        for (run, record) in &records {
            reached[*run].store(epochs_reached(&record.outcome), Ordering::Relaxed);
        }
        let columns = Columns::new(runs.iter().map(|run| &*run.values), &grid.varying());
        let records = records.into_iter().map(|(_, record)| record).collect();
        let ranking = Mutex::new(Ranking::new(records, columns, By::Test));
        Self { runs, store, ranking, written: Mutex::default(), reached }
    }

    /// Whether a run has come to a rung, or to its end.
    pub(super) fn has_reached(&self, run: usize, rung: usize) -> bool {
        self.reached[run].load(Ordering::Relaxed) >= rung
    }

    /// Whether a run has come to its end.
    pub(super) fn has_ended(&self, run: usize) -> bool {
        self.has_reached(run, usize::MAX)
    }

    /// How many runs have come to their ends.
    pub(super) fn count_ended(&self) -> usize {
        (0..self.runs.len()).filter(|&run| self.has_ended(run)).count()
    }

    /// The records, ranked.
    pub(super) fn into_ranking(self) -> Ranking {
        self.ranking.into_inner().expect("no panic while holding it")
    }

    fn ranking(&self) -> MutexGuard<'_, Ranking> {
        self.ranking.lock().expect("no panic while holding it")
    }

    /// Takes a run whose record is on the disk, and writes the ranking of all finished ones. Once a
    /// second is enough: short runs finish faster than a disk takes them in.
    pub(super) fn add(&self, run: usize, record: Record) -> Result<()> {
        self.reached[run].store(epochs_reached(&record.outcome), Ordering::Relaxed);
        self.ranking().add(record);
        if self.store.shard().is_some() {
            return Ok(()); // ranked at the end, with those of the other shards
        }
        let mut written = self.written.lock().expect("no panic while holding it");
        if written.is_none_or(|at| at.elapsed() >= RANK_EVERY) {
            write_ranking(self.store, &self.ranking())?;
            *written = Some(Instant::now());
        }
        Ok(())
    }

    /// Writes the ranking, of all shards unless this one `breaks_off`. Returns how many runs were left out.
    pub(super) fn write_at_end(&self, breaks_off: bool, on_event: OnEvent<'_>) -> Result<usize> {
        match self.store.shard() {
            None => {
                write_ranking(self.store, &self.ranking())?;
                let foreign = foreign_runs(self.store.root(), self.runs)?;
                for warning in &foreign {
                    on_event(&Event::Warning(warning));
                }
                Ok(foreign.len())
            }
            // No time to wait for its turn.
            Some(_) if breaks_off => Ok(0),
            Some(_) => self.store.in_turn(|| self.write_of_all_shards(on_event)),
        }
    }

    /// Ranks what all shards have left. Each does so after its own runs and in its turn, so the last
    /// one writes the whole, and removes checkpoints that no run needs any more. Records that cannot be
    /// used are set aside by the shard that trains their runs, and left out here.
    fn write_of_all_shards(&self, on_event: OnEvent<'_>) -> Result<usize> {
        let (records, left_out) = read_records(self.store.root(), self.runs)?;
        let records: Vec<Record> = records.into_iter().flatten().collect();
        for warning in left_out.iter().chain(&notes_on(records.iter())) {
            on_event(&Event::Warning(warning));
        }
        let ended = records.iter().filter(|record| record.outcome.is_end()).count();
        let is_complete = ended == self.runs.len();
        let columns = self.ranking().columns().clone();
        write_ranking(self.store, &Ranking::new(records, columns, By::Test))?;
        self.store
            .pool()
            .filter(|_| is_complete)
            .map_or(Ok(()), |pool| remove_checkpoints(&pool))?;
        Ok(left_out.len())
    }
}

/// How many epochs an outcome speaks for: all where the run has ended. What has failed has ended too; the
/// next process tries it again.
pub(super) fn epochs_reached(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Stopped(at) => at.epoch,
        _ => usize::MAX,
    }
}

/// Writes a ranking into the results folder.
fn write_ranking(store: &Store, ranking: &Ranking) -> Result<()> {
    let settings = ranking.has_repeats().then(|| ranking.settings_csv());
    store.write_ranking(&ranking.csv(usize::MAX), &ranking.markdown(TOP_ROWS), settings.as_deref())
}
