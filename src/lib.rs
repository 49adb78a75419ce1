//! Rookie trains small neural networks over a whole grid of hyper-parameters, in parallel on all CPU
//! cores, with OpenBLAS for the matrix products. The network is a multi-layer perceptron that
//! classifies images (D pixels, C classes); runs that share their first epochs train them once.
//!
//! The names at the root are the interface. [`train_run`] trains one network, [`train_grid`] a grid;
//! both report each [`Event`] to a closure, stop on an [`Interrupt`], and give the same bytes for the
//! same values whatever the number of workers and interruptions. `examples/` has a program for each
//! use. The modules are the inside: they may change in any version.
//!
//! Accuracies are fractions from 0 to 1, losses are in nats, epochs count from 1, other indices from 0.
//! Sections of "the paper" are those of the one that the defaults come from; `docs/protocol.md` says how
//! it was read.
//!
//! ```
//! use rookie::ndarray::Array3;
//! use rookie::{Dataset, Hyperparams, Interrupt, Labelled, RunEnd, train_run};
//!
//! // Forty images of 2 × 2 pixels, black ones of class 0 and white ones of class 1.
//! let labels: Vec<u8> = (0..40).map(|image| image % 2).collect();
//! let images = Array3::from_shape_fn((40, 2, 2), |(image, ..)| 255 * labels[image]);
//! let images = Labelled::new(images.view(), &labels)?;
//! let data = Dataset::new(images.clone(), images)?;
//!
//! let values = Hyperparams {
//!     hidden: vec![4],
//!     epochs: 3,
//!     batch_size: 10,
//!     validation_size: 10.into(),
//!     ..Hyperparams::default()
//! };
//! let end = train_run(&values.check()?, &data, None, None, &|_| {}, &Interrupt::default())?;
//! let RunEnd::Finished { record, trained } = end else { panic!("nobody interrupts it") };
//! assert_eq!(record.outcome.scores().unwrap().test.unwrap().accuracy, 1.0);
//! assert_eq!(trained.curve.len(), 3);
//! # Ok::<(), rookie::Error>(())
//! ```
//!
//! # Features
//!
//! `cli` (default) is the program `rookie`: its commands, terminal, signals, figures and report. Without
//! it, what stands at the root remains.
//!
//! # OpenBLAS
//!
//! It is linked from the system. Before its first product, rookie tells it to use one thread, because the
//! workers are the threads, and tests that it multiplies correctly. OpenBLAS chooses its kernels when the
//! process starts; the environment variable `OPENBLAS_CORETYPE` overrides that.

#![cfg_attr(
    not(test),
    warn(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)
)]

// Data flows from the first module to the last, and none imports a later one (`tests/layers.rs`).
pub mod error;
pub mod memory;
pub mod text;
pub mod statistics;

/// Products in bfloat16: tiles of operands, and the instructions that multiply them.
pub mod bf16 {
    pub mod tiles;
    pub mod room;
    pub mod instructions;
    pub mod required;
    #[cfg(target_arch = "x86_64")]
    pub mod x86;
    pub mod kernels;
    pub mod images;
}

/// From files to standardised batches.
pub mod data {
    pub(crate) mod file;
    pub(crate) mod gzip;
    pub mod features;
    pub mod idx;
    pub mod table;
    pub(crate) mod columns;
    pub(crate) mod csv_rows;
    pub mod csv_file;
    pub mod arrays;
    pub(crate) mod npy;
    pub mod npz;
    pub mod split;
    pub mod preprocess;
    pub mod schema;
    pub mod signature;
    pub mod options;
    pub mod shape;
    pub mod labelled;
    pub mod dataset;
    pub mod source;
    pub mod batches;
    pub mod small_batches;
}

/// The network and its training step.
pub mod network {
    pub(crate) mod self_test;
    pub mod gemm;
    pub mod cores;
    #[expect(clippy::disallowed_methods, reason = "OPENBLAS_CORETYPE says who chose the kernels")]
    pub mod kernels;
    pub mod params;
    pub mod loss;
    pub mod update;
    pub mod mlp;
    pub mod packed_layer;
    pub(crate) mod packed_pass;
    pub mod bf16;
}

/// One run: its values, its state, what it leaves.
pub mod train {
    pub mod score;
    pub mod hyperparams;
    pub(crate) mod value;
    pub mod keys;
    pub mod checked;
    pub mod origins;
    pub mod toml_file;
    pub mod provenance;
    pub mod outcome;
    pub mod cautions;
    pub mod curve;
    pub mod halving;
    pub mod reads;
    pub mod predictions;
    pub mod inputs;
    pub mod model;
    pub mod predictor;
    pub mod run;
    pub mod checkpoint;
}

/// Many runs: which, in what order, and where their results go.
pub mod grid {
    pub(crate) mod machine;
    pub mod range;
    pub mod axis;
    pub mod halving_section;
    pub(crate) mod search;
    pub mod space;
    pub mod grid_file;
    pub(crate) mod shared;
    pub mod stages;
    pub mod candidates;
    pub mod shards;
    pub(crate) mod physical_cores;
    pub(crate) mod schedule;
    pub mod workers;
    #[expect(clippy::disallowed_methods, reason = "the only module that writes")]
    pub(crate) mod disk;
    #[expect(clippy::disallowed_methods, reason = "it opens the files that are locked")]
    pub(crate) mod locks;
    pub(crate) mod begun;
    #[cfg(feature = "cli")]
    pub(crate) mod write_speed;
    pub(crate) mod names;
    pub mod run_folder;
    pub mod saved;
    pub(crate) mod damaged_grid;
    pub mod shards_file;
    pub mod growth;
    pub mod held;
    pub mod store;
    pub mod checkpoints;
}

/// What is read off finished runs.
pub mod results {
    pub mod tables;
    pub mod columns;
    pub mod ranking;
    pub(crate) mod ranking_notes;
    pub mod read;
    pub mod reference;
    pub mod settings;
    pub mod configuration;
    pub mod comparison;
    pub mod comparison_text;
    pub mod evaluation;
    pub mod ensemble;
    pub mod ensemble_text;
    pub mod effects;
    pub mod audited;
    pub(crate) mod audit_workers;
    pub mod audit;
    pub mod audit_text;
}

/// What trains a run or a grid: it reports events to one closure, and knows no terminal.
pub mod engine {
    pub mod memory_use;
    pub mod plan;
    pub mod halved_plan;
    pub mod event;
    pub mod run_in_progress;
    pub mod train_run;
    pub(crate) mod grid_results;
    pub(crate) mod training;
    pub mod train_grid;
    pub mod refit;
}

/// A trained model in the formats of other programs, as bytes.
#[cfg(feature = "cli")]
pub mod export {
    pub mod exported;
    pub mod onnx_messages;
    pub mod onnx;
    pub mod npz;
    pub mod c;
}

/// Pictures of it, as bytes.
#[cfg(feature = "cli")]
pub mod figures {
    pub mod pca;
    pub mod canvas;
    pub mod curves;
    pub mod sheets;
    pub mod charts;
    pub mod intervals;
    pub mod audit;
    pub mod models;
}

/// All of it as one page.
#[cfg(feature = "cli")]
pub mod report {
    pub mod curves;
    pub(crate) mod parts;
    pub mod page;
}

#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod bench_bf16;
#[cfg(feature = "cli")]
pub mod signals;
#[cfg(feature = "cli")]
#[expect(clippy::disallowed_methods, reason = "it prints to standard error")]
pub mod progress;

/// The command line as types. The only modules that use clap; they do no work.
#[cfg(feature = "cli")]
pub mod cli {
    pub mod shared;
    pub mod training;
    pub mod plotting;
    pub mod reading;
    pub mod command;
    pub mod hints;
}

/// The commands, which connect the modules above.
#[cfg(feature = "cli")]
#[expect(clippy::disallowed_methods, reason = "commands print and read the environment")]
pub mod commands {
    pub mod common;
    pub mod data;
    pub mod predictions;
    pub mod averaging;
    pub mod bench;
    pub mod dry_run;
    pub mod refit;
    pub mod grid;
    pub mod train;
    pub mod rank;
    pub mod compare;
    pub mod audit;
    pub mod ensemble;
    pub mod evaluate;
    pub mod predict;
    pub mod export;
    pub mod split;
    pub mod plot;
    pub mod report;
}

pub use ndarray;

#[doc(inline)]
pub use crate::{
    data::dataset::Dataset,
    data::labelled::Labelled,
    data::preprocess::Standardisation,
    data::split::PartSize,
    engine::event::{Event, Interrupt, OnEvent},
    engine::run_in_progress::SaveEvery,
    engine::train_grid::{GridEnd, GridOptions, train_grid},
    engine::train_run::{RunEnd, RunFolder, train_run},
    error::{Error, Result},
    grid::physical_cores::default_workers,
    grid::space::{Grid, Run},
    grid::store::Store as ResultsFolder,
    network::mlp::Activation,
    results::ranking::Ranking,
    train::checked::Checked,
    train::halving::Halving,
    train::hyperparams::Hyperparams,
    train::model::Model,
    train::outcome::{Outcome, Record, Scores},
    train::predictor::Predictor,
    train::provenance::Provenance,
    train::run::Trained,
    train::score::{CurveRow, OnTie, Score},
};
