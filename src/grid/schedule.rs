//! Which stage next, on which worker: the policy, without threads or clocks.
//!
//! Three goals at once: finished runs appear early, few states are alive, and all workers end
//! together. So a worker resumes the stages that others have begun before it starts a new tree, which
//! ends runs early and frees their states. That alone would leave workers idle at the end, when the
//! last trees hang on the few workers that started them. So every stage has a *level*, the cost of
//! the longest path from where it is to the end of a run, and there is an *ideal end*, when all that is
//! left is shared out evenly. A waiting stage whose level reaches the ideal end is urgent: it goes
//! first, and after its next epoch the worker with the least to do gives way to it. In real-time
//! scheduling this is called earliest deadline until zero laxity.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use crate::grid::stages::{Stage, StageTree};

/// A worker gives way only to a stage whose level exceeds its own by so many of its epochs, so that
/// two of one level do not take turns after each.
const PATIENCE: f64 = 4.0;

/// Where a stage's state comes from.
#[derive(Debug)]
pub(super) enum Origin<S> {
    /// It is a root: drawn, or saved before.
    Root,
    /// Its parent's, which the last of the children takes and the others copy.
    Parent(Arc<S>),
    /// Its own: it was interrupted.
    Own(S),
}

/// A stage that waits for a worker.
#[derive(Debug)]
pub(super) struct Waiting<S> {
    pub(super) stage: usize,
    epochs_left: usize,
    origin: Origin<S>,
}

/// The stages that wait, by level and by merit: looked at after every epoch of every worker, however
/// many there are.
#[derive(Debug)]
struct Queue<S> {
    jobs: HashMap<usize, (Waiting<S>, u64, ByMerit)>, // by stage: it, its level, its merit
    by_level: BTreeSet<(u64, Reverse<usize>)>,        // level, stage
    by_merit: BTreeSet<ByMerit>,
}

/// What is begun before what is new, then what ends sooner, then the order of the grid.
type ByMerit = (bool, u64, usize); // whether it is new, its level if it is not, its stage

impl<S> Default for Queue<S> {
    fn default() -> Self {
        Self { jobs: HashMap::new(), by_level: BTreeSet::new(), by_merit: BTreeSet::new() }
    }
}

impl<S> Queue<S> {
    fn insert(&mut self, level: f64, new: bool, job: Waiting<S>) {
        // Numbers from 0 on are ordered as their bits are.
        let (level, stage) = (level.to_bits(), job.stage);
        let merit = (new, if new { 0 } else { level }, stage);
        self.by_level.insert((level, Reverse(stage)));
        self.by_merit.insert(merit);
        self.jobs.insert(stage, (job, level, merit));
    }

    fn highest_level(&self) -> Option<f64> {
        self.by_level.last().map(|(level, _)| f64::from_bits(*level))
    }

    fn take_highest(&mut self) -> Waiting<S> {
        let (_, Reverse(stage)) = self.by_level.pop_last().expect("some wait");
        let (job, _, merit) = self.jobs.remove(&stage).expect("it waits");
        self.by_merit.remove(&merit);
        job
    }

    fn take_best(&mut self) -> Waiting<S> {
        let (_, _, stage) = self.by_merit.pop_first().expect("some wait");
        let (job, level, _) = self.jobs.remove(&stage).expect("it waits");
        self.by_level.remove(&(level, Reverse(stage)));
        job
    }

    fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

/// Which stage next: the policy, without threads or clocks. Costs are in any unit of time.
#[derive(Debug)]
pub(super) struct Schedule<'t, S> {
    tree: &'t StageTree,
    epoch_costs: Vec<f64>, // of each stage
    paths: Vec<f64>,       // of each stage: the longest path from its end to the end of a run
    subtrees: Vec<f64>,    // of each stage: all that comes after it
    waiting: Queue<S>,
    last: Vec<usize>, // roots that wait until nothing else is left
    running: Vec<Option<(usize, usize)>>, // of each worker: its stage and the epochs left of it
    running_levels: BTreeSet<(u64, usize)>, // of each worker that has one: its level, and its number
    left: f64,                              // what all stages still cost together
}

impl<'t, S: Clone> Schedule<'t, S> {
    pub(super) fn new(
        tree: &'t StageTree,
        workers: usize,
        epoch_cost: &dyn Fn(&Stage) -> f64,
    ) -> Self {
        let stages = &tree.stages;
        let epoch_costs: Vec<f64> = stages.iter().map(epoch_cost).collect();
        let cost = |index: usize| epoch_costs[index] * stages[index].epochs() as f64;
        let (mut paths, mut subtrees) = (vec![0.0; stages.len()], vec![0.0; stages.len()]);
        for index in (0..stages.len()).rev() {
            if let Some(parent) = stages[index].parent {
                paths[parent] = f64::max(paths[parent], cost(index) + paths[index]);
                subtrees[parent] += cost(index) + subtrees[index];
            }
        }
        let left = (0..stages.len()).map(cost).sum();
        let running = vec![None; workers];
        let waiting = Queue::default();
        let running_levels = BTreeSet::new();
        let roots = (0..stages.len()).filter(|&index| stages[index].parent.is_none());
        let (last, first): (Vec<usize>, Vec<usize>) = roots.partition(|&root| stages[root].is_last);
        let mut schedule = Self {
            tree,
            epoch_costs,
            paths,
            subtrees,
            waiting,
            last,
            running,
            running_levels,
            left,
        };
        schedule.wait_for_workers(first);
        schedule
    }

    /// Lets roots wait.
    fn wait_for_workers(&mut self, roots: Vec<usize>) {
        for root in roots {
            self.wait(root, self.tree.stages[root].epochs(), Origin::Root);
        }
    }

    /// Lets a stage wait.
    fn wait(&mut self, stage: usize, epochs_left: usize, origin: Origin<S>) {
        let begun = self.tree.stages[stage].start.is_some();
        let new = matches!(origin, Origin::Root) && !begun;
        let level = self.level(stage, epochs_left);
        self.waiting.insert(level, new, Waiting { stage, epochs_left, origin });
    }

    /// The cost of the longest path from here to the end of a run.
    fn level(&self, stage: usize, epochs_left: usize) -> f64 {
        self.epoch_costs[stage] * epochs_left as f64 + self.paths[stage]
    }

    /// Whether a stage of this level must run now for all workers to end together. A single worker
    /// always ends together with itself.
    fn is_urgent(&self, level: f64) -> bool {
        let workers = self.running.len();
        workers > 1 && level >= self.left / workers as f64
    }

    /// Gives a worker its next stage, if one waits.
    pub(super) fn next(&mut self, worker: usize) -> Option<Waiting<S>> {
        if self.waiting.is_empty() && self.running.iter().all(Option::is_none) {
            let last = std::mem::take(&mut self.last);
            self.wait_for_workers(last);
        }
        let urgent = self.is_urgent(self.waiting.highest_level()?);
        let job = if urgent { self.waiting.take_highest() } else { self.waiting.take_best() };
        self.run(worker, Some((job.stage, job.epochs_left)));
        Some(job)
    }

    /// Notes what a worker runs from now on; returns what it has run.
    fn run(&mut self, worker: usize, now: Option<(usize, usize)>) -> Option<(usize, usize)> {
        let before = std::mem::replace(&mut self.running[worker], now);
        let place = |(stage, epochs_left)| (self.level(stage, epochs_left).to_bits(), worker);
        let (old, new) = (before.map(place), now.map(place));
        old.map(|place| self.running_levels.remove(&place));
        new.map(|place| self.running_levels.insert(place));
        before
    }

    /// A worker has trained an epoch; returns whether it should give way to another stage.
    pub(super) fn epoch_done(&mut self, worker: usize) -> bool {
        self.epochs_done(worker, 1)
    }

    /// A worker has trained some epochs, in none of which it had to give way before the last.
    fn epochs_done(&mut self, worker: usize, epochs: usize) -> bool {
        let (stage, epochs_left) = self.running[worker].expect("it runs a stage");
        let epochs_left = epochs_left - epochs;
        self.run(worker, Some((stage, epochs_left)));
        self.left -= self.epoch_costs[stage] * epochs as f64;
        if epochs_left == 0 {
            return false;
        }
        let mine = self.level(stage, epochs_left);
        let least = self.running_levels.first().map(|&(level, _)| f64::from_bits(level));
        if least.is_some_and(|level| level < mine) {
            return false;
        }
        let patience = PATIENCE * self.epoch_costs[stage];
        let highest = self.waiting.highest_level();
        highest.is_some_and(|level| self.is_urgent(level) && level > mine + patience)
    }

    /// A worker has broken its stage off, which waits again.
    pub(super) fn put_back(&mut self, worker: usize, state: S) {
        let (stage, epochs_left) = self.run(worker, None).expect("it runs a stage");
        self.wait(stage, epochs_left, Origin::Own(state));
    }

    /// A worker has ended its stage; the stages that go on from it wait with its state.
    pub(super) fn end(&mut self, worker: usize, state: S) {
        let (stage, epochs_left) = self.run(worker, None).expect("it runs a stage");
        debug_assert_eq!(epochs_left, 0);
        let state = Arc::new(state);
        let tree = self.tree;
        for &child in &tree.stages[stage].children {
            let origin = Origin::Parent(Arc::clone(&state));
            self.wait(child, tree.stages[child].epochs(), origin);
        }
    }

    /// A worker's stage has come to nothing, and so have all that would go on from it.
    pub(super) fn abandon(&mut self, worker: usize) {
        let (stage, epochs_left) = self.run(worker, None).expect("it runs a stage");
        self.left -= self.epoch_costs[stage] * epochs_left as f64 + self.subtrees[stage];
    }

    /// When a worker's next epochs end if they take what they cost, with its number and how many
    /// epochs these are: none of a stage that only validates, one after `calm_until`.
    fn next_event(&self, worker: usize, now: f64, calm_until: f64) -> (u64, usize, usize) {
        let (stage, epochs_left) = self.running[worker].expect("it runs a stage");
        let cost = self.epoch_costs[stage];
        let calm = ((calm_until - now) / cost).floor().max(1.0) as usize;
        let epochs = epochs_left.min(calm);
        ((now + cost * epochs as f64).to_bits(), worker, epochs)
    }

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_over(&self) -> bool {
        let is_idle = self.running.iter().all(Option::is_none);
        is_idle && self.waiting.is_empty() && self.last.is_empty()
    }
}

impl<S: Clone> Waiting<S> {
    /// The state to go on from; `None` for a root.
    pub(super) fn state(self) -> Option<S> {
        match self.origin {
            Origin::Root => None,
            Origin::Parent(state) => Some(Arc::unwrap_or_clone(state)),
            Origin::Own(state) => Some(state),
        }
    }
}

/// What a schedule comes to when epochs take just what they cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forecast {
    /// From begin to end, in the unit of the costs.
    pub(crate) length: f64,
    /// When the first run ends, as a fraction of that.
    pub(crate) first_end: f64,
    /// Of the time of all workers together, the fraction in which one has nothing to do.
    pub(crate) idle_share: f64,
    /// How many states are alive at the same time.
    pub(crate) most_states: usize,
    /// How many runs end.
    pub(crate) ended: usize,
}

/// Plays the schedule of a tree through, and trains nothing.
///
/// Epoch after epoch, but for the time in which no stage can be urgent: as long as all workers
/// together have more to do than the longest path from a root, none gives way, and a worker's
/// epochs are taken as one.
pub(crate) fn forecast(
    tree: &StageTree,
    workers: usize,
    epoch_cost: &dyn Fn(&Stage) -> f64,
) -> Forecast {
    let mut schedule = Schedule::new(tree, workers, epoch_cost);
    let calm_until =
        schedule.left / workers as f64 - schedule.waiting.highest_level().unwrap_or(0.0);
    // Each state in memory is a clone of it.
    let alive = Arc::new(());
    let mut held: Vec<Option<(usize, Arc<()>)>> = (0..workers).map(|_| None).collect();
    let mut idle: BTreeSet<usize> = (0..workers).collect();
    // When each worker at work comes to the end of its next epochs, and how many these are.
    let mut events: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let (mut now, mut busy, mut first_end) = (0.0, 0.0, None);
    let (mut most_states, mut ended) = (0, 0);
    loop {
        while let Some(&worker) = idle.first()
            && let Some(job) = schedule.next(worker)
        {
            idle.remove(&worker);
            events.push(Reverse(schedule.next_event(worker, now, calm_until)));
            let stage = job.stage;
            held[worker] = Some((stage, job.state().unwrap_or_else(|| Arc::clone(&alive))));
        }
        most_states = most_states.max(Arc::strong_count(&alive) - 1);
        let Some(Reverse((time, worker, epochs))) = events.pop() else { break };
        now = f64::from_bits(time);
        let (stage, state) = held[worker].take().expect("it has an event");
        busy += schedule.epoch_costs[stage] * epochs as f64;
        let gives_way = epochs > 0 && schedule.epochs_done(worker, epochs);
        if schedule.running[worker].is_some_and(|(_, epochs_left)| epochs_left == 0) {
            let ends = tree.stages[stage].ends.len();
            ended += ends;
            if ends > 0 {
                first_end.get_or_insert(now);
            }
            schedule.end(worker, state);
            idle.insert(worker);
        } else if gives_way {
            schedule.put_back(worker, state);
            idle.insert(worker);
        } else {
            held[worker] = Some((stage, state));
            events.push(Reverse(schedule.next_event(worker, now, calm_until)));
        }
    }
    debug_assert!(schedule.is_over(), "what waits has a worker");
    debug_assert!(schedule.left.abs() <= 1e-9 * now * workers as f64, "{} left", schedule.left);
    debug_assert_eq!(Arc::strong_count(&alive), 1, "every state has gone");
    Forecast {
        length: now,
        first_end: first_end.map_or(0.0, |at: f64| at / now),
        idle_share: 1.0 - busy / (now * workers as f64),
        most_states,
        ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::space::values_of as runs;
    use crate::network::mlp::flops_per_sample;
    use crate::train::checked::Checked;

    /// What an epoch of a run costs, the paper's network's being 1.
    fn cost(values: &Checked) -> f64 {
        let flops = |hidden: &[usize]| flops_per_sample(&[&[784], hidden, &[10]].concat());
        flops(&values.hidden) / flops(&[500, 324])
    }

    fn simulate(runs: &[Checked], workers: usize) -> Forecast {
        let tree = StageTree::shared(runs);
        forecast(&tree, workers, &|stage| cost(&runs[stage.run]))
    }

    #[test]
    fn table_1_ends_runs_early_keeps_few_states_and_leaves_no_worker_idle() {
        let runs = runs("table1", &[]);
        for workers in [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64] {
            let found = simulate(&runs, workers);
            println!("{workers:>2} workers: {found:?}");
            assert_eq!(found.ended, 216);
            assert!(found.most_states <= 4 * workers, "{workers} workers: {found:?}");
            let most_idle = if workers <= 16 { 0.03 } else { 0.08 };
            assert!(found.idle_share <= most_idle, "{workers} workers: {found:?}");
            // No run can end before its 500 epochs.
            if workers <= 2 {
                assert!(found.first_end <= 0.02, "{workers} workers: {found:?}");
            }
        }
    }

    #[test]
    fn a_single_worker_ends_short_runs_before_long_ones() {
        let runs = runs("table2", &["learning_rate=0.1", "hidden=8", "lr_decay=1", "epochs=1,99"]);
        let found = simulate(&runs, 1);
        assert!(found.first_end < 0.02, "{found:?}");
    }

    #[test]
    fn a_few_long_runs_are_shared_out_to_the_end() {
        // Three runs on two workers: one after the other, a worker would idle for a quarter.
        let runs = runs("table2", &["learning_rate=0.1,0.2,0.3", "hidden=500,324", "lr_decay=0.5"]);
        assert_eq!(runs.len(), 3);
        let found = simulate(&runs, 2);
        assert!(found.idle_share < 0.01, "{found:?}");
    }
}
