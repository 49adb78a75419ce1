//! `rookie evaluate`: a model on labelled images.

use crate::cli::reading::{EvaluateArgs, SplitName};
use crate::commands::common::{
    Status, class_names, in_batches, in_file_order, load, print, read_model, terminal_width,
    training_images,
};
use crate::data::batches::Part;
use crate::data::dataset::Split;
use crate::data::preprocess::{Moments, Standardisation};
use crate::data::small_batches::small_batches;
use crate::error::{Place, Result};
use crate::grid::store::{make_folder, write_whole};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::evaluation::Evaluation;
use crate::train::origins::Origins;
use crate::train::outcome::Record;

/// Measures a model on a part of the data: batched as in its training, and with the training moments.
///
/// # Errors
/// Where the model, the data or the folder are not as they must be.
pub fn run(args: &EvaluateArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let (mut model, record) = read_model(&args.model)?;
    let dataset = load(args.data.data.as_deref())?;
    model.fits(&args.model, dataset.train.inputs(), dataset.classes)?;
    let values = &model.values;
    let (images, indices) = if args.split == SplitName::Test {
        (&dataset.test, in_file_order(&dataset.test))
    } else {
        Origins::all_at(Place::file(&args.model)).check_against(dataset.shape(), values)?;
        let split = Split::draw(dataset.train.len(), values.validation_size, values.data_seed)?;
        let of_training = args.split == SplitName::Train;
        (&dataset.train, if of_training { split.train } else { split.validation })
    };
    if let Some(folder) = &args.csv {
        make_folder(folder, "--csv")?;
    }
    let names = class_names(&dataset);
    let part = in_batches(images, &indices, &model);
    let evaluation = Evaluation::measure(&model, &part, names.clone());
    let trained_on = training_images(&model, &dataset, record.as_ref());
    let caution = trained_on.as_ref().and_then(|_| caution(args.split));
    if trained_on.is_none() {
        let folder = dataset.folder.display();
        let left_out = if model.scaling_alone().is_some() {
            ""
        } else {
            "; the accuracy with the training moments is left out, because its file has none \
             (version 0.1 wrote none)"
        };
        let model = args.model.display();
        say(&format!("warning: {folder} holds other images than {model} was trained on{left_out}"));
    }
    let has_other_split = |record: Record| record.provenance.has_other_split(&record.values);
    if args.split == SplitName::Validation && record.is_some_and(has_other_split) {
        say(&format!(
            "warning: {} began as a model of another split, which may have been trained on these \
             images",
            args.model.display()
        ));
    }
    let mut alone = None;
    if model.values.standardisation == Standardisation::Batch {
        let name = match args.split {
            SplitName::Train => "training",
            SplitName::Validation => "validation",
            SplitName::Test => "test",
        };
        if let Some(warning) = small_batches(model.values.batch_size, &[(name, part.len())]) {
            say(&warning);
        }
        if let (None, Some(indices)) = (&model.moments, trained_on) {
            model.moments = Some(Moments::measure(&dataset.train, &indices, model.z));
        }
        alone = model.scaling_alone().map(|scaling| {
            // Each image by itself; multiplied in batches, because a count needs no more.
            let part = Part::new(images, &indices, model.values.batch_size, scaling);
            Evaluation::measure(&model, &part, names).tally.accuracy()
        });
    }
    if let Some(folder) = &args.csv {
        write_whole(&folder.join("classes.csv"), &evaluation.classes_csv())?;
        write_whole(&folder.join("confusion.csv"), &evaluation.confusion_csv())?;
        say(&format!("classes.csv and confusion.csv are in {}", folder.display()));
    }
    print(&evaluation.describe(alone, caution, terminal_width()))?;
    Ok(Status::Done)
}

/// Why accuracies on a split are no estimate for new images.
fn caution(split: SplitName) -> Option<&'static str> {
    match split {
        SplitName::Train => {
            Some("These images trained the model: this is not an estimate for new images.")
        }
        SplitName::Validation => {
            Some("These images chose the weights: this is slightly optimistic.")
        }
        SplitName::Test => None,
    }
}
