//! What a person sees while runs train: bars on a terminal, elsewhere a plain line every ten
//! seconds. The only module that uses indicatif. All of it goes to standard error.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::event::Event;
use crate::results::tables::percent;
use crate::signals;
use crate::text::printable;
use crate::train::outcome::Outcome;
use crate::train::score::CurveRow;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at the clock and at signals.
const TICK: Duration = Duration::from_millis(200);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Totals {
    /// Runs to train.
    pub runs: usize,
    /// Their epochs together.
    pub epochs: usize,
    /// Images in an epoch.
    pub images: usize,
}

#[derive(Debug, Clone, Default)]
struct Done {
    runs: usize,
    epochs: usize,
    skipped: usize, // epochs that diverged runs did not need
    best: Option<(f64, String)>,
}

/// The tally of what is done.
#[derive(Debug)]
struct Tally {
    totals: Totals,
    begun: Instant,
    done: Mutex<Done>,
}

impl Tally {
    /// Runs, rate and time left.
    fn describe(&self) -> String {
        let done = self.done.lock().expect("no panic while holding it").clone();
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = (done.epochs * self.totals.images) as f64 / seconds;
        let left = self.totals.epochs.saturating_sub(done.epochs + done.skipped);
        let eta = match done.epochs {
            0 => "unknown".to_string(),
            epochs => duration(seconds / epochs as f64 * left as f64),
        };
        format!(
            "{}/{} runs  {} samples/s  ETA {eta}",
            done.runs,
            self.totals.runs,
            HumanCount(rate as u64)
        )
    }

    /// The best run so far, once one has been validated.
    fn best(&self) -> String {
        let best = &self.done.lock().expect("no panic while holding it").best;
        let told = best.as_ref().map(|(accuracy, run)| format!("{} {run}", percent(*accuracy)));
        told.map_or_else(String::new, |told| format!("best validation {told}"))
    }
}

/// Prints a message to standard error. Ignored if standard error is closed.
pub fn say(message: &str) {
    let _ = writeln!(stderr(), "rookie: {}", printable(message));
}

/// Seconds as `2 h 05 min`, `3 min 20 s` or `45 s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Shows what is trained, from the moment at which it is known.
#[derive(Debug, Default)]
pub struct Screen(RwLock<Option<Progress>>);

impl Screen {
    /// Shows an event.
    pub fn show(&self, event: &Event<'_>) {
        match (&*self.0.read().expect("no panic while holding it"), event) {
            (Some(progress), event) => progress.show(event),
            (None, Event::Warning(text)) => say(text),
            (None, Event::Halved { rung, kept, candidates }) => {
                say(&halved(*rung, *kept, *candidates));
            }
            (None, _) => {}
        }
    }

    /// Begins to show progress of so many workers.
    pub fn begin(&self, totals: Totals, workers: usize) {
        *self.0.write().expect("no panic while holding it") =
            Some(Progress::begin(totals, workers));
    }

    /// Shows no progress until it begins again.
    pub fn end(&self) {
        self.0.write().expect("no panic while holding it").take();
    }
}

fn halved(rung: usize, kept: usize, candidates: usize) -> String {
    format!("epoch {rung}: {kept} of {candidates} candidates continue")
}

/// Shows progress until it is dropped.
#[derive(Debug)]
pub struct Progress {
    tally: Arc<Tally>,
    display: Display,
    end: Option<Sender<()>>,
    clock: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
enum Display {
    Bars { all: MultiProgress, total: ProgressBar, best: ProgressBar, workers: Vec<ProgressBar> },
    Lines,
}

impl Display {
    fn say(&self, message: &str) {
        match self {
            Self::Bars { all, .. } => all.suspend(|| say(message)),
            Self::Lines => say(message),
        }
    }
}

impl Progress {
    /// Begins to show progress of so many workers.
    pub fn begin(totals: Totals, workers: usize) -> Self {
        let tally = Arc::new(Tally { totals, begun: Instant::now(), done: Mutex::default() });
        let display = if stderr().is_terminal() { bars(&tally, workers) } else { Display::Lines };
        let (end, ended) = channel();
        let clock = {
            let (tally, display) = (Arc::clone(&tally), display.clone());
            // Without a thread for it, bars and lines are not kept fresh, and training does without.
            Builder::new().spawn(move || tick(&tally, &display, &ended)).ok()
        };
        Self { tally, display, end: Some(end), clock }
    }

    /// Shows what happens from now on.
    pub fn show(&self, event: &Event<'_>) {
        match event {
            Event::Warning(text) => self.say(text),
            Event::StageStarted { worker, name } => self.stage(*worker, name),
            Event::EpochTrained { worker, name, epochs, row } => {
                self.epoch(*worker, name, *epochs, row);
            }
            Event::EpochsSkipped(epochs) => self.skip(*epochs),
            Event::StageLeft { worker } => self.stage(*worker, ""),
            Event::RunFinished(record) => {
                let name = &record.run;
                self.tally.done.lock().expect("no panic while holding it").runs += 1;
                match &record.outcome {
                    Outcome::Done(_) | Outcome::Stopped(_) => {}
                    Outcome::Diverged { epoch } => {
                        self.say(&format!("{name} diverged in epoch {epoch}"));
                    }
                    Outcome::Failed { reason } => self.say(&format!("{name} failed: {reason}")),
                }
            }
            Event::Halved { rung, kept, candidates } => {
                self.say(&halved(*rung, *kept, *candidates));
            }
            Event::RungReached(_) => {
                self.tally.done.lock().expect("no panic while holding it").runs += 1;
            }
            Event::Planned { .. } | Event::RunStarted { .. } => {}
        }
    }

    fn stage(&self, worker: usize, run: &str) {
        if let Display::Bars { workers, .. } = &self.display {
            workers[worker].set_message(run.to_string());
        }
    }

    /// A worker has trained an epoch of a run.
    fn epoch(&self, worker: usize, run: &str, of: usize, row: &CurveRow) {
        {
            let mut done = self.tally.done.lock().expect("no panic while holding it");
            done.epochs += 1;
            if let Some(validation) = row.validation
                && done.best.as_ref().is_none_or(|(best, _)| validation.accuracy > *best)
            {
                done.best = Some((validation.accuracy, run.to_string()));
            }
        }
        if let Display::Bars { total, workers, .. } = &self.display {
            let train = format!("train {} loss {:.4}", percent(row.train.accuracy), row.train.loss);
            workers[worker].set_message(format!("{run}  epoch {}/{of}  {train}", row.epoch));
            total.inc(1);
        }
    }

    /// So many epochs need not be trained.
    fn skip(&self, epochs: usize) {
        self.tally.done.lock().expect("no panic while holding it").skipped += epochs;
        if let Display::Bars { total, .. } = &self.display {
            total.inc(epochs as u64);
        }
    }

    /// Says something between bars or lines.
    fn say(&self, message: &str) {
        self.display.say(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        self.clock.take().map(JoinHandle::join);
        if let Display::Bars { all, total, best, workers } = &self.display {
            workers.iter().chain([best, total]).for_each(ProgressBar::finish_and_clear);
            drop(all.clear());
        }
    }
}

/// Keeps the display fresh between epochs, and answers a signal at once, until the end.
fn tick(tally: &Tally, display: &Display, ended: &Receiver<()>) {
    let mut told = false;
    let mut last_line = Instant::now();
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if !told && signals::caught().is_some() {
            display.say("stopping after this epoch; a second signal stops at once");
            told = true;
        }
        match display {
            Display::Bars { total, best, .. } => {
                total.set_message(tally.describe());
                best.set_message(tally.best());
            }
            Display::Lines if last_line.elapsed() >= LINE_EVERY => {
                let epochs = tally.done.lock().expect("no panic while holding it").epochs;
                let (totals, best) = (tally.describe(), tally.best());
                say(&format!("{epochs}/{} epochs  {totals}  {best}", tally.totals.epochs));
                last_line += LINE_EVERY;
            }
            Display::Lines => {}
        }
    }
}

fn bars(tally: &Tally, workers: usize) -> Display {
    let style = |template| ProgressStyle::with_template(template).expect("a constant template");
    let all = MultiProgress::new();
    let total = all.add(ProgressBar::new(tally.totals.epochs as u64));
    total.set_style(style("{bar:16} {human_pos}/{human_len} epochs  {wide_msg}"));
    let width = workers.to_string().len();
    let best = all.add(ProgressBar::new_spinner());
    best.set_style(style("{wide_msg}"));
    let workers = (1..=workers).map(|number| {
        let bar = all.add(ProgressBar::new_spinner());
        bar.set_style(style("{prefix} {wide_msg}"));
        bar.set_prefix(format!("worker {number:>width$}"));
        bar.tick();
        bar
    });
    let workers = workers.collect();
    Display::Bars { all, total, best, workers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units_at_most() {
        let told = [0.4, 59.4, 59.6, 200.0, 3599.6, 7500.0].map(duration);
        assert_eq!(told, ["0 s", "59 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "2 h 05 min"]);
    }
}
