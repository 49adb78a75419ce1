//! Rookie trains a small neural network over a whole grid of hyper-parameters, in parallel on all
//! CPU cores, with OpenBLAS doing the multiplying.
//!
//! This file is the floor plan. Data flows from the top of it to the bottom, and no room imports
//! one that stands below it (`tests/layers.rs` sees to that).

pub mod error;
pub mod memory;
pub mod text;
pub mod statistics;

/// From files to standardised batches.
pub mod data {
    pub mod file;
    pub mod gzip;
    pub mod idx;
    pub mod dataset;
    pub mod preprocess;
    pub mod batches;
}

/// The network and its training step.
pub mod network {
    pub mod gemm;
    pub mod cores;
    pub mod kernels;
    pub mod params;
    pub mod loss;
    pub mod sgd;
    pub mod mlp;
}

/// One run: its values, its state, what it leaves.
pub mod train {
    pub mod hyperparams;
    pub mod origins;
    pub mod reads;
    pub mod toml_file;
    pub mod provenance;
    pub mod outcome;
    pub mod predictions;
    pub mod model;
    pub mod run;
    pub mod checkpoint;
}

/// Many runs: which, in what order, and where their results go.
pub mod grid {
    pub mod machine;
    pub mod space;
    pub mod shared;
    pub mod stages;
    pub mod shards;
    pub mod physical_cores;
    pub mod schedule;
    pub mod workers;
    pub mod disk;
    pub mod begun;
    pub mod write_speed;
    pub mod store;
    pub mod checkpoints;
}

/// What is read off finished runs.
pub mod report {
    pub mod tables;
    pub mod ranking;
    pub mod comparison;
    pub mod pca;
    pub mod evaluation;
    pub mod effects;
    pub mod page;
}

/// What trains a run or a grid: it reports events to one closure, and knows no terminal.
pub mod engine {
    pub mod memory_use;
    pub mod plan;
    pub mod event;
    pub mod run_in_progress;
    pub mod train_run;
    pub mod train_grid;
}

/// Pictures of it, as bytes.
pub mod figures {
    pub mod canvas;
    pub mod curves;
    pub mod sheets;
    pub mod charts;
    pub mod models;
}

pub mod bench;
pub mod signals;
pub mod progress;
pub mod cli;

/// What each command does: it wires the rooms above.
pub mod commands {
    pub mod common;
    pub mod predictions;
    pub mod bench;
    pub mod dry_run;
    pub mod grid;
    pub mod train;
    pub mod rank;
    pub mod compare;
    pub mod evaluate;
    pub mod predict;
    pub mod split;
    pub mod plot;
    pub mod report;
}
