//! The commands and their help.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::plotting::PlotArgs;
use crate::cli::reading::{
    AuditArgs, CompareArgs, EnsembleArgs, EvaluateArgs, ExportArgs, PredictArgs, RankArgs,
    ReportArgs, SplitArgs,
};
use crate::cli::training::{BenchArgs, GridArgs, TrainArgs};
use crate::train::provenance::{COMMIT, COMPILER, VERSION};

// A line of an example fits 80 columns. A paragraph is one line, which is wrapped to the terminal.

const EXAMPLES: &str = "\
Examples:
  rookie grid table1 --out mine               all of the paper's Table 1
  rookie grid quick                           a first look in about a minute
  rookie grid quick --epochs 50 --jobs 8      the same, longer, with 8 workers
  rookie train --epochs 20                    the paper's best row, one run
  rookie rank results/table1 --by validation  rank the runs that have finished

Results go to standard output, progress and messages to standard error. Exit codes: 0 done, \
1 something failed while running, 2 wrong usage or bad input, 75 a shard waits for others, 130, 138 and 143 interrupted. Run the same \
command again to resume after any interruption.";

const GRID_HELP: &str = "\
Examples:
  rookie grid table1 --out mine            216 runs into the folder mine
  rookie grid table1 --out mine --dry-run  list the runs, and estimate the time
  rookie grid my.toml --out /scratch/mine  a grid of your own
  rookie grid quick --learning-rate 0.1,0.05 --set hidden=300,200 --seed 1,2,3
  rookie grid table1 --out mine --halving  stop the worst configurations early
  rookie grid quick --samples 20 --set 'learning_rate=log_uniform(0.01,1)'
  rookie grid table1 --out mine --shard 0/4    train the first of four parts

A flag with a list tries each value. In --hidden, commas separate layers and slashes separate choices for one \
layer: --hidden 500/400,324/256 is four networks. --hidden none is a network without hidden layers.

Instead of a list, a flag may have a range: uniform(A,B) or log_uniform(A,B), or for whole numbers int_uniform(A,B) or \
int_log_uniform(A,B); --samples draws from it. A hidden layer may have one: --hidden 'int_log_uniform(64,512),256'. \
Drawn values have three significant digits, and a larger --samples keeps the earlier samples.

A grid file may have a section [machine] with kernels = \"haswell\"; --kernels overrides it, even with auto.";

const TRAIN_HELP: &str = "\
Examples:
  rookie train                             the paper's best row, 500 epochs
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

Runs that differ only in their seed repeat one configuration. For verdicts about new images, the \
statistical test needs the test images and each run's test_predictions.csv.gz or its model.";

const AUDIT_HELP: &str = "\
Examples:
  rookie audit results/table1
  rookie audit results/table1 --halving-rungs 10,30 --halving-keep 0.25
  rookie audit results/table1 --format markdown --figure regret.png

Regret is the number of points by which the chosen run is worse than the full grid's choice. Nothing is trained.";

const ENSEMBLE_HELP: &str = "\
Examples:
  rookie ensemble results/table1
  rookie ensemble results/table1 --greedy --top 20 --out greedy.toml
  rookie predict results/table1/ensemble.toml t10k-images-idx3-ubyte.gz

The probabilities of the members are averaged. Every member needs its model.safetensors, \
and all must have the same validation set.";

const EVALUATE_HELP: &str = "\
Examples:
  rookie evaluate results/table1/runs/RUN/model.safetensors
  rookie evaluate model.safetensors --split validation --csv tables";

const PREDICT_HELP: &str = "\
Examples:
  rookie predict model.safetensors t10k-images-idx3-ubyte.gz > predictions.csv";

const EXPORT_HELP: &str = "\
Examples:
  rookie export results/table1/runs/RUN/model.safetensors --to onnx
  rookie export results/table1/ensemble.toml --to onnx
  rookie export model.safetensors --to c --out digits.c

The exported model takes raw features: of an image, its pixels from 0 to 255.";

const SPLIT_HELP: &str = "\
Examples:
  rookie split > split.csv
  rookie split --data-seed 7 --batch-size 256

The columns are index (of the image in its file, from 0), split (train, validation or test), batch \
(from 0) and position (in the batch, from 0). Training and validation images are in the training file.";

const PLOT_HELP: &str = "\
Examples:
  rookie plot curves results/quick/runs/RUN
  rookie plot curves results/quick/runs/lr0.4* --out figures --format svg
  rookie plot weights results/quick/runs/RUN/model.safetensors
  rookie plot grid results/quick --heat-map learning_rate,lr_decay
  rookie plot errors results/quick/runs/RUN --top 50";

const REPORT_HELP: &str = "\
Examples:
  rookie report results/table1             results/table1/report.html
  rookie report results/table1 --watch     the same, updated as runs finish";

const BENCH_HELP: &str = "\
Examples:
  rookie bench
  rookie bench --jobs 8 --json
  rookie bench --kernels haswell --seconds 5";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "rookie",
    about = "Trains a small neural network over a whole grid of hyper-parameters, on all CPU cores",
    version = VERSION,
    long_version = format!("{VERSION} (commit {COMMIT}, {COMPILER})"),
    after_help = EXAMPLES,
    arg_required_else_help = true
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
    /// Replay rules that stop bad runs early on a grid's curves: epochs, chosen run, regret
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditArgs),
    /// Combine the best runs into an ensemble that averages their probabilities
    #[command(after_help = ENSEMBLE_HELP)]
    Ensemble(EnsembleArgs),
    /// Evaluate a model: loss, accuracy, scores per class, confusion matrix
    #[command(after_help = EVALUATE_HELP)]
    Evaluate(EvaluateArgs),
    /// Predict the classes of images or rows of a table, as CSV
    #[command(after_help = PREDICT_HELP)]
    Predict(PredictArgs),
    /// Write a model for programs other than rookie: ONNX, NumPy, plain weights, C
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
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
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}
