//! `rookie evaluate`: a model or an ensemble on labelled images.

use std::path::Path;

use crate::cli::reading::{EvaluateArgs, SplitName};
use crate::commands::averaging::{
    By, LabelledRows, averaged, batch_sizes, has_moments, measure_moments,
};
use crate::commands::common::{Status, print, read_predictor, terminal_width};
use crate::commands::data::{class_names, in_batches, in_file_order, load, training_images};
use crate::data::dataset::Dataset;
use crate::data::labelled::Labelled;
use crate::data::small_batches::small_batches;
use crate::error::{Error, Place, Result};
use crate::grid::store::{make_folder, refuse_foreign_file, write_output};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::evaluation::Evaluation;
use crate::train::cautions::{is_seen, of_data};
use crate::train::origins::Origins;
use crate::train::predictor::Predictor;
use crate::train::provenance::Provenance;

/// The files of `--csv`, and how each begins.
const CLASSES: (&str, &str) = ("classes.csv", "class,name,precision,");
const CONFUSION: (&str, &str) = ("confusion.csv", "class,name,taken_for_0");

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
        refuse_foreign_file(&folder.join(CLASSES.0), &[CLASSES.1], "--csv")?;
        refuse_foreign_file(&folder.join(CONFUSION.0), &[CONFUSION.1], "--csv")?;
    }
    let (provenance, is_known) = (provenance.as_ref(), trained_on.is_some());
    let caution = warn_of_training_rows(args, &predictor, &dataset, provenance, is_known);
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
        write_output(&folder.join(CLASSES.0), &evaluation.classes_csv())?;
        write_output(&folder.join(CONFUSION.0), &evaluation.confusion_csv())?;
        say(&format!("classes.csv and confusion.csv are in {}", folder.display()));
    }
    let noun = predictor.signature().noun();
    print(&evaluation.describe(alone, caution.as_deref(), noun, terminal_width()))?;
    Ok(Status::Done)
}

/// Warns where the rows may be other ones than the model's, or those that trained it although they are called
/// otherwise; and says why accuracies on them are no estimate for new ones. `is_known` if the data set is that of the
/// training, as far as moments and record tell.
fn warn_of_training_rows(
    args: &EvaluateArgs,
    predictor: &Predictor,
    dataset: &Dataset,
    provenance: Option<&Provenance>,
    is_known: bool,
) -> Option<String> {
    let of_test = args.split == SplitName::Test;
    let shares_file = provenance.is_some_and(|it| {
        let is_given = of_test && !dataset.has_drawn_test();
        (is_given || !it.is_of(dataset)) && it.shares_file(dataset, of_test)
    });
    let (noun, model) = (predictor.signature().noun(), args.model.display());
    if !is_known || shares_file {
        let left_out = if has_moments(predictor) || is_known {
            ""
        } else {
            "; the accuracy with the training moments is left out, because the model has none \
             (version 0.1 wrote none)"
        };
        let file = file_of(args.split, dataset);
        let kind = if file.is_dir() { "folder" } else { "file" };
        let may_be = predictor.members[0].model.trained_on.is_some() && provenance.is_none();
        let otherwise = if may_be { ", or on other rows of it" } else { "" };
        let drawn = drawn_rows(args, dataset);
        say(&if shares_file {
            let file = format!("{noun}s of a file that {model} was trained on");
            format!("warning: these are {file}, and may be its training {noun}s{left_out}")
        } else if provenance.is_none() && of_test && !dataset.has_drawn_test() {
            format!(
                "warning: {model} has no run.toml beside it, so it is not known whether it was trained on \
                 {noun}s of {}{left_out}",
                file.display()
            )
        } else {
            format!(
                "warning: {model} was trained on another {kind} than {}, which may hold some of the same \
                 {noun}s{otherwise}{left_out}{drawn}",
                file.display()
            )
        });
    }
    let data = Provenance::of_data(dataset);
    let is_seen = match args.split {
        SplitName::Train => false,
        SplitName::Validation => is_seen(&data, "validation"),
        SplitName::Test => is_seen(&data, "test"),
    };
    if is_seen {
        for warning in of_data(&data) {
            say(&warning);
        }
    }
    let began_otherwise = provenance.is_some_and(|it| match args.split {
        SplitName::Train => false,
        SplitName::Validation => it.has_other_split(predictor.values()),
        SplitName::Test => it.has_other_data(),
    });
    if began_otherwise {
        let may = format!("which may have been trained on these {noun}s");
        say(&format!("warning: {model} was initialised from a model of another split, {may}"));
    }
    // Another file may hold the training rows in another order; one with test rows alone hardly does, if the
    // model's record says that it is another one.
    let is_other_file = of_test && !dataset.has_drawn_test() && provenance.is_some();
    let is_of_unknown_file = !is_known && !is_other_file;
    if shares_file || began_otherwise || is_of_unknown_file || is_seen {
        let may = "The model may have been trained on these";
        return Some(format!("{may} {noun}s: this is no estimate for new ones."));
    }
    if is_known { caution(args.split, predictor) } else { None }
}

/// Says of test rows that are drawn how few they are, and how to measure all rows of the file; empty for others.
fn drawn_rows(args: &EvaluateArgs, dataset: &Dataset) -> String {
    let (drawn, all) = (dataset.test.len(), dataset.train.len() + dataset.test.len());
    if args.split != SplitName::Test || !dataset.has_drawn_test() {
        return String::new();
    }
    let file = dataset.source.display();
    format!(
        "; {drawn} of its {all} rows were drawn as test rows and measured: to measure all, run `rookie evaluate {} \
         --data TRAIN --test {file}` with the training file as TRAIN",
        args.model.display()
    )
}

/// The file or folder that the rows of a split come from.
fn file_of(split: SplitName, dataset: &Dataset) -> &Path {
    let given = dataset.options.as_ref().and_then(|options| match split {
        SplitName::Train => None,
        SplitName::Validation => options.validation.as_deref(),
        SplitName::Test => options.test.as_deref(),
    });
    given.unwrap_or(&dataset.source)
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
    let these = format!("these {}s", predictor.signature().noun());
    let chose = |what| Some(format!("{what} chosen on {these}: this is slightly optimistic."));
    match split {
        SplitName::Train => {
            Some(format!("The model was trained on {these}: this is no estimate for new ones."))
        }
        SplitName::Validation if predictor.ensemble.is_some() => {
            chose("The weights and the members were")
        }
        SplitName::Validation => chose("The weights were"),
        SplitName::Test => None,
    }
}
