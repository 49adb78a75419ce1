//! The scripts that stand beside the program, and what the README does with its files.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{FASHION_MNIST, Work, fashion_mnist, is_skipped};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn fetch(work: &Path, mirror: &Path) -> Output {
    let mut command = Command::new(script("fetch-data"));
    command.current_dir(work).env("ROOKIE_MIRROR", format!("file://{}", mirror.display()));
    command.output().unwrap()
}

#[test]
fn fetch_data_brings_four_checked_files_and_does_not_fetch_them_twice() {
    // The files that it would download are on most machines already, maybe packed otherwise.
    let mirror = fashion_mnist();
    if is_skipped(FASHION_MNIST, mirror.is_some()) {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let first = fetch(work.path(), &mirror.unwrap());
    assert!(first.status.success(), "{first:?}");
    let folder = work.path().join("data/fashion-mnist");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
    let second = fetch(work.path(), Path::new("/nowhere"));
    assert!(second.status.success(), "{second:?}");
    assert_eq!(String::from_utf8_lossy(&second.stderr).matches("is there already").count(), 4);
}

#[test]
fn fetch_data_refuses_a_file_that_is_not_the_data_set_s_and_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let bad = work.path().join("mirror");
    fs::create_dir(&bad).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"something else").unwrap();
    fs::write(bad.join("train-images-idx3-ubyte.gz"), gzip.finish().unwrap()).unwrap();
    let output = fetch(work.path(), &bad);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("found SHA-256"), "{output:?}");
    assert!(!work.path().join("data/fashion-mnist").exists());
}

#[test]
fn fetch_data_takes_one_folder_and_keeps_one_that_was_there() {
    let work = tempfile::tempdir().unwrap();
    fs::create_dir(work.path().join("there")).unwrap();
    for (arguments, code) in [(&["there"][..], 1), (&["a", "b"], 2), (&[""], 2)] {
        let mut command = Command::new(script("fetch-data"));
        command.args(arguments).current_dir(work.path()).env("ROOKIE_MIRROR", "file:///nowhere");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    assert!(work.path().join("there").is_dir() && !work.path().join("a").exists());
}

#[test]
fn each_script_prints_its_help() {
    let names = ["test", "compare", "compare-tables", "rookie", "fetch-data", "slurm/submit"];
    for name in names {
        let mut command = Command::new("timeout");
        let output = command.arg("5").arg(script(name)).arg("--help").output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{name}: {output:?}");
    }
}

/// `scripts/slurm/submit` with an `sbatch` that takes anything.
fn submit(work: &Work, arguments: &str) -> Output {
    work.write("bin/sbatch", "#!/bin/sh\necho 7\n");
    let sbatch = work.path("bin/sbatch");
    fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(script("slurm/submit"));
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", work.path("bin").display()));
    command.env("ROOKIE", assert_cmd::cargo::cargo_bin!("rookie")).env_remove("ROOKIE_DATA");
    command.args(arguments.split(' ')).current_dir(work.path("")).output().unwrap()
}

#[test]
fn submit_says_where_results_go_and_refuses_at_once_what_every_job_would() {
    let work = Work::new();
    work.write("file.toml", format!("name = \"other\"\n{}", support::GRID));
    let said = |arguments: &str, code: i32, phrase: &str| {
        let output = submit(&work, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && text.contains(phrase), "{output:?}");
    };
    said("file.toml", 0, "results in results/other, ");
    assert!(work.path("results/other/.slurm").is_dir() && !work.path("results/file").exists());
    said("file.toml -- --out there", 0, "results in there, ");
    said("file.toml --shards 9999999", 2, "expected a number from 1 to 999999");
    said("file.toml --cpus 1025", 2, "expected a number from 1 to 1024");
    said("file.toml --shards=3 --cpus=1", 0, "of 3 parts");
    said("file.toml --time=", 2, "--time: found no value");
    said("file.toml -- --help", 2, "found `--help` behind `--`");
    work.rookie("grid my.toml").exits(0);
    said("file.toml -- --out results/my --epochs 2", 2, "results/my: holds another grid (epochs");
    said("file.toml -- --out data", 2, "data: is not empty");
}

#[test]
fn scripts_tell_their_usage_when_asked_and_do_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    for name in ["slurm/submit", "setup", "fetch-data"] {
        let mut command = Command::new(script(name));
        let output = command.arg("--help").current_dir(work.path()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).lines().count() > 1, "{name}: {output:?}");
    }
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_of_data_that_is_not_there_is_no_data() {
    let setup = fs::read_to_string(script("setup")).unwrap();
    let (_, rest) = setup.split_once("has_data() {").unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let asked = format!("has_data() {{{body}\n}}\nhas_data");
    let work = Work::new();
    for (folder, has_data) in [("nowhere", false), (support::DATA, true)] {
        // Without the folders that a machine may have.
        let asked = asked.replace("\"data/fashion", "\"no").replace("\"/usr/share", "\"no");
        let mut command = Command::new("bash");
        command.args(["-c", &asked]).env("ROOKIE_DATA", folder).current_dir(work.path(""));
        assert_eq!(command.status().unwrap().success(), has_data, "{folder}");
    }
}

#[test]
fn every_script_is_sound_bash() {
    let files = ["", "slurm"].into_iter().flat_map(|folder| fs::read_dir(script(folder)).unwrap());
    for path in files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let text = fs::read_to_string(&path).unwrap();
        if text.starts_with("#!/usr/bin/env bash") {
            let output = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(text.contains("set -euo pipefail"), "{} goes on after errors", path.display());
        }
    }
}

#[test]
fn the_readme_s_lines_plot_a_curve_where_pandas_is_installed() {
    let has = |python: &&str| {
        let import = Command::new(python).args(["-c", "import pandas, matplotlib"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has);
    if is_skipped("pandas and matplotlib", python.is_some()) {
        return;
    }
    let python = python.unwrap();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("pandas")).unwrap();
    assert!(block.lines().count() <= 4, "{block}");
    let work = Work::trained();
    let curve = "results/quick/runs/lr0.2_h500-324_decay0.5/curve.csv";
    work.write(curve, work.text("run/curve.csv"));
    let mut command = Command::new(python);
    command.args(["-c", block]).current_dir(work.path("")).env("MPLBACKEND", "agg");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(work.bytes("curve.png").starts_with(b"\x89PNG\r\n"));
}

/// Rookie refuses to train in `results/table1` of this repository, which holds a record.
#[test]
fn no_command_of_the_documents_would_train_in_a_record() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "docs/cluster.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for line in text.lines().filter(|line| line.starts_with("    ")) {
            let mut words = line.split_whitespace().skip_while(|word| {
                *word != "grid" && !word.ends_with("/submit") // the grid's name comes next
            });
            let name = words.nth(1).unwrap_or_default();
            let is_record =
                !name.is_empty() && root.join("results").join(name).join("RECORDED").exists();
            let trains_elsewhere = line.contains("--out ") || line.contains("--dry-run");
            assert!(!is_record || trains_elsewhere, "{page}: {line}");
        }
    }
}
