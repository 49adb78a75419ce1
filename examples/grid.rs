//! Trains a grid without a terminal. An observer counts epochs and, where a number is given, asks the
//! training to stop after so many. The same command without it resumes, and prints the ranking.
//!
//!     cargo run --release --example grid -- /usr/share/datasets/fashion-mnist my_results 3

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rookie::{
    Dataset, Event, Grid, GridOptions, Interrupt, Result, ResultsFolder, default_workers,
    train_grid,
};

/// Four runs; `docs/formats.md` says what else can stand here.
const GRID: &str = "
name = 'four'
[values]
hidden = [64]
epochs = 4
eval_every = 2
batch_size = 64
validation_size = 50
[axes]
learning_rate = [0.2, 0.02]
momentum = [0.0, 0.9]
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, folder, rest @ ..] = &arguments[..] else { panic!("name data and results folder") };
    let stop_after = rest.first().map(|count| count.parse::<usize>().expect("a number of epochs"));
    let data = Dataset::read(Path::new(data))?;
    let grid = Grid::from_toml(GRID)?;
    let results = ResultsFolder::open(Path::new(folder), &grid, &data, false)?;
    let mut options = GridOptions::default();
    options.workers = default_workers();
    let (interrupt, epochs) = (Interrupt::default(), AtomicUsize::new(0));
    // Called from every worker's thread.
    let on_event = |event: &Event<'_>| match event {
        Event::EpochTrained { .. } => {
            let trained = epochs.fetch_add(1, Ordering::Relaxed) + 1;
            if stop_after.is_some_and(|most| trained >= most) {
                interrupt.ask();
            }
        }
        Event::Warning(text) => eprintln!("{text}"),
        _ => {}
    };
    let end = train_grid(&grid, data, &results, &options, &on_event, &interrupt)?;
    for record in end.ranking.records() {
        let accuracy = record.scores().map_or(f64::NAN, rookie::Scores::judged);
        println!("{accuracy:.4} {}", record.run);
    }
    println!("{} epochs trained, {} runs left", epochs.into_inner(), end.left);
    Ok(())
}
