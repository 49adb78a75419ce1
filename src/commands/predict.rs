//! `rookie predict`: the classes of images without labels, by a model or an ensemble.

use std::io::{Read, Write, stdin};
use std::path::Path;

use ndarray::ArrayView1;

use crate::cli::reading::{PredictArgs, PredictBy};
use crate::commands::averaging::{By, averaged, batch_sizes, has_moments, measure_moments};
use crate::commands::common::{Status, load, read_predictor, training_images, write_out};
use crate::data::dataset::read_images;
use crate::data::features::Features;
use crate::data::idx;
use crate::data::small_batches::small_batches;
use crate::error::{Error, Place, Result};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::evaluation::highest;
use crate::results::tables;
use crate::train::predictor::Predictor;

/// The most bytes that are read from standard input.
const MAX_INPUT: u64 = 4 << 30;

/// Predicts the class of every image of an IDX file.
///
/// # Errors
/// Where the model or the images are not as they must be.
pub fn run(args: &PredictArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let mut predictor = Predictor::open(&args.model)?;
    let images = if args.images == Path::new("-") {
        let mut bytes = Vec::new();
        let read = stdin().take(MAX_INPUT).read_to_end(&mut bytes);
        read.map_err(|source| Error::read("standard input", source))?;
        idx::from_bytes(Path::new("standard input"), &bytes, 3)?
    } else {
        read_images(&args.images)?
    };
    let (count, inputs) = (images.dimensions[0], images.dimensions[1] * images.dimensions[2]);
    if inputs != predictor.inputs() {
        return Err(Error::unexpected(
            Place::file(&images.path),
            format!("images of {inputs} pixels"),
            format!("{}, as the model takes", predictor.inputs()),
        ));
    }
    let by = match args.standardise {
        // One by one, because a kernel may round an image otherwise at another place in a batch.
        PredictBy::Moments => {
            find_moments(&mut predictor, args)?;
            By::Image
        }
        PredictBy::Batch if batch_sizes(&predictor).is_empty() => {
            let problem = "found batch, but the model was trained without batch standardisation";
            return Err(Error::input(Place::flag("--standardise"), problem).hint("leave it out"));
        }
        PredictBy::Batch => {
            for batch_size in batch_sizes(&predictor) {
                if let Some(warning) = small_batches(batch_size, &[("input", count)]) {
                    say(&format!("{warning}; leave out `--standardise batch`"));
                }
            }
            By::Batch
        }
    };
    let features = Features::bytes(images.bytes, inputs);
    let all: Vec<usize> = (0..count).collect();
    let found = averaged(&predictor, by, features.rows(&all))?;
    let mut header = vec!["index".to_string(), "label".to_string()];
    header.extend((0..predictor.classes()).map(|class| format!("probability_{class}")));
    let row = |(index, row): (usize, ArrayView1<'_, f32>)| {
        let mut cells = vec![index.to_string(), highest(row).to_string()];
        cells.extend(row.iter().map(ToString::to_string));
        cells
    };
    let rows: Vec<Vec<String>> = found.rows().into_iter().enumerate().map(row).collect();
    write_out(|out| out.write_all(&tables::csv(&header, &rows)))?;
    Ok(Status::Done)
}

/// Measures the training moments of models whose files have none, on the data that they were trained on.
fn find_moments(predictor: &mut Predictor, args: &PredictArgs) -> Result<()> {
    if has_moments(predictor) {
        return Ok(());
    }
    let missing = |reason: String| {
        let problem = format!("has no training moments (version 0.1 wrote none), and {reason}");
        Error::input(Place::file(&args.model), problem).hint(
            "name the images that it was trained on with --data, or predict in batches with \
             `--standardise batch`",
        )
    };
    let dataset = load(args.data.as_deref()).map_err(|error| missing(error.to_string()))?;
    let (_, provenance) = read_predictor(&args.model)?;
    let first = &predictor.members[0].model;
    let Some(indices) = training_images(first, &dataset, provenance.as_ref()) else {
        let folder = dataset.source.display();
        return Err(missing(format!("{folder} holds other images than it was trained on")));
    };
    measure_moments(predictor, &dataset, &indices);
    Ok(())
}
