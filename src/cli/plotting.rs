//! The arguments of `rookie plot`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use crate::cli::shared::{DataArgs, model_file};
use crate::figures::canvas::Format;

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
    /// Loss and accuracy over epochs, on the training and validation sets (paper fig. 4)
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

/// Folder and format of figures.
#[derive(Debug, Args)]
pub struct PlotOutput {
    /// Folder for the figures [default: figures, next to what is drawn; for activations, in the current folder]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Only this format [default: both]
    #[arg(long, value_enum)]
    pub format: Option<PictureFormat>,
}

impl PlotOutput {
    /// The requested formats.
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
    /// Folders of runs; several are drawn in one figure
    #[arg(value_name = "RUN_DIR", required = true, value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Folder and format of the figures.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot weights`.
#[derive(Debug, Args)]
pub struct PlotWeightsArgs {
    /// Model file, model.safetensors, or the folder of a run
    #[arg(value_hint = ValueHint::FilePath, value_parser = model_file())]
    pub model: PathBuf,
    /// Where the images are, for the names of the classes.
    #[command(flatten)]
    pub data: DataArgs,
    /// Folder and format of the figures.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot grid`.
#[derive(Debug, Args)]
pub struct PlotGridArgs {
    /// Results folder of `rookie grid`
    #[arg(value_name = "RESULTS_DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// Draw only this heat map, of two columns of ranking.csv [default: one for every two that vary]
    #[arg(long, value_name = "COLUMN,COLUMN")]
    pub heat_map: Option<String>,
    /// Folder and format of the figures.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot errors`.
#[derive(Debug, Args)]
pub struct PlotErrorsArgs {
    /// Folder of a run, or a model file. The confusion matrix is drawn from the run's predictions; the sheet
    /// of errors needs its model
    #[arg(value_hint = ValueHint::AnyPath)]
    pub run: PathBuf,
    /// Where the images are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Number of images, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000), allow_negative_numbers = true)]
    pub top: u16,
    /// Folder and format of the figures.
    #[command(flatten)]
    pub output: PlotOutput,
}

/// `rookie plot activations`.
#[derive(Debug, Args)]
pub struct PlotActivationsArgs {
    /// Folder and format of the figures.
    #[command(flatten)]
    pub output: PlotOutput,
}
