//! Trains on arrays in memory and writes nothing: images of which the left half is bright (class 0) or
//! the right one (class 1), under noise.
//!
//!     cargo run --release --example arrays

use rookie::ndarray::Array3;
use rookie::{Dataset, Hyperparams, Interrupt, Labelled, Result, RunEnd, train_run};

/// Images (count, 6, 8) and their classes.
fn halves(count: usize, seed: u32) -> Result<Labelled> {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 // 0 to 255
    };
    let labels: Vec<u8> = (0..count).map(|image| (image % 2) as u8).collect();
    let images = Array3::from_shape_fn((count, 6, 8), |(image, _, column)| {
        let is_bright = u8::from(column >= 4) == labels[image];
        noise() / 2 + if is_bright { 100 } else { 0 }
    });
    Labelled::new(images.view(), &labels)
}

fn main() -> Result<()> {
    let data = Dataset::new(halves(400, 1)?, halves(100, 2)?)?;
    let values = Hyperparams {
        hidden: vec![8],
        epochs: 4,
        eval_every: 1,
        batch_size: 40,
        validation_size: 80.into(),
        ..Hyperparams::default()
    };
    let (silent, interrupt) = (|_: &rookie::Event<'_>| {}, Interrupt::default());
    let end = train_run(&values.check()?, &data, None, None, &silent, &interrupt)?;
    let RunEnd::Finished { trained, .. } = end else { unreachable!("nobody interrupts it") };
    for row in &trained.curve {
        let validation = row.validation.expect("each epoch is validated").accuracy;
        println!("epoch {} validation accuracy {validation:.3}", row.epoch);
    }
    let model = trained.model.expect("it did not diverge");
    println!("the best weights are those of epoch {}", model.best_epoch);
    Ok(())
}
