//! `rookie evaluate`: a model or an ensemble on labelled images.

use crate::cli::reading::{EvaluateArgs, SplitName};
use crate::commands::averaging::{
    By, LabelledRows, averaged, batch_sizes, has_moments, measure_moments,
};
use crate::commands::common::{Status, print, read_predictor, terminal_width};
use crate::commands::data::{class_names, in_batches, in_file_order, load, training_images};
use crate::data::dataset::{Dataset, Labelled};
use crate::data::small_batches::small_batches;
use crate::error::{Error, Place, Result};
use crate::grid::store::{make_folder, write_whole};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::evaluation::Evaluation;
use crate::train::origins::Origins;
use crate::train::predictor::Predictor;

/// Measures a model on a part of the data: batched as in its training, and with the training moments.
///
/// # Errors
/// Where the model, the data or the folder are not as they must be.
pub fn run(args: &EvaluateArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let (mut predictor, provenance) = read_predictor(&args.model)?;
    let dataset = load(&args.data, provenance.as_ref())?;
    let first = &predictor.members[0].model;
    first.fits_data(&args.model, &dataset)?;
    let trained_on = training_images(first, &dataset, provenance.as_ref());
    let (images, indices) = chosen(args, &predictor, &dataset)?;
    if let Some(folder) = &args.csv {
        make_folder(folder, "--csv")?;
    }
    let caution = trained_on.as_ref().and_then(|_| caution(args.split, &predictor));
    if trained_on.is_none() {
        let folder = dataset.source.display();
        let left_out = if has_moments(&predictor) {
            ""
        } else {
            "; the accuracy with the training moments is left out, because its file has none \
             (version 0.1 wrote none)"
        };
        let model = args.model.display();
        let noun = predictor.signature().noun();
        say(&format!(
            "warning: {folder} holds other {noun}s than {model} was trained on{left_out}"
        ));
    }
    let has_other_split = provenance.is_some_and(|it| it.has_other_split(predictor.values()));
    if args.split == SplitName::Validation && has_other_split {
        say(&format!(
            "warning: {} began as a model of another split, which may have been trained on these {}s",
            args.model.display(),
            predictor.signature().noun()
        ));
    }
    for batch_size in batch_sizes(&predictor) {
        let name = match args.split {
            SplitName::Train => "training",
            SplitName::Validation => "validation",
            SplitName::Test => "test",
        };
        if let Some(warning) = small_batches(batch_size, &[(name, indices.len())]) {
            say(&warning);
        }
    }
    if let Some(indices) = trained_on {
        measure_moments(&mut predictor, &dataset, &indices);
    }
    let (evaluation, alone) = measure(&predictor, images, &indices, class_names(&dataset))?;
    if let Some(folder) = &args.csv {
        write_whole(&folder.join("classes.csv"), &evaluation.classes_csv())?;
        write_whole(&folder.join("confusion.csv"), &evaluation.confusion_csv())?;
        say(&format!("classes.csv and confusion.csv are in {}", folder.display()));
    }
    let noun = predictor.signature().noun();
    print(&evaluation.describe(alone, caution.as_deref(), noun, terminal_width()))?;
    Ok(Status::Done)
}

/// The images to evaluate on, and their order.
fn chosen<'a>(
    args: &EvaluateArgs,
    predictor: &Predictor,
    dataset: &'a Dataset,
) -> Result<(&'a Labelled, Vec<usize>)> {
    if args.split == SplitName::Test {
        if dataset.test.is_empty() {
            let found = "no test set";
            return Err(Error::unexpected(Place::file(&dataset.source), found, "test rows")
                .hint("name the rows with --split train or --split validation"));
        }
        return Ok((&dataset.test, in_file_order(&dataset.test)));
    }
    let values = predictor.values();
    Origins::all_at(Place::file(&args.model)).check_against(dataset.shape(), values)?;
    let split = dataset.split(values.validation_size, values.data_seed)?;
    let of_training = args.split == SplitName::Train;
    if !of_training && split.validation.is_empty() {
        let problem = "was trained on the rows of all folds, so that none is left for validation";
        return Err(Error::input(Place::file(&args.model), problem)
            .hint("evaluate it on the test set, or a model of one fold"));
    }
    Ok((&dataset.train, if of_training { split.train } else { split.validation }))
}

/// How a predictor does on images, standardised as in training, and its accuracy with the training moments
/// where that is another one and they are known.
fn measure(
    predictor: &Predictor,
    images: &Labelled,
    indices: &[usize],
    names: Vec<String>,
) -> Result<(Evaluation, Option<f64>)> {
    let LabelledRows { rows, labels } = LabelledRows::new(images, indices);
    let by_images =
        |found| Evaluation::of_probabilities(&found, &labels, names.clone()).tally.accuracy();
    let is_other = !batch_sizes(predictor).is_empty() && has_moments(predictor);
    let alone = is_other.then(|| averaged(predictor, By::Moments, rows).map(by_images));
    let evaluation = if let [member] = &predictor.members[..] {
        let part = in_batches(images, indices, &member.model)?;
        Evaluation::measure(&member.model, &part, names)
    } else {
        let found = averaged(predictor, By::Batch, rows)?;
        Evaluation::of_probabilities(&found, &labels, names)
    };
    Ok((evaluation, alone.transpose()?))
}

/// Why accuracies on a split are no estimate for new images.
fn caution(split: SplitName, predictor: &Predictor) -> Option<String> {
    let these = format!("These {}s", predictor.signature().noun());
    let chose = |what| Some(format!("{these} chose {what}: this is slightly optimistic."));
    match split {
        SplitName::Train => {
            Some(format!("{these} trained the model: this is not an estimate for new ones."))
        }
        SplitName::Validation if predictor.ensemble.is_some() => {
            chose("the weights and the members")
        }
        SplitName::Validation => chose("the weights"),
        SplitName::Test => None,
    }
}
