//! What is to be trained, and what that costs. Trains nothing.

use std::collections::HashSet;

use crate::data::shape::DataShape;
use crate::engine::memory_use::{batches_bytes, run_bytes};
use crate::error::counted;
use crate::grid::schedule::{Forecast, forecast};
use crate::grid::shards::assign;
use crate::grid::space::Run;
use crate::grid::stages::{ResumePoint, Stage, StageTree};
use crate::memory::{Room, Size};
use crate::network::mlp::flops_per_sample;
use crate::network::params::Params;
use crate::train::checked::Checked;
use crate::train::checkpoint::checkpoint_bytes;
use crate::train::reads::Step;

/// The runs that are left of a grid, as stages for some workers.
#[derive(Debug)]
pub struct Plan<'g> {
    /// The runs.
    pub runs: Vec<&'g Run>,
    /// Their stages; runs are identified by their index.
    pub tree: StageTree,
    /// How many workers there are, at most one per run.
    pub workers: usize,
    /// How many epochs checkpoints save; `None` where nothing is resumed.
    pub epochs_resumed: Option<usize>,
    /// The step before which training stops.
    pub until: Step,
    /// The sizes of the data.
    pub shape: DataShape,
}

impl<'g> Plan<'g> {
    /// Plans runs that were checked against the data, each from its resume point if it has one, up to and
    /// without the step `until`.
    pub fn new(
        runs: Vec<&'g Run>,
        resume_points: &[Option<ResumePoint>],
        (sharing, until): (bool, Step),
        workers: usize,
        shape: DataShape,
    ) -> Self {
        let values: Vec<&Checked> = runs.iter().map(|run| &run.values).collect();
        let tree = StageTree::plan(&values, resume_points, sharing, until);
        let epochs_resumed = resume_points.iter().any(Option::is_some).then(|| {
            let from_scratch = StageTree::plan(&values, &vec![None; values.len()], sharing, until);
            from_scratch.epochs().saturating_sub(tree.epochs())
        });
        let workers = workers.min(runs.len()).max(1);
        Self { runs, tree, workers, epochs_resumed, until, shape }
    }

    /// Whether patience may end some of the runs early, so that fewer epochs are trained than planned.
    pub fn may_end_early(&self) -> bool {
        self.runs.iter().any(|run| run.values.patience > 0)
    }

    /// The network that a run trains: D, each hidden width, C.
    pub fn sizes(&self, run: usize) -> Vec<usize> {
        let sizes = self.runs[run].values.sizes(self.shape.inputs, self.shape.classes);
        sizes.expect("the size was checked against the data")
    }

    /// Training images of a run.
    pub fn images(&self, run: usize) -> usize {
        self.shape.train - self.runs[run].values.validation_size.of(self.shape.train)
    }

    /// Floating-point operations of an epoch of a stage: the only place that says what training
    /// costs.
    pub fn epoch_cost(&self, stage: &Stage) -> f64 {
        flops_per_sample(&self.sizes(stage.run)) * self.images(stage.run) as f64
    }

    /// Floating-point operations of all stages.
    pub fn cost(&self) -> f64 {
        let cost = |stage: &Stage| self.epoch_cost(stage) * stage.epochs() as f64;
        self.tree.stages.iter().map(cost).sum()
    }

    /// Simulates the schedule on so many workers; times are in floating-point operations of one.
    pub(crate) fn forecast(&self, workers: usize) -> Forecast {
        forecast(&self.tree, workers, &|stage| self.epoch_cost(stage))
    }

    /// The most checkpoint files that there are at once, and the size of the largest in bytes.
    pub fn checkpoints(&self) -> (usize, u64) {
        // A file for each state that is alive, and one that a worker is just writing.
        let files = self.forecast(self.workers).most_states + self.workers;
        (files, self.runs.iter().map(|run| self.checkpoint_bytes(run)).max().unwrap_or(0))
    }

    /// About the bytes of a run's checkpoint.
    pub(crate) fn checkpoint_bytes(&self, run: &Run) -> u64 {
        let sizes = run.values.sizes(self.shape.inputs, self.shape.classes);
        checkpoint_bytes(&run.values, &sizes.expect("the size was checked against the data"))
    }

    /// Bytes that the largest runs take together when as many train as there are workers, each with
    /// batches of its own as far as the grid has several kinds. Without those runs that are too large even
    /// by themselves.
    pub fn memory(&self, room: &Room) -> u64 {
        memory_of(self.workers, &self.sorted_bytes(room))
    }

    /// What each run takes that is not too large by itself, and each kind of batches, most first.
    fn sorted_bytes(&self, room: &Room) -> [Vec<u64>; 2] {
        let fitting = self.runs.iter().filter(|run| !self.is_too_large(run, room));
        let runs: Vec<u64> = fitting.map(|run| run_bytes(&run.values, self.shape)).collect();
        let kinds: HashSet<_> = self.runs.iter().map(|run| run.values.batching()).collect();
        let batches = kinds.into_iter().map(|it| batches_bytes(it, self.shape)).collect();
        [runs, batches].map(|mut all| {
            all.sort_unstable_by(|a, b| b.cmp(a));
            all
        })
    }

    /// About the bytes of a run's curve, model and predictions.
    pub fn bytes_written(&self, run: usize) -> [usize; 3] {
        let parameters = Params::count(&self.sizes(run)).unwrap_or(0) as usize;
        // A digit of three bits and more for each test image; seven numbers for each epoch.
        [70 * self.runs[run].values.epochs, 4 * parameters, self.shape.test / 2]
    }

    /// Whether a run does not fit into memory even alone.
    pub fn is_too_large(&self, run: &Run, room: &Room) -> bool {
        let batches = batches_bytes(run.values.batching(), self.shape);
        room.lacks(batches + run_bytes(&run.values, self.shape), 1).is_some()
    }

    /// The first run that is not too large by itself, or the first.
    pub fn first_that_fits(&self, room: &Room) -> usize {
        self.runs.iter().position(|run| !self.is_too_large(run, room)).unwrap_or(0)
    }

    /// Lowers the number of workers to those that fit into memory; returns a sentence that says so.
    pub fn fit(&mut self, room: &Room) -> Option<String> {
        let sorted = self.sorted_bytes(room);
        let lacks = |workers: &usize| room.lacks(memory_of(*workers, &sorted), *workers);
        let (needed, left) = lacks(&self.workers)?;
        let fits = |workers: &usize| lacks(workers).is_none();
        let fewer = (1..self.workers).rev().find(fits).unwrap_or(1);
        let from = std::mem::replace(&mut self.workers, fewer);
        (fewer < from).then(|| {
            let workers = counted(fewer, "worker");
            let needed = Size(needed);
            format!("training with {workers}, because {from} need about {needed}, but {left}")
        })
    }

    /// The shard of each run, balanced by what it costs.
    pub fn shards(&self, count: usize) -> Vec<usize> {
        assign(&self.tree, self.runs.len(), count, &|stage| self.epoch_cost(stage))
    }

    /// A stage as people read it: one of its runs, and how many others there are.
    pub fn name(&self, stage: usize) -> String {
        let others = self.tree.runs_from(stage).len() - 1;
        let name = &self.runs[self.tree.stages[stage].run].name;
        if others == 0 { name.clone() } else { format!("{name} and {}", counted(others, "other")) }
    }
}

/// What so many workers take at once, at most.
fn memory_of(workers: usize, sorted: &[Vec<u64>; 2]) -> u64 {
    sorted.iter().map(|all| all.iter().take(workers).sum::<u64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shape::DataKind;
    use crate::grid::axis::parse_assignment;
    use crate::grid::space::Grid;

    #[test]
    fn each_worker_may_have_batches_of_its_own_where_the_grid_has_several_kinds() {
        let shape = DataShape {
            train: 60_000,
            test: 10_000,
            inputs: 784,
            classes: 10,
            given_validation: None,
            kind: DataKind::Folder,
        };
        let memory = |seeds: &str, workers| {
            let mut grid = Grid::find("table2").unwrap();
            grid.set(parse_assignment(&format!("data_seed={seeds}")).unwrap());
            let runs = grid.runs().unwrap();
            let starts = vec![None; runs.len()];
            let plan = Plan::new(runs.iter().collect(), &starts, (true, Step::END), workers, shape);
            plan.memory(&Room::default())
        };
        let values = Grid::find("table2").unwrap().runs().unwrap()[0].values.clone();
        let batches = batches_bytes(values.batching(), shape);
        assert_eq!(memory("1,2,3", 2) - memory("1", 2), batches);
        assert_eq!(memory("1,2,3", 1), memory("1", 1));
    }
}
