//! `rookie predict`: the classes of images or rows without labels, by a model or an ensemble.

use std::io::{Read, Write, stdin};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use ndarray::{ArrayView1, ArrayView2};

use crate::cli::reading::{PredictArgs, PredictBy};
use crate::commands::averaging::{By, averaged, batch_sizes, has_moments, measure_moments};
use crate::commands::common::{Status, read_predictor, write_out};
use crate::commands::data::{locate, training_images};
use crate::data::arrays;
use crate::data::columns::list;
use crate::data::csv_file;
use crate::data::dataset::Dataset;
use crate::data::features::Features;
use crate::data::idx;
use crate::data::npz;
use crate::data::schema::Schema;
use crate::data::signature::Signature;
use crate::data::small_batches::small_batches;
use crate::data::table::{Columns, LabelColumn, Table};
use crate::error::{Error, Place, Result, counted};
use crate::memory::{check_for_rows, for_data_of};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::evaluation::highest;
use crate::results::tables;
use crate::text::{in_csv, shortened};
use crate::train::predictor::Predictor;

/// The most bytes that are read from standard input.
const MAX_INPUT: u64 = 4 << 30;
/// What a cell of the answers takes at most while they are written.
const BYTES_OF_CELL: usize = 100;
/// So many bytes of it are read before its header is checked, more than any header has.
const CHECKED_FIRST: u64 = 32 << 20;

/// Predicts the class of every image of an IDX file or an array, or of every row of a table.
///
/// # Errors
/// Where the model or the images are not as they must be.
pub fn run(args: &PredictArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let mut predictor = Predictor::open(&args.model)?;
    let input = input(args, &predictor).map_err(|error| {
        let about = args.input.metadata();
        let is_pipe = about.is_ok_and(|about| about.file_type().is_fifo());
        if is_pipe { error.hint("name - to read standard input") } else { error }
    })?;
    let count = input.features.len();
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
    input.refuse_twice(&predictor)?;
    check_for_rows(path_of(args), count, BYTES_OF_CELL * (predictor.classes() + 2))?;
    let all: Vec<usize> = (0..count).collect();
    let found = averaged(&predictor, by, input.features.rows(&all));
    let found = found.map_err(|error| error.in_file(path_of(args)))?;
    write_out(|out| out.write_all(&input.answers(&predictor, found.view())))?;
    Ok(Status::Done)
}

/// The rows to be predicted.
struct Input {
    features: Features,
    /// How a row is named, and the name of each; `None` where it is its index from 0.
    ids: Option<(String, Vec<String>)>,
}

impl Input {
    fn header(&self, predictor: &Predictor) -> Vec<String> {
        let Signature { labels, schema } = predictor.signature();
        // Images have had these columns since there are tables.
        let [index, label, prefix] = match schema {
            None => ["index", "label", "probability_"],
            Some(_) => ["index", "prediction", "p_"],
        };
        let id = self.ids.as_ref().map_or(index, |(name, _)| name);
        let mut header = vec![in_csv(id).into_owned(), label.to_string()];
        // A class is spelled as in the cells below.
        header.extend(labels.iter().map(|label| format!("{prefix}{}", in_csv(label))));
        header
    }

    /// Refuses a name of the rows that is that of another column.
    fn refuse_twice(&self, predictor: &Predictor) -> Result<()> {
        let header = self.header(predictor);
        if !header[1..].contains(&header[0]) {
            return Ok(());
        }
        let problem = "is the name of a column that predict writes";
        let error = Error::input(Place::flag(format!("--id {}", header[0])), problem);
        Err(error.hint("rename the column in the file"))
    }

    /// For each row, the label with the highest probability, and the probability (N, C) of each.
    fn answers(&self, predictor: &Predictor, found: ArrayView2<'_, f32>) -> Vec<u8> {
        let labels = &predictor.signature().labels;
        let row = |(index, row): (usize, ArrayView1<'_, f32>)| {
            let id =
                self.ids.as_ref().map_or_else(|| index.to_string(), |(_, of)| of[index].clone());
            let mut cells = vec![id, labels[highest(row)].clone()];
            cells.extend(row.iter().map(ToString::to_string));
            cells
        };
        let rows: Vec<Vec<String>> = found.rows().into_iter().enumerate().map(row).collect();
        tables::csv(&self.header(predictor), &rows)
    }
}

/// Reads what the model takes: images, or the columns of its table.
fn input(args: &PredictArgs, predictor: &Predictor) -> Result<Input> {
    if has_ending(&args.input, "npz") {
        let problem = "is an archive of several arrays, expected one";
        return Err(Error::input(Place::file(&args.input), problem)
            .hint("save the one to predict with np.save(\"new.npy\", x)"));
    }
    for_data_of(path_of(args), || {
        if let Some(schema) = &predictor.signature().schema {
            return rows(args, schema);
        }
        Ok(Input { features: images(args, predictor.inputs())?, ids: None })
    })
}

/// Standard input to its end, if that is what is asked for. What its first bytes show to be wrong is told
/// before the others are read, which may never end.
fn standard_input(
    args: &PredictArgs,
    check: impl Fn(&Path, &[u8]) -> Result<()>,
) -> Result<Option<Vec<u8>>> {
    if args.input != Path::new("-") {
        return Ok(None);
    }
    let path = Path::new(STDIN);
    let mut bytes = Vec::new();
    let read = |most: u64, bytes: &mut Vec<u8>| {
        let count = stdin().take(most).read_to_end(bytes);
        count.map_err(|source| Error::read(path, source)).map(|count| count as u64)
    };
    if read(CHECKED_FIRST, &mut bytes)? == CHECKED_FIRST {
        check(path, &bytes)?;
        read(MAX_INPUT - CHECKED_FIRST + 1, &mut bytes)?;
    }
    if bytes.len() as u64 > MAX_INPUT {
        let expected = format!("at most {} GiB", MAX_INPUT >> 30);
        return Err(Error::unexpected(Place::file(path), "more bytes", expected)
            .hint("write them to a file and name that"));
    }
    Ok(Some(bytes))
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|of_path| of_path.eq_ignore_ascii_case(ending))
}

/// The path in messages of what is read from standard input.
const STDIN: &str = "standard input";

/// Images of so many pixels.
fn images(args: &PredictArgs, inputs: usize) -> Result<Features> {
    if args.id.is_some() {
        let problem = "is for tables, but the model takes images";
        return Err(Error::input(Place::flag("--id"), problem).hint("leave it out"));
    }
    if ["csv", "tsv"].iter().any(|end| has_ending(&args.input, end)) {
        let expected = "an IDX file or an array as .npy, because the model is of images";
        return Err(Error::unexpected(Place::file(&args.input), "a table", expected));
    }
    let features = match standard_input(args, idx::check_header)? {
        None if has_ending(&args.input, "npy") => match npz::read_unlabelled(&args.input)?.features
        {
            arrays::Features::Images { height, width, pixels } => {
                Features::bytes(pixels, height * width)
            }
            arrays::Features::Matrix { .. } => {
                let found = "an array of other numbers or dimensions";
                let expected = "one of bytes with the shape (images, height, width)";
                return Err(Error::unexpected(Place::file(&args.input), found, expected));
            }
        },
        None => idx::read(&args.input)?.features()?,
        Some(bytes) => idx::from_bytes(STDIN.as_ref(), &bytes)?.features()?,
    };
    let found = features.per_row();
    if found == inputs {
        return Ok(features);
    }
    let found = format!("images of {}", counted(found, "pixel"));
    let expected = format!("{inputs}, as the model takes");
    Err(Error::unexpected(Place::file(path_of(args)), found, expected))
}

/// The file for messages.
fn path_of(args: &PredictArgs) -> &Path {
    if args.input == Path::new("-") { Path::new(STDIN) } else { &args.input }
}

/// Rows of the columns that the model takes.
fn rows(args: &PredictArgs, schema: &Schema) -> Result<Input> {
    let columns = Columns {
        label: LabelColumn::None,
        id: args.id.clone(),
        wanted: Some(schema.columns.clone()),
        ..Columns::default()
    };
    let check = |path: &Path, bytes: &[u8]| csv_file::check_header(path, bytes, &columns);
    let mut table = match standard_input(args, check)? {
        Some(bytes) => csv_file::from_bytes(STDIN.as_ref(), &bytes, &columns)?,
        None if has_ending(&args.input, "npy") => array(args, schema)?,
        None => csv_file::read(&args.input, &columns)?,
    };
    for (column, &count) in
        table.columns.iter().zip(&table.unknown).filter(|(_, count)| **count > 0)
    {
        let cells = counted(count, "row");
        let name = shortened(&column.name);
        say(&format!("{cells} with a category of `{name}` that training did not have"));
    }
    // No flag of `predict` fills them in.
    let hint = "the model was trained without such rows; fill them in or remove them, or train a model with \
                --missing mean";
    if let Some(problem) = schema.too_large(table.rows) {
        let file = path_of(args).display();
        return Err(Error::Machine(format!("{file}: {problem}; predict fewer rows at once")));
    }
    let features = schema.features(&mut table, hint)?;
    Ok(Input { features, ids: args.id.clone().zip(table.ids) })
}

/// An array without names of columns, for a model that was trained on such arrays.
fn array(args: &PredictArgs, schema: &Schema) -> Result<Table> {
    if args.id.is_some() {
        let problem = "is for tables, because an array has no column names";
        return Err(Error::input(Place::flag("--id"), problem).hint("leave it out"));
    }
    let table = npz::read_unlabelled(&args.input)?.into_table();
    table.filter(|table| table.columns == schema.columns).ok_or_else(|| {
        let names: Vec<String> = schema.columns.iter().map(|it| it.name.clone()).collect();
        let found = "an array that does not have the columns of the model";
        Error::unexpected(Place::file(&args.input), found, list(&names))
    })
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
    let dataset = locate(args.data.as_deref()).and_then(|folder| Dataset::read(&folder));
    let dataset = dataset.map_err(|error| missing(error.to_string()))?;
    let (_, provenance) = read_predictor(&args.model)?;
    let first = &predictor.members[0].model;
    let Some(indices) = training_images(first, &dataset, provenance.as_ref()) else {
        let folder = dataset.source.display();
        return Err(missing(format!("{folder} holds other images than it was trained on")));
    };
    measure_moments(predictor, &dataset, &indices);
    Ok(())
}
