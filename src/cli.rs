//! The command line as types. The only module that uses clap; it does no work.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Args, Command as ClapCommand, FromArgMatches, Parser, Subcommand};
use clap::{ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::error::{self, Place};
use crate::figures::canvas::Format;
use crate::network::cores;
use crate::network::kernels::Request;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::provenance::{COMMIT, COMPILER, VERSION};

const EXAMPLES: &str = "\
Examples:
  rookie grid                                 all 216 runs of the paper's Table 1, on all cores
  rookie grid quick                           a first look in about a minute
  rookie grid table1 --epochs 50 --jobs 8     the same grid, shorter, with eight workers
  rookie train --epochs 20                    the paper's best row, one run
  rookie rank results/table1 --by validation  rank the runs that have finished

Results go to standard output, progress and messages to standard error. Exit codes: 0 done,
1 something failed while running, 2 wrong use or bad input, 130, 138 and 143 interrupted. Run the same
command again to resume after any interruption.";

const GRID_HELP: &str = "\
Examples:
  rookie grid table1                          216 runs into results/table1
  rookie grid table1 --dry-run                list the runs, and estimate the time
  rookie grid my.toml --out /scratch/mine     a grid of your own
  rookie grid quick --learning-rate 0.1,0.05 --set hidden=300,200 --seed 1,2,3
  rookie grid table1 --shard 0/4              the first quarter; the others run elsewhere, in the same folder

A flag with a list tries each value. --hidden separates layers by commas, and choices for one layer
by slashes: --hidden 500/400,324/256 is four networks.

A grid file may have a section [machine] with kernels = \"haswell\"; --kernels overrides it.";

const TRAIN_HELP: &str = "\
Examples:
  rookie train                                the paper's best row, 500 epochs
  rookie train --epochs 20 --hidden 300,100 --activation tanh
  rookie train results/table1/runs/RUN/run.toml
  rookie train --init model.safetensors --learning-rate 0.01 --epochs 10";

const RANK_HELP: &str = "\
Examples:
  rookie rank results/table1
  rookie rank results/table1 results/table2 --by validation --top 20
  rookie rank results/table1 --format csv > ranking.csv";

const COMPARE_HELP: &str = "\
Examples:
  rookie grid quick --seed 1,2,3 && rookie compare results/quick
  rookie compare results/table2 --reference results/paper_table2.csv
  rookie compare results/table2/runs/lr0.2_h500-324_decay0.5_* results/ablation

Runs that differ only in their seed repeat one configuration. For verdicts about new images, the test
needs the test images and each run's test_predictions.csv.gz or its model.";

const EVALUATE_HELP: &str = "\
Examples:
  rookie evaluate results/table1/runs/RUN/model.safetensors
  rookie evaluate model.safetensors --split validation --csv tables";

const PREDICT_HELP: &str = "\
Examples:
  rookie predict model.safetensors t10k-images-idx3-ubyte.gz > predictions.csv";

const SPLIT_HELP: &str = "\
Examples:
  rookie split > split.csv
  rookie split --data-seed 7 --batch-size 256

Columns: index (of the image in its file, from 0), split (train, validation or test), batch (from
0) and position (in the batch, from 0). Training and validation images are in the training file.";

const PLOT_HELP: &str = "\
Examples:
  rookie plot curves results/quick/runs/lr0.2_h500-324_decay0.5
  rookie plot curves results/quick/runs/lr0.4* --out figures --format svg
  rookie plot weights results/quick/runs/lr0.2_h500-324_decay0.5/model.safetensors
  rookie plot grid results/quick --heat-map learning_rate,lr_decay
  rookie plot errors results/quick/runs/lr0.2_h500-324_decay0.5 --top 50";

const REPORT_HELP: &str = "\
Examples:
  rookie report results/table1                results/table1/report.html
  rookie report results/table1 --watch        the same, updated as runs finish";

const BENCH_HELP: &str = "\
Examples:
  rookie bench
  rookie bench --jobs 8 --json
  rookie bench --kernels haswell --seconds 5";

fn kernels_help() -> String {
    let names = cores::names().join(", ");
    format!(
        "OpenBLAS kernels to use: {names}. With haswell and the same build of OpenBLAS, results have \
         the same bytes on every processor with AVX2. auto is the default, and overrides [machine] \
         in a grid file [default: those that $OPENBLAS_CORETYPE names, otherwise OpenBLAS's choice, \
         or wider ones if it does not use this processor's vectors]"
    )
}

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "rookie",
    about = "Trains a small neural network over a whole grid of hyper-parameters, on all CPU cores",
    version = VERSION,
    long_version = format!("{VERSION} (commit {COMMIT}, {COMPILER})"),
    after_help = EXAMPLES,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train every run of a grid and rank them
    #[command(after_help = GRID_HELP)]
    Grid(GridArgs),
    /// Train one run
    #[command(after_help = TRAIN_HELP)]
    Train(TrainArgs),
    /// Rank finished runs of one or several results folders
    #[command(after_help = RANK_HELP)]
    Rank(RankArgs),
    /// Compare configurations across seeds, and with published accuracies
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
    /// Evaluate a model: loss, accuracy, scores per class, confusion matrix
    #[command(after_help = EVALUATE_HELP)]
    Evaluate(EvaluateArgs),
    /// Predict the classes of images, as CSV
    #[command(after_help = PREDICT_HELP)]
    Predict(PredictArgs),
    /// Print the batch of every image, as CSV
    #[command(after_help = SPLIT_HELP)]
    Split(SplitArgs),
    /// Draw figures: curves of runs, weights and errors of a model, a grid as a whole
    #[command(after_help = PLOT_HELP)]
    Plot(PlotArgs),
    /// Write an HTML page for exploring a grid: table, curves, pictures
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
    /// Measure this machine: training compared with its matrix products alone
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where the images are.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder with the four IDX files [default: the first of $ROOKIE_DATA, data/fashion-mnist and
    /// /usr/share/datasets/fashion-mnist]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
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

/// `rookie grid`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct GridArgs {
    /// Preset (table1, table2, quick) or TOML file
    #[arg(value_name = "NAME|FILE", default_value = "table1", value_hint = ValueHint::FilePath)]
    pub grid: String,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Results folder [default: results/NAME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Number of worker threads, 1 to 1024 [default: one per physical core that this process may
    /// use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), allow_negative_numbers = true)]
    pub jobs: Option<u16>,
    /// List the runs, their epochs and the expected time, without training
    #[arg(long)]
    pub dry_run: bool,
    /// Train part K of N of the grid (K from 0), in the same folder as the other parts
    #[arg(long, value_name = "K/N", conflicts_with = "fresh", allow_hyphen_values = true)]
    pub shard: Option<String>,
    /// With --dry-run: also the time on so many cores, by simulating the schedule
    #[arg(long, value_name = "N[,N…]", requires = "dry_run", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub cores: Vec<u32>,
    /// Train every run separately, without sharing common epochs (same results, slower)
    #[arg(long)]
    pub no_sharing: bool,
    /// Save a checkpoint of each run every N epochs [default: every minute]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub checkpoint_every: Option<u32>,
    /// Remove earlier results in the folder and start over, after asking
    #[arg(long)]
    pub fresh: bool,
    /// Do not ask for confirmation before --fresh removes results
    #[arg(long, requires = "fresh")]
    pub yes: bool,
    /// Kernels of OpenBLAS.
    #[command(flatten)]
    pub kernels: KernelArgs,
    /// Any hyper-parameter, with one or several values to try
    #[arg(long = "set", value_name = "KEY=VALUE[,VALUE…]")]
    pub assignments: Vec<String>,
    /// The hyper-parameters as flags.
    #[command(flatten)]
    pub flags: HyperparamFlags,
}

/// `rookie train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// TOML file with the values of one run, such as a run.toml
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Folder of the run [default: results/train/NAME, with a name made of its values]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Start from the weights of this model instead of random ones; the run has its validation set
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub init: Option<PathBuf>,
    /// Let the run have another validation set than the model of --init, although that may have been
    /// trained on images of it
    #[arg(long, requires = "init")]
    pub allow_other_split: bool,
    /// Save a checkpoint of each run every N epochs [default: every minute]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub checkpoint_every: Option<u32>,
    /// Train again from the start even if the folder holds this run, finished or in progress
    #[arg(long)]
    pub fresh: bool,
    /// Kernels of OpenBLAS.
    #[command(flatten)]
    pub kernels: KernelArgs,
    /// Any hyper-parameter
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// The hyper-parameters as flags.
    #[command(flatten)]
    pub flags: HyperparamFlags,
}

/// `rookie plot`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// What to draw.
    #[command(subcommand)]
    pub what: Picture,
}

/// What `rookie plot` draws.
#[derive(Debug, Subcommand)]
pub enum Picture {
    /// Loss and accuracy over epochs, on training and validation set (paper fig. 4)
    Curves(PlotCurvesArgs),
    /// Weights as pictures: W1, its principal components, the last layer, their product (paper
    /// fig. 5 and 6)
    Weights(PlotWeightsArgs),
    /// A grid: test accuracy by each hyper-parameter and by pairs of them, and the best ten runs with
    /// their intervals
    Grid(PlotGridArgs),
    /// A run's errors: confusion matrix, and the most confident mistakes of its model
    Errors(PlotErrorsArgs),
    /// The activation functions and softmax (paper fig. 2)
    Activations(PlotActivationsArgs),
}

/// Where figures go, and as what.
#[derive(Debug, Args)]
pub struct PlotOutput {
    /// Folder for the figures [default: figures, in the folder that is drawn]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// One format [default: both]
    #[arg(long, value_enum)]
    pub format: Option<PictureFormat>,
}

impl PlotOutput {
    /// The formats asked for.
    pub fn formats(&self) -> impl Iterator<Item = Format> {
        let all = [(PictureFormat::Png, Format::Png), (PictureFormat::Svg, Format::Svg)];
        let asked_for = self.format;
        all.into_iter()
            .filter(move |(name, _)| asked_for.is_none_or(|format| format == *name))
            .map(|(_, format)| format)
    }
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureFormat {
    /// Pixels
    Png,
    /// Lines and text
    Svg,
}

/// `rookie plot curves`.
#[derive(Debug, Args)]
pub struct PlotCurvesArgs {
    /// Folders of runs; several are drawn over each other
    #[arg(value_name = "RUN_DIR", required = true, value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Where it goes.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot weights`.
#[derive(Debug, Args)]
pub struct PlotWeightsArgs {
    /// Model file, model.safetensors
    #[arg(value_hint = ValueHint::FilePath)]
    pub model: PathBuf,
    /// Where the images are, for the names of the classes.
    #[command(flatten)]
    pub data: DataArgs,
    /// Where it goes.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot grid`.
#[derive(Debug, Args)]
pub struct PlotGridArgs {
    /// Results folder of `rookie grid`
    #[arg(value_name = "RESULTS_DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The one heat map to draw, as two columns of ranking.csv [default: of every two that vary]
    #[arg(long, value_name = "COLUMN,COLUMN")]
    pub heat_map: Option<String>,
    /// Where it goes.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot errors`.
#[derive(Debug, Args)]
pub struct PlotErrorsArgs {
    /// Folder of a run, or a model file. The confusion matrix is drawn from the run's predictions,
    /// the sheet of errors needs its model
    #[arg(value_hint = ValueHint::AnyPath)]
    pub run: PathBuf,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// How many images, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000), allow_negative_numbers = true)]
    pub top: u16,
    /// Where it goes.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot activations`.
#[derive(Debug, Args)]
pub struct PlotActivationsArgs {
    /// Where it goes.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results folders, whose runs all stand in one page, and folders of single runs
    #[arg(value_name = "RESULTS_DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// Where the images are, for the best run's errors.
    #[command(flatten)]
    pub data: DataArgs,
    /// The page [default: report.html in the results folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Update it as runs finish, until all have
    #[arg(long)]
    pub watch: bool,
}

/// `rookie rank`.
#[derive(Debug, Args)]
pub struct RankArgs {
    /// Results folders, whose runs all take part, and folders of single runs
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// What to sort by
    #[arg(long, value_enum, default_value_t = SortBy::Test)]
    pub by: SortBy,
    /// How many rows [default: 10 in a table or Markdown, all in CSV]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// `rookie compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Results folders, all of whose runs are compared, and folders of single runs
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Folder of a run of the configuration that the others are compared with [default: the best
    /// configuration]
    #[arg(long, value_name = "RUN_DIR", value_hint = ValueHint::DirPath)]
    pub baseline: Option<PathBuf>,
    /// Accuracies published elsewhere, as fractions: CSV with columns of ranking.csv, some
    /// hyper-parameters and the test accuracy at least
    #[arg(long, value_name = "CSV", value_hint = ValueHint::FilePath)]
    pub reference: Option<PathBuf>,
    /// Also draw a figure with every run and the intervals; FILE ends in .png or .svg
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub figure: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// What a ranking is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// Test accuracy, as the paper's Table 2
    Test,
    /// Validation accuracy
    Validation,
}

/// How a ranking is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For the terminal
    Table,
    /// The columns of ranking.csv
    Csv,
    /// For a document
    Markdown,
}

/// `rookie evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Model file, model.safetensors
    #[arg(value_hint = ValueHint::FilePath)]
    pub model: PathBuf,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Images to evaluate on, split as in the model's training
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    pub split: SplitName,
    /// Kernels of OpenBLAS.
    #[command(flatten)]
    pub kernels: KernelArgs,
    /// Also write classes.csv and confusion.csv into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub csv: Option<PathBuf>,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The images trained on
    Train,
    /// The images split off the training set
    Validation,
    /// The test images
    Test,
}

/// `rookie predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Model file, model.safetensors
    #[arg(value_hint = ValueHint::FilePath)]
    pub model: PathBuf,
    /// IDX file of images, gzipped or plain; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub images: PathBuf,
    /// How each feature is standardised, for a model trained with batch standardisation
    #[arg(long, value_enum, default_value_t = PredictBy::Moments)]
    pub standardise: PredictBy,
    /// Folder of the images that the model was trained on. Needed only for a model of version 0.1
    /// without --standardise batch, because its file has no training moments [default: the first of
    /// $ROOKIE_DATA, data/fashion-mnist and /usr/share/datasets/fashion-mnist]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// Kernels of OpenBLAS.
    #[command(flatten)]
    pub kernels: KernelArgs,
}

/// How images to be predicted are standardised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PredictBy {
    /// With the mean and variance of the training images: a prediction depends on its own image alone,
    /// to the last digit
    Moments,
    /// With the mean and variance of its batch, as in the paper: a prediction depends on the other
    /// images of the batch and on their order
    Batch,
}

/// `rookie split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Images in a mini-batch
    #[arg(long, value_name = "N", default_value = "512")]
    pub batch_size: String,
    /// Images split off the training set for validation
    #[arg(long, value_name = "N", default_value = "5000")]
    pub validation_size: String,
    /// Seed of the split and the batch order
    #[arg(long, value_name = "N", default_value = "0")]
    pub data_seed: String,
    /// Print the training batches of this epoch of a run with --reshuffle; without --reshuffle, every
    /// epoch has those of epoch 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    pub epoch: u32,
}

/// `rookie bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Number of worker threads of the second measurement, 1 to 1024 [default: one per physical core
    /// that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), allow_negative_numbers = true)]
    pub jobs: Option<u16>,
    /// Kernels of OpenBLAS.
    #[command(flatten)]
    pub kernels: KernelArgs,
    /// Numbers that training multiplies
    #[arg(long, value_name = "VALUE", default_value = "f32", value_parser = ["f32", "bf16"])]
    pub precision: String,
    /// Approximate duration of the measurement in seconds, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600), allow_negative_numbers = true)]
    pub seconds: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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
        let of = |key: &'static Key| {
            let help = format!("{} [{}; default: {}]", key.meaning, key.range, key.get(&default));
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
