//! `rookie predict`: the classes of images without labels.

use std::io::stdout;

use ndarray::Axis;

use crate::cli::PredictArgs;
use crate::commands::common::Status;
use crate::data::batches::{Standardisation, standardised};
use crate::data::dataset::read_images;
use crate::error::{Error, Place, Result, counted};
use crate::network::gemm::openblas;
use crate::network::mlp::{Workspace, probabilities};
use crate::progress::say;
use crate::report::evaluation::highest;
use crate::train::model::Model;

/// Fewer images than this in a batch make its mean and variance a poor guess.
const POOR_BATCH: usize = 32;

/// Predicts the class of every image of an IDX file.
///
/// # Errors
/// Where the model or the images are not as they must be.
pub fn run(args: &PredictArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let model = Model::read(&args.model)?;
    let images = read_images(&args.images)?;
    let (count, inputs) = (images.dimensions[0], images.dimensions[1] * images.dimensions[2]);
    if inputs != model.inputs() {
        return Err(Error::unexpected(
            Place::file(&args.images),
            format!("images of {inputs} pixels"),
            format!("{}, as the model takes", model.inputs()),
        ));
    }
    let batch_size = model.values.batch_size;
    let last = (count - 1) % batch_size + 1;
    let by_batch = model.values.standardisation == Standardisation::Batch;
    if by_batch && last < POOR_BATCH {
        say(&format!(
            "the last batch holds {} only: batches are standardised by themselves, so these \
             predictions are poor",
            counted(last, "image")
        ));
    }
    let pixels: Vec<&[u8]> = images.bytes.chunks_exact(inputs).collect();
    let x = standardised(&pixels, inputs, batch_size, model.scaling());
    let mut work = Workspace::new(&model.params.sizes(), batch_size.min(count));
    let mut csv = csv::Writer::from_writer(stdout().lock());
    let mut header = vec!["index".to_string(), "label".to_string()];
    header.extend((0..model.classes()).map(|class| format!("probability_{class}")));
    csv.write_record(&header)?;
    let mut index = 0;
    for batch in x.axis_chunks_iter(Axis(0), batch_size) {
        let activation = model.values.activation;
        let (found, _) = probabilities(&model.params, activation, batch, None, &mut work);
        for row in found.rows() {
            let mut cells = vec![index.to_string(), highest(row).to_string()];
            cells.extend(row.iter().map(ToString::to_string));
            csv.write_record(&cells)?;
            index += 1;
        }
    }
    csv.flush()?;
    Ok(Status::Done)
}
