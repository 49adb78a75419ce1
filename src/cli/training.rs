//! The arguments of commands that train.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::shared::{DataArgs, HyperparamFlags, KernelArgs, model_file};
use crate::data::split::MAX_FOLDS;
use crate::grid::halving_section::HalvingRequest;
use crate::train::halving::{SHARE, is_share};

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
    /// Draw this many samples from the ranges and lists of the axes, instead of trying every combination;
    /// each value of `seed` and `data_seed`, and each fold, is tried with every sample
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    pub samples: Option<u32>,
    /// Seed of the samples [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub search_seed: Option<u32>,
    /// Train each configuration N times, each time with another Nth of the training and validation rows for
    /// validation; configurations are compared by their means
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=i64::from(MAX_FOLDS)), allow_negative_numbers = true)]
    pub folds: Option<u16>,
    /// At the end, choose the configuration with the highest mean validation accuracy over its folds, and
    /// train it on all training and validation rows, into the folder `refit` of the results
    #[arg(long, conflicts_with = "shard")]
    pub refit: bool,
    /// List the runs, their epochs and the expected time, without training
    #[arg(long)]
    pub dry_run: bool,
    /// Train part K of N of the grid (K from 0), in the same folder as the other parts
    #[arg(long, value_name = "K/N", conflicts_with = "fresh", allow_hyphen_values = true)]
    pub shard: Option<String>,
    /// With --dry-run: also print the time on these numbers of cores, by simulating the schedule
    #[arg(long, value_name = "N[,N…]", requires = "dry_run", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub cores: Vec<u32>,
    /// Train every run separately, without sharing common epochs (same results, slower)
    #[arg(long)]
    pub no_sharing: bool,
    /// Stop the worst candidates early: after about 1/25 and 1/9 of the epochs only the best third
    /// continues. To resume the stopped runs, run the same command with --no-halving instead of --halving
    #[arg(long)]
    pub halving: bool,
    /// Halve at these epochs; each must be one that is validated
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub halving_rungs: Vec<u32>,
    /// Halve, and keep this share of the candidates at each rung, never fewer than 3 [default: a third]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    pub halving_keep: Option<f64>,
    /// Train all runs to the end, even if the grid file asks for halving
    #[arg(long, conflicts_with_all = ["halving", "halving_rungs", "halving_keep", "discard_stopped"])]
    pub no_halving: bool,
    /// Remove the checkpoints of runs that halving stops; if resumed, they start again from their first epoch
    #[arg(long)]
    pub discard_stopped: bool,
    /// Keep the final checkpoint of each run, so that the same grid with more `epochs` resumes from it
    /// instead of training anew
    #[arg(long)]
    pub keep_states: bool,
    /// Save a checkpoint of each run every N epochs [default: every minute]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub checkpoint_every: Option<u32>,
    /// Accept a grid that lacks some of the folder's runs: move those to the subfolder `left_out`, where they are
    /// not ranked. Not needed if the grid only adds runs
    #[arg(long, conflicts_with = "fresh")]
    pub leave_out: bool,
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

impl GridArgs {
    /// The halving that the flags and the grid file request; `None` if neither requests it.
    pub fn halving(&self, of_file: Option<HalvingRequest>) -> Option<HalvingRequest> {
        let rungs: Vec<usize> = self.halving_rungs.iter().map(|&rung| rung as usize).collect();
        let flags = HalvingRequest {
            rungs: Some(rungs).filter(|rungs| !rungs.is_empty()),
            keep: self.halving_keep,
        };
        let is_asked = self.halving || flags != HalvingRequest::default() || of_file.is_some();
        let request = of_file.unwrap_or_default().overridden_by(flags);
        Some(request).filter(|_| is_asked && !self.no_halving)
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|&share| is_share(share));
    share.ok_or_else(|| format!("expected {SHARE}"))
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
    /// Start from the weights of this model instead of random ones; the run uses the model's validation set
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::FilePath, value_parser = model_file())]
    pub init: Option<PathBuf>,
    /// Allow data, or a test or validation set, that differ from those of the --init model, although that model
    /// may have been trained on these rows
    #[arg(long, requires = "init")]
    pub allow_other_split: bool,
    /// Save a checkpoint every N epochs [default: every minute]
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
    /// Format of the numbers that training multiplies
    #[arg(long, value_name = "VALUE", default_value = "f32", value_parser = ["f32", "bf16"])]
    pub precision: String,
    /// Approximate duration of the measurement in seconds, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600), allow_negative_numbers = true)]
    pub seconds: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
