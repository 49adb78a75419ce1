//! The threads that train the stages of a tree, and other threads that work at the same time. The only module that
//! uses rayon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result, catch_panic, counted};
use crate::grid::schedule::{Schedule, Waiting};
use crate::grid::stages::{Stage, StageTree};
use crate::memory::{Room, Size};

/// Between two looks of a worker that has nothing to do.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Calls `work` once on each of `workers` threads at the same time, with the worker's number (from
/// 0), and returns what they returned.
///
/// # Errors
/// [`Error::Machine`] where so many threads cannot be started, or where a limit on the address space has
/// no room for what OpenBLAS allocates for each.
pub fn on_each_worker<T: Send>(workers: usize, work: impl Fn(usize) -> T + Sync) -> Result<Vec<T>> {
    let pool = threads(workers)
        .map_err(|problem| Error::Machine(format!("{problem}; lower --jobs or raise the limit")))?;
    Ok(pool.broadcast(|context| work(context.index())))
}

/// So many threads.
///
/// # Errors
/// Where they cannot be had: why.
fn threads(count: usize) -> std::result::Result<ThreadPool, String> {
    if let Some((needed, left)) = Room::now().lacks(0, count - 1) {
        let threads = counted(count, "thread");
        return Err(format!("{threads} that multiply need about {}, but {left}", Size(needed)));
    }
    let named = |index| format!("worker {}", index + 1);
    let pool = ThreadPoolBuilder::new().num_threads(count).thread_name(named).build();
    pool.map_err(|error| format!("cannot start {}: {error}", counted(count, "thread")))
}

/// As many threads as were asked for, or as few as the system lets be started.
#[derive(Debug)]
pub struct Workers {
    /// `None` where not even one can be had: then the calling thread is the only worker.
    pool: Option<ThreadPool>,
    /// Why there are fewer than were asked for, if there are.
    pub fewer_because: Option<String>,
}

impl Workers {
    /// At most so many.
    pub fn up_to(most: usize) -> Self {
        let mut fewer_because = None;
        for count in (1..=most).rev() {
            match threads(count) {
                Ok(pool) => return Self { pool: Some(pool), fewer_because },
                Err(problem) => _ = fewer_because.get_or_insert(problem),
            }
        }
        Self { pool: None, fewer_because: fewer_because.filter(|_| most > 1) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    /// Calls `work` once on each at the same time, with the worker's number (from 0), and returns what they
    /// returned.
    pub fn each<T: Send>(&self, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        match &self.pool {
            Some(pool) => pool.broadcast(|context| work(context.index())),
            None => vec![work(0)],
        }
    }
}

/// How a worker left a stage.
#[derive(Debug)]
pub enum StageEnd<S> {
    /// At its end, with the state that the stages after it resume from.
    Finished(S),
    /// Before it, because [`Worker::epoch_trained`] said so.
    Preempted(S),
    /// For good: no run is left that would train this stage or one after it.
    Over,
}

/// How the workers spent their time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeSpent {
    /// How many there were.
    pub workers: usize,
    /// From begin to end.
    pub elapsed: Duration,
    /// Of the time of all workers together, the fraction in which one had nothing to do.
    pub idle_share: f64,
    /// Of the same time, the fraction in which one wrote results and checkpoints.
    pub writing_share: f64,
}

impl TimeSpent {
    /// Together with the time spent afterwards.
    #[must_use]
    pub fn and(self, after: Self) -> Self {
        let total = |of: &Self| of.workers as f64 * of.elapsed.as_secs_f64();
        let (before_total, after_total) = (total(&self), total(&after));
        let share = |before: f64, after: f64| {
            (before * before_total + after * after_total) / (before_total + after_total)
        };
        Self {
            workers: self.workers.max(after.workers),
            elapsed: self.elapsed + after.elapsed,
            idle_share: share(self.idle_share, after.idle_share),
            writing_share: share(self.writing_share, after.writing_share),
        }
    }
}

/// One of several workers, while it trains a stage.
#[derive(Debug)]
pub struct Worker<'a, 't, S> {
    /// From 0.
    pub index: usize,
    shared: &'a Shared<'t, S>,
}

impl<S: Clone> Worker<'_, '_, S> {
    /// Takes note of an epoch; returns whether to leave the stage unless that was its last one.
    pub fn epoch_trained(&self) -> bool {
        self.shared.schedule().epoch_done(self.index) || self.shared.must_stop()
    }
}

/// What the workers share.
struct Shared<'t, S> {
    stop: &'t (dyn Fn() -> bool + Sync),
    schedule: Mutex<Schedule<'t, S>>,
    changed: Condvar,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl<S> std::fmt::Debug for Shared<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Trains all stages of a tree on these workers: `train` gets a stage and the state before it,
/// none for a root. After `stop` says so, workers leave their stages after the next epoch.
/// `epoch_cost` says what an epoch of a stage costs in relation to others.
///
/// # Errors
/// The first error or panic of `train`; other workers leave their stages after the next epoch.
pub fn train_stages<S: Clone + Send + Sync>(
    tree: &StageTree,
    workers: &Workers,
    epoch_cost: &dyn Fn(&Stage) -> f64,
    stop: &(dyn Fn() -> bool + Sync),
    train: impl Fn(&Worker<'_, '_, S>, usize, Option<S>) -> Result<StageEnd<S>> + Sync,
) -> Result<TimeSpent> {
    let count = workers.count();
    let shared = Shared {
        stop,
        schedule: Mutex::new(Schedule::new(tree, count, epoch_cost)),
        changed: Condvar::new(),
        failed: AtomicBool::new(false),
        error: Mutex::new(None),
    };
    let begun = Instant::now();
    let busy = workers.each(|index| {
        let (worker, mut busy) = (Worker { index, shared: &shared }, Duration::ZERO);
        while let Some(job) = shared.wait_for_stage(index) {
            let begun = Instant::now();
            let stage = job.stage;
            // A worker that has gone would leave its stage running, and the others waiting for it.
            let ended = catch_panic(|| train(&worker, stage, job.state()))
                .unwrap_or_else(|reason| Err(panicked(&reason)));
            shared.leave(index, ended);
            busy += begun.elapsed();
        }
        busy
    });
    let elapsed = begun.elapsed();
    let idle =
        1.0 - busy.iter().sum::<Duration>().as_secs_f64() / (count as f64 * elapsed.as_secs_f64());
    match shared.error.into_inner().expect("no panic while holding it") {
        Some(error) => Err(error),
        None => {
            Ok(TimeSpent { workers: count, elapsed, idle_share: idle.max(0.0), writing_share: 0.0 })
        }
    }
}

impl<'t, S: Clone> Shared<'t, S> {
    fn schedule(&self) -> MutexGuard<'_, Schedule<'t, S>> {
        self.schedule.lock().expect("no panic while holding it")
    }

    fn must_stop(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || (self.stop)()
    }

    /// The worker's next stage; none where all are trained or all must stop.
    fn wait_for_stage(&self, worker: usize) -> Option<Waiting<S>> {
        let mut schedule = self.schedule();
        while !self.must_stop() && !schedule.is_over() {
            if let Some(job) = schedule.next(worker) {
                return Some(job);
            }
            // Nobody wakes a worker for a signal, so it looks by itself now and then.
            let wait = self.changed.wait_timeout(schedule, LOOK_EVERY);
            schedule = wait.expect("no panic while holding it").0;
        }
        None
    }

    /// A worker has left its stage.
    fn leave(&self, worker: usize, ended: Result<StageEnd<S>>) {
        match ended {
            Ok(StageEnd::Preempted(state)) => self.schedule().put_back(worker, state),
            Ok(StageEnd::Finished(state)) => self.schedule().end(worker, state),
            Ok(StageEnd::Over) => self.schedule().abandon(worker),
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                self.error.lock().expect("no panic while holding it").get_or_insert(error);
            }
        }
        self.changed.notify_all();
    }
}

/// A panic outside the training of a run, whose panics are failures of that run alone.
fn panicked(reason: &str) -> Error {
    Error::Machine(format!(
        "a worker {reason}; all workers have stopped, and the same command resumes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;
    use crate::grid::space::values_of as runs;
    use std::sync::atomic::AtomicUsize;

    /// Training that notes what was done and takes no time.
    struct Noting<'t> {
        tree: &'t StageTree,
        epochs: Vec<AtomicUsize>, // trained, of each stage
        ends: Vec<AtomicUsize>,   // of each run
        at_stage_0: fn() -> Option<Result<StageEnd<State>>>,
    }

    /// Epochs of the current stage, and the stages before it.
    type State = (usize, Vec<usize>);

    impl<'t> Noting<'t> {
        fn new(tree: &'t StageTree, runs: usize) -> Self {
            let zeros = |count: usize| (0..count).map(|_| AtomicUsize::new(0)).collect();
            Self { tree, epochs: zeros(tree.stages.len()), ends: zeros(runs), at_stage_0: || None }
        }

        fn train(
            &self,
            worker: &Worker<'_, '_, State>,
            index: usize,
            state: Option<State>,
        ) -> Result<StageEnd<State>> {
            let note = |counters: &[AtomicUsize], at: usize| {
                counters[at].fetch_add(1, Ordering::Relaxed);
            };
            let (stage, mut state) = (&self.tree.stages[index], state.unwrap_or_default());
            if let Some(ended) = (self.at_stage_0)().filter(|_| index == 0) {
                if matches!(ended, Ok(StageEnd::Over)) {
                    self.tree.runs_from(index).into_iter().for_each(|run| note(&self.ends, run));
                }
                return ended;
            }
            assert_eq!(state.1.last().copied(), stage.parent, "the state is another stage's");
            while state.0 < stage.epochs() {
                state.0 += 1;
                note(&self.epochs, index);
                if worker.epoch_trained() && state.0 < stage.epochs() {
                    return Ok(StageEnd::Preempted(state));
                }
            }
            state.0 = 0;
            state.1.push(index);
            stage.ends.iter().for_each(|&run| note(&self.ends, run));
            Ok(StageEnd::Finished(state))
        }

        fn run(&self, workers: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<TimeSpent> {
            train_stages(
                self.tree,
                &Workers::up_to(workers),
                &|_| 1.0,
                stop,
                |worker, stage, state| self.train(worker, stage, state),
            )
        }
    }

    fn counts(counters: &[AtomicUsize]) -> Vec<usize> {
        counters.iter().map(|counter| counter.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn every_stage_is_trained_once_and_every_run_ended_once_for_any_number_of_workers() {
        let runs = runs("table1", &["lr_decay_every=20", "epochs=40,50"]);
        let tree = StageTree::shared(&runs);
        let expected: Vec<usize> = tree.stages.iter().map(Stage::epochs).collect();
        for workers in [1, 2, 7] {
            let noting = Noting::new(&tree, runs.len());
            noting.run(workers, &|| false).unwrap();
            assert_eq!(counts(&noting.epochs), expected, "{workers} workers");
            assert!(counts(&noting.ends).iter().all(|&count| count == 1), "{workers} workers");
        }
    }

    #[test]
    fn a_stage_that_is_lost_ends_all_its_runs_and_no_others() {
        let runs = runs("table1", &["lr_decay_every=20", "epochs=50"]);
        let tree = StageTree::shared(&runs);
        let noting =
            Noting { at_stage_0: || Some(Ok(StageEnd::Over)), ..Noting::new(&tree, runs.len()) };
        noting.run(2, &|| false).unwrap();
        assert!(counts(&noting.ends).iter().all(|&count| count == 1));
        let untrained = counts(&noting.epochs).iter().filter(|&&count| count == 0).count();
        assert_eq!(untrained, 1 + tree.stages[0].children.len());
    }

    #[test]
    fn an_error_stops_the_others_and_comes_back() {
        let runs = runs("table1", &[]);
        let tree = StageTree::shared(&runs);
        let broken = || Some(Err(Error::input(Place::Name("stage"), "broken")));
        let noting = Noting { at_stage_0: broken, ..Noting::new(&tree, runs.len()) };
        let result = noting.run(2, &|| false);
        assert_eq!(result.unwrap_err().to_string(), "stage: broken");
        assert!(counts(&noting.ends).contains(&0));
    }

    #[test]
    fn a_panic_stops_the_others_and_comes_back_as_an_error() {
        // On a thread of its own, so that workers that wait for ever fail the test.
        let (ended, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runs = runs("table1", &["lr_decay_every=20", "epochs=40,50"]);
            let tree = StageTree::shared(&runs);
            let at_stage_0 = || panic!("on purpose");
            let noting = Noting { at_stage_0, ..Noting::new(&tree, runs.len()) };
            ended.send(noting.run(3, &|| false).map_err(|error| error.to_string())).unwrap();
        });
        let result = result.recv_timeout(Duration::from_secs(20)).expect("the workers end");
        let message = result.unwrap_err();
        assert!(message.starts_with("a worker panicked: on purpose;"), "{message}");
    }

    #[test]
    fn a_stop_preempts_after_the_epoch() {
        let runs = runs("table1", &[]);
        let tree = StageTree::shared(&runs);
        let noting = Noting::new(&tree, runs.len());
        let trained = || counts(&noting.epochs).iter().sum::<usize>();
        noting.run(2, &|| trained() >= 10).unwrap();
        assert!((10..=12).contains(&trained()), "{}", trained());
    }
}
