//! Trains one network on a folder of IDX files and keeps its model, curve and record in another
//! folder. Stop it and run it again: it resumes.
//!
//!     cargo run --release --example train_one -- /usr/share/datasets/fashion-mnist my_run

use std::path::Path;

use rookie::{
    Dataset, Event, Hyperparams, Interrupt, Outcome, Result, RunEnd, RunFolder, SaveEvery,
    train_run,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, folder] = &arguments[..] else {
        panic!("name a folder of data and one for the run")
    };
    let data = Dataset::read(Path::new(data))?;
    let values = Hyperparams {
        hidden: vec![64],
        learning_rate: 0.1,
        epochs: 5,
        eval_every: 1,
        batch_size: 64,
        validation_size: (data.train.len() / 10).into(),
        ..Hyperparams::default()
    };
    let folder = RunFolder::open(Path::new(folder), false, SaveEvery::Epochs(1))?;
    let on_event = |event: &Event<'_>| match event {
        Event::EpochTrained { row, .. } => println!("epoch {} loss {}", row.epoch, row.train.loss),
        Event::Warning(text) => eprintln!("{text}"),
        _ => {}
    };
    let interrupt = Interrupt::default(); // never asked for here
    let end = train_run(&values.check()?, &data, None, Some(&folder), &on_event, &interrupt)?;
    let RunEnd::Finished { record, .. } = end else { unreachable!("nobody interrupts it") };
    match record.outcome {
        Outcome::Done(scores) => println!("test accuracy {:.4}", scores.judged()),
        Outcome::Diverged { epoch } => println!("diverged in epoch {epoch}"),
        // Of a grid that is halved.
        Outcome::Stopped(at) => println!("stopped after epoch {}", at.epoch),
        Outcome::Failed { reason } => println!("failed: {reason}"),
    }
    Ok(())
}
