//! Which job next, on which worker. The only door to rayon.
//!
//! Workers take jobs in order from one list, so that they end together to within one job.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// How many workers there are unless a user says otherwise: the cores that this process may use.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Calls `work` once on each of `workers` threads at the same time, with the worker's number (from
/// 0), and returns what they returned.
///
/// # Errors
/// [`Error::Machine`] where so many threads cannot be started.
pub fn on_each_worker<T: Send>(workers: usize, work: impl Fn(usize) -> T + Sync) -> Result<Vec<T>> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|index| format!("worker {}", index + 1))
        .build()
        .map_err(|error| Error::Machine(format!("cannot start {workers} workers: {error}")))?;
    Ok(pool.broadcast(|context| work(context.index())))
}

/// Works through all jobs on `workers` threads. `work` gets the worker's number (from 0), the job,
/// and a question to ask now and then: must it stop? It must after `stop` says so or another
/// worker's job has failed.
///
/// # Errors
/// The first error of a job; jobs that had not begun by then never begin.
pub fn work_through<J: Sync>(
    workers: usize,
    jobs: &[J],
    stop: &(dyn Fn() -> bool + Sync),
    work: impl Fn(usize, &J, &dyn Fn() -> bool) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    let must_stop = || stop() || failed.load(Ordering::Relaxed);
    on_each_worker(workers, |worker| {
        while !must_stop() {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            if let Err(error) = work(worker, job, &must_stop) {
                failed.store(true, Ordering::Relaxed);
                first_error.lock().expect("no panic while holding it").get_or_insert(error);
            }
        }
    })?;
    match first_error.into_inner().expect("no panic while holding it") {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    #[test]
    fn every_job_is_done_once_for_any_number_of_workers() {
        for workers in [1, 2, 7] {
            let jobs: Vec<usize> = (0..100).collect();
            let done: Vec<AtomicUsize> = jobs.iter().map(|_| AtomicUsize::new(0)).collect();
            let result = work_through(workers, &jobs, &|| false, |worker, &job, _| {
                assert!(worker < workers);
                done[job].fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            assert!(result.is_ok());
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn an_error_stops_the_others_and_comes_back() {
        let jobs: Vec<usize> = (0..1000).collect();
        let begun = AtomicUsize::new(0);
        let result = work_through(2, &jobs, &|| false, |_, &job, must_stop| {
            begun.fetch_add(1, Ordering::Relaxed);
            if job == 3 {
                return Err(Error::input(Place::flag("job 3"), "broken"));
            }
            while job > 3 && !must_stop() {
                std::thread::yield_now();
            }
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "job 3: broken");
        assert!(begun.load(Ordering::Relaxed) <= 5);
    }

    #[test]
    fn nothing_begins_after_a_stop() {
        let begun = AtomicUsize::new(0);
        let stop = || begun.load(Ordering::Relaxed) >= 2;
        work_through(1, &[(); 10], &stop, |_, (), _| {
            begun.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
