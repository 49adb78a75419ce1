//! The examples do what their first comments say.

mod support;

use std::process::Command;
use std::sync::Once;

use support::{Csv, DATA, Ended, Work};

/// Builds the examples, where `cargo test` has not, because one test alone was asked for.
fn build() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--examples"]);
        cargo.args((!cfg!(debug_assertions)).then_some("--release"));
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    });
}

/// Runs an example in a work folder to its end.
fn example(work: &Work, name: &str, arguments: &str) -> Ended {
    build();
    let this = std::env::current_exe().unwrap();
    let program = this.ancestors().nth(2).unwrap().join("examples").join(name);
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(work.path(""));
    Ended::of(&format!("example {name} {arguments}"), command).exits(0).says_nothing()
}

#[test]
fn one_network_is_trained_into_a_folder_and_predicts_as_the_program_does() {
    let work = Work::new();
    let trained = example(&work, "train_one", &format!("{DATA} run"));
    assert_eq!(trained.stdout.matches("epoch ").count(), 5, "{}", trained.stdout);
    // The program trains the same run again, from its record.
    work.rookie("train run/run.toml --out again").exits(0);
    assert_eq!(work.reproducible("run"), work.reproducible("again"));
    let accuracy = work.toml("run/run.toml")["test_accuracy"].as_float().unwrap();
    trained.prints(&format!("test accuracy {accuracy:.4}\n"));
    let predicted = example(&work, "predict", &format!("run/model.safetensors {DATA}"));
    let program = format!("predict run/model.safetensors {DATA}/t10k-images-idx3-ubyte");
    let labels = Csv::parse(&work.rookie(&program).exits(0).stdout);
    for (index, label) in labels.column("label").into_iter().take(10).enumerate() {
        let probability = labels.numbers(&format!("probability_{label}"))[index];
        let line = format!("image {index}: {label} with probability {probability:.3}\n");
        assert!(predicted.stdout.contains(&line), "{line}\n{}", predicted.stdout);
    }
    // Each image by itself, as `rookie evaluate` counts them too.
    let evaluated = work.rookie("evaluate run/model.safetensors").exits(0).stdout;
    let accuracy: f64 =
        predicted.stdout.rsplit_once("accuracy ").unwrap().1.trim().parse().unwrap();
    let percent = format!("{:.2} %", 100.0 * accuracy);
    assert!(evaluated.contains(&percent), "{percent}\n{evaluated}");
}

#[test]
fn a_grid_is_trained_without_the_program_and_resumes_to_the_same_bytes() {
    let work = Work::new();
    let interrupted = example(&work, "grid", &format!("{DATA} results 3"));
    assert!(!interrupted.stdout.contains(" 0 runs left"), "{}", interrupted.stdout);
    let resumed = example(&work, "grid", &format!("{DATA} results")).prints(" 0 runs left");
    let count = |ended: &Ended| -> usize {
        let line = ended.stdout.lines().last().unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(count(&interrupted) + count(&resumed), 4 * 4, "{}", resumed.stdout);
    work.rookie("grid results/grid.toml --out again").exits(0);
    assert_eq!(work.reproducible("results"), work.reproducible("again"));
    let first = &work.csv("results/ranking.csv").rows[0];
    assert!(resumed.stdout.lines().next().unwrap().ends_with(first.last().unwrap()));
}

#[test]
fn arrays_in_memory_are_trained_on_and_nothing_is_written() {
    let work = Work::new();
    let before = work.contents("");
    let trained = example(&work, "arrays", "").prints("epoch 4 validation accuracy 1.000\n");
    trained.prints("the best weights are those of epoch ");
    assert_eq!(before, work.contents(""));
}
