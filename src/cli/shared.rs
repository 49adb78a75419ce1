//! The arguments that several commands have.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches, Args, Command as ClapCommand, FromArgMatches, ValueHint};

use crate::data::options::DataOptions;
use crate::data::preprocess::Missing;
use crate::data::shape::DataShape;
use crate::data::split::PartSize;
use crate::data::table::{Columns, LabelColumn};
use crate::error::{self, Place};
use crate::grid::run_folder::model_of;
use crate::network::cores;
use crate::network::kernels::Request;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::origins::Origins;

fn kernels_help() -> String {
    let names = cores::names().join(", ");
    format!(
        "OpenBLAS kernels to use: {names}. With haswell and the same build of OpenBLAS, results have \
         the same bytes on every processor with AVX2 [default: auto, which means those that \
         $OPENBLAS_CORETYPE names, otherwise OpenBLAS's choice, or wider ones if it does not use this \
         processor's widest vectors]"
    )
}

/// The file of a model: where a run's folder is named, the model in it.
pub fn model_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new()
        .map(|path| Some(model_of(&path)).filter(|it| it.exists()).unwrap_or(path))
}

/// The names in a list that separates them by commas. A name with a comma is in quotation marks, as in a CSV.
fn names_in(list: &str) -> Vec<String> {
    let (mut is_quoted, mut may_open) = (false, true);
    let is_end = |c: char| {
        match c {
            '"' if is_quoted || may_open => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                may_open = true;
                return true;
            }
            _ => {}
        }
        // After a quotation mark, another one is part of the name.
        may_open = c == '"' || (may_open && c.is_whitespace());
        false
    };
    let unquoted = |name: &str| {
        let name = name.trim();
        let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        inner.map_or_else(|| name.to_string(), |inner| inner.trim().replace("\"\"", "\""))
    };
    list.split(is_end).map(unquoted).collect()
}

/// Where the data are, and how a table is read.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder with the four IDX files of a data set, or with the two training files alone; a table as CSV or
    /// TSV with a header row, gzipped or not; or NumPy arrays as .npz or .npy [default: the first of
    /// $ROOKIE_DATA, data/fashion-mnist and /usr/share/datasets/fashion-mnist]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub data: Option<PathBuf>,
    /// The flags for tables.
    #[command(flatten)]
    pub table: TableArgs,
}

/// How a table is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tables")]
pub struct TableArgs {
    /// Column of the labels [default: the only column named label, class, target, y, species, variety,
    /// category or outcome]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Columns to leave out, separated by commas; a name with a comma is in quotation marks: 'id,"size, cm"'
    #[arg(long, value_name = "COLUMNS")]
    pub ignore: Vec<String>,
    /// Columns of numbers to treat as categories, separated by commas
    #[arg(long, value_name = "COLUMNS")]
    pub categorical: Vec<String>,
    /// Column of groups: rows with equal values stay together when rows are drawn
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// .npy file with the labels of a .npy file given as --data
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub labels: Option<PathBuf>,
    /// How to handle missing values: replace them with the mean or median of the column over the training rows,
    /// or leave such rows out [default: refuse]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Missing::ALL.map(Missing::name)))]
    pub missing: Option<String>,
    /// File with the test rows [default: they are drawn from --data]
    #[arg(long = "test", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub test: Option<PathBuf>,
    /// File with the validation rows [default: they are drawn from the training rows, see --validation-size]
    #[arg(long = "validation", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub validation: Option<PathBuf>,
    /// Test rows to draw: a number, or a share of all rows; 0 for no test set [default: 0.2]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub test_size: Option<String>,
    /// Seed for drawing the test rows [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64), allow_negative_numbers = true)]
    pub test_seed: Option<u64>,
    /// Draw test and validation rows without regard to their classes [default: each class gets its share]
    #[arg(long)]
    pub no_stratify: bool,
}

impl DataArgs {
    /// Whether a flag says how the data are read, and not only where their files are.
    pub fn say_how(&self) -> bool {
        let TableArgs { label, ignore, categorical, group, missing, .. } = &self.table;
        let TableArgs { test_size, test_seed, no_stratify, .. } = &self.table;
        let texts = [label, group, missing, test_size];
        let has_list = !(ignore.is_empty() && categorical.is_empty());
        texts.iter().any(|it| it.is_some()) || has_list || test_seed.is_some() || *no_stratify
    }

    /// The options that the flags give.
    ///
    /// # Errors
    /// Where a value is out of range.
    pub fn options(&self) -> error::Result<DataOptions> {
        let TableArgs { label, ignore, categorical, group, missing, labels, .. } = &self.table;
        let TableArgs { test, validation, test_size, test_seed, no_stratify, .. } = &self.table;
        let default = DataOptions::default();
        let parse = |text: &String| {
            let size = PartSize::parse(text).filter(|size| size.fold().is_none());
            size.ok_or_else(|| {
                let expected = "a whole number, or a share such as 0.2";
                let found = format!("`{text}`");
                error::Error::unexpected(Place::flag("--test-size"), found, expected)
            })
        };
        let test_size = test_size.as_ref().map_or(Ok(default.test_size), parse)?;
        let named = |name: &String| Missing::named(name).expect("one of the possible values");
        let columns = Columns {
            label: label.clone().map_or(LabelColumn::Guess, LabelColumn::Named),
            ignore: ignore.iter().flat_map(|list| names_in(list)).collect(),
            categorical: categorical.iter().flat_map(|list| names_in(list)).collect(),
            group: group.clone(),
            ..Columns::default()
        };
        Ok(DataOptions {
            columns,
            missing: missing.as_ref().map_or(default.missing, named),
            stratify: !no_stratify,
            test_size,
            test_seed: test_seed.unwrap_or(default.test_seed),
            test: test.clone(),
            validation: validation.clone(),
            labels: labels.clone(),
        })
    }
}

/// Which OpenBLAS kernels to use.
#[derive(Debug, Args)]
pub struct KernelArgs {
    #[arg(long = "kernels", help = kernels_help(), hide_possible_values = true, value_name = "NAME", ignore_case = true, value_parser = PossibleValuesParser::new(cores::names()))]
    name: Option<String>,
}

impl KernelArgs {
    /// The requested kernels, if any.
    pub fn request(&self) -> Option<Request> {
        let name = self.name.as_deref()?;
        let place = Place::flag(format!("--kernels {name}"));
        Some(Request::parse(place, name).expect("one of the possible values"))
    }

    /// Restarts this process with the requested kernels, unless it already runs on them.
    ///
    /// # Errors
    /// If the processor or OpenBLAS does not have them.
    pub fn take(&self) -> error::Result<()> {
        self.request().map_or(Ok(()), |request| request.take())
    }
}

/// A flag for each hyper-parameter, from their table. Their values are parsed later, so that a flag and
/// a line of TOML give the same error messages.
#[derive(Debug, Clone)]
pub struct HyperparamFlags {
    /// Key and text of each flag that was given.
    pub given: Vec<(&'static Key, String)>,
}

impl Args for HyperparamFlags {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        let default = Hyperparams::default();
        let mut of_tables = default.clone();
        Origins::default().suit(&mut of_tables, &DataShape::SOME_TABLE);
        let of = |key: &'static Key| {
            let (value, of_tables) = (key.get(&default), key.get(&of_tables));
            let or = if value == of_tables {
                String::new()
            } else {
                format!("; for tables: {of_tables}")
            };
            let help = format!("{} [{}; default: {value}{or}]", key.meaning, key.range);
            let arg = Arg::new(key.name)
                .long(key.name.replace('_', "-"))
                .aliases(["lr", "wd"].into_iter().filter(|short| *short == key.short))
                .value_name("VALUE")
                .allow_negative_numbers(true)
                .help(help)
                .help_heading("Hyper-parameters");
            if key.is_switch() {
                // `--reshuffle` alone means true; `--reshuffle=true,false` tries both.
                return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            arg
        };
        KEYS.iter().fold(command, |command, key| command.arg(of(key)))
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

impl FromArgMatches for HyperparamFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = KEYS.iter().filter_map(|key| {
            let text = matches.get_one::<String>(key.name)?;
            Some((key, text.clone()))
        });
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
