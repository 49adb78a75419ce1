//! `rookie split`: which image is in which batch, for other programs to train on the very same.

use std::io::Write;

use crate::cli::reading::SplitArgs;
use crate::commands::common::{Status, write_out};
use crate::commands::data::load;
use crate::data::split::order_of_epoch;
use crate::error::{Error, Place, Result};
use crate::memory::check_for_rows;
use crate::results::tables;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::Key;
use crate::train::origins::Origins;

/// What a row takes at most while it is drawn and printed.
const BYTES_OF_ROW: usize = 512;

/// Prints `index,split,batch,position` for every image or row; the index is that in its file. Folds divide training
/// and validation rows that are given: then `given` says as which a row was.
///
/// # Errors
/// Where values or data are not as they must be.
pub fn run(args: &SplitArgs) -> Result<Status> {
    let (mut values, mut origins) = (Hyperparams::default(), Origins::default());
    for (name, text) in [
        ("batch_size", &args.batch_size),
        ("validation_size", &args.validation_size),
        ("data_seed", &args.data_seed),
    ] {
        let key = Key::named(name).expect("a key");
        let Some(text) = text else { continue };
        origins.set(key, Place::Option(key.name));
        let value = key.parse(text).map_err(|range| {
            Error::unexpected(Place::Option(key.name), format!("`{text}`"), range)
        })?;
        key.set(&mut values, value);
    }
    let dataset = load(&args.data, None)?;
    origins.suit(&mut values, &dataset.shape());
    let rows = dataset.shape().validation_rows(values.validation_size);
    rows.map_err(|problem| Error::input(Place::Option("validation_size"), problem))?;
    let count = dataset.train.len() + dataset.test.len();
    check_for_rows(&dataset.source, count, BYTES_OF_ROW)?;
    let split = dataset.split(values.validation_size, values.data_seed)?;
    let order = order_of_epoch(split.train.len(), values.data_seed, args.epoch as usize);
    let train: Vec<usize> = order.into_iter().map(|place| split.train[place]).collect();
    let in_file_order: Vec<usize> = (0..dataset.test.len()).collect();
    let parts = [("train", train), ("validation", split.validation), ("test", in_file_order)];
    // How many training rows are given, where folds divide them and validation rows that are given too.
    let given = values.validation_size.fold().and(dataset.shape().given_validation);
    let given = given.map(|validation| dataset.train.len() - validation);
    let given_as = |part, index, train| match part {
        "test" => part,
        _ if index < train => "train",
        _ => "validation",
    };
    let mut rows = Vec::new();
    for (name, indices) in parts {
        for (place, index) in indices.into_iter().enumerate() {
            let of_part = dataset.file_rows.as_ref().map(|[train, test]| match name {
                "test" => test,
                _ => train,
            });
            let in_file = of_part.map_or(index, |rows| rows[index]);
            let (batch, position) = (place / values.batch_size, place % values.batch_size);
            let [in_file, batch, position] = [in_file, batch, position].map(|it| it.to_string());
            let mut row = vec![in_file, name.to_string(), batch, position];
            row.extend(given.map(|given| given_as(name, index, given).to_string()));
            rows.push(row);
        }
    }
    let mut header = ["index", "split", "batch", "position"].map(String::from).to_vec();
    header.extend(given.map(|_| "given".to_string()));
    write_out(|out| out.write_all(&tables::csv(&header, &rows)))?;
    Ok(Status::Done)
}
