//! `rookie evaluate`: a model on labelled images.

use crate::cli::{EvaluateArgs, SplitName};
use crate::commands::common::{Status, check_against, class_names, load, print, test_part};
use crate::data::batches::Part;
use crate::data::dataset::Split;
use crate::error::Result;
use crate::grid::store::{make_folder, write_whole};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::report::evaluation::Evaluation;
use crate::train::model::Model;

/// Measures a model on a part of the data, batched as in its training.
///
/// # Errors
/// Where the model, the data or the folder are not as they must be.
pub fn run(args: &EvaluateArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let model = Model::read(&args.model)?;
    let dataset = load(args.data.data.as_deref())?;
    model.fits(&args.model, dataset.train.inputs(), dataset.classes)?;
    let values = &model.values;
    let part = if args.split == SplitName::Test {
        test_part(&dataset, &model)
    } else {
        check_against(&dataset, values)?;
        let split = Split::draw(dataset.train.len(), values.validation_size, values.data_seed)?;
        let indices = match args.split {
            SplitName::Validation => &split.validation,
            _ => &split.train,
        };
        Part::new(&dataset.train, indices, values.batch_size, model.scaling())
    };
    if let Some(folder) = &args.csv {
        make_folder(folder, "--csv")?;
    }
    let evaluation = Evaluation::measure(&model, &part, class_names(&dataset));
    print(&evaluation.describe())?;
    if let Some(folder) = &args.csv {
        write_whole(&folder.join("classes.csv"), &evaluation.classes_csv())?;
        write_whole(&folder.join("confusion.csv"), &evaluation.confusion_csv())?;
        say(&format!("classes.csv and confusion.csv are in {}", folder.display()));
    }
    Ok(Status::Done)
}
