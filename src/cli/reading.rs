//! The arguments of commands that read results, models or data.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use crate::cli::shared::{DataArgs, KernelArgs, model_file};

/// `rookie report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results folders, all of whose runs are shown on one page, and folders of single runs
    #[arg(value_name = "RESULTS_DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// Where the images are, for the best run's errors.
    #[command(flatten)]
    pub data: DataArgs,
    /// File of the page, required for several folders [default: report.html in the results folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Update the page as runs finish, until nothing is left to train
    #[arg(long)]
    pub watch: bool,
}

/// `rookie rank`.
#[derive(Debug, Args)]
pub struct RankArgs {
    /// Results folders, of which all runs are used, and folders of single runs
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// What to sort by
    #[arg(long, value_enum, default_value_t = SortBy::Test)]
    pub by: SortBy,
    /// Number of rows [default: 10 in a table or Markdown, all in CSV]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
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
    /// Accuracies published elsewhere, as fractions: CSV with columns of ranking.csv, at least some
    /// hyper-parameters and the test accuracy
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
    /// Test accuracy, as in the paper's Table 2
    Test,
    /// Validation accuracy
    Validation,
}

/// How a ranking is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For the terminal
    Table,
    /// For programs, with fractions instead of percentages
    Csv,
    /// For a document
    Markdown,
}

/// `rookie evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Model file, model.safetensors or ensemble.toml, or the folder of a run
    #[arg(value_hint = ValueHint::FilePath, value_parser = model_file())]
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
    /// The images used for training
    Train,
    /// The images split off the training set
    Validation,
    /// The test images
    Test,
}

/// `rookie audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Results folders, whose runs are treated as one grid, and folders of single runs
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// Epochs at which halving compares candidates, replayed in addition to the default rungs
    #[arg(long, value_name = "EPOCHS", value_delimiter = ',', allow_negative_numbers = true)]
    pub halving_rungs: Option<Vec<usize>>,
    /// Share of the candidates that this halving keeps at each rung
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub halving_keep: Option<f64>,
    /// Number of workers to simulate for ASHA and the median rule
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024), allow_negative_numbers = true)]
    pub workers: u32,
    /// Also draw regret against the share of the epochs; FILE ends in .png or .svg
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub figure: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// `rookie ensemble`.
#[derive(Debug, Args)]
pub struct EnsembleArgs {
    /// Results folders, of which all runs are used, and folders of single runs
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Number of members, the best runs by validation accuracy; with --greedy, the maximum number of picks
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), allow_negative_numbers = true)]
    pub top: u32,
    /// Choose members one by one, with repetition: each is the run that most raises the validation accuracy
    /// of the average
    #[arg(long)]
    pub greedy: bool,
    /// File to write, with members and weights; its name ends in .toml [default: ensemble.toml in the results
    /// folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Kernels of OpenBLAS.
    #[command(flatten)]
    pub kernels: KernelArgs,
}

/// `rookie predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Model file, model.safetensors or ensemble.toml, or the folder of a run
    #[arg(value_hint = ValueHint::FilePath, value_parser = model_file())]
    pub model: PathBuf,
    /// IDX file of images, a table with the model's columns, gzipped or plain, or an array as .npy; - reads
    /// standard input (no .npy)
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub input: PathBuf,
    /// Column of the table that identifies its rows in the output
    #[arg(long, value_name = "COLUMN")]
    pub id: Option<String>,
    /// How each feature is standardised, for a model trained with batch standardisation
    #[arg(long, value_enum, default_value_t = PredictBy::Moments)]
    pub standardise: PredictBy,
    /// Folder of the images that the model was trained on. Needed only for models of version 0.1,
    /// whose files have no training moments, and not with --standardise batch [default: the first of
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

/// `rookie export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Model file, model.safetensors or, to ONNX, ensemble.toml
    #[arg(value_hint = ValueHint::FilePath, value_parser = model_file())]
    pub model: PathBuf,
    /// Format
    #[arg(long, value_enum)]
    pub to: ExportFormat,
    /// File to write [default: next to the model and named like it, such as model.onnx]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// A format for programs other than rookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// ONNX, with the preprocessing inside
    Onnx,
    /// Weights and preprocessing as arrays of NumPy
    Npz,
    /// Weights as safetensors, with the preprocessing folded into the first layer
    Folded,
    /// A C99 file that needs only the C library
    C,
}

impl ExportFormat {
    /// The extension of a file name, without its first dot.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Npz => "npz",
            Self::Folded => "folded.safetensors",
            Self::C => "c",
        }
    }
}

/// `rookie split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Rows in a mini-batch [default: 512; 32 for tables]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch_size: Option<String>,
    /// Rows split off the training set for validation: a number, or a share such as 0.2 [default: 5000; 0.2
    /// for tables]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub validation_size: Option<String>,
    /// Seed of the split and the batch order [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub data_seed: Option<String>,
    /// Print the training batches of this epoch of a run with --reshuffle; without --reshuffle, every
    /// epoch has those of epoch 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    pub epoch: u32,
}
