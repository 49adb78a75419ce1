//! What the tests of the program share: a work folder for each test, small data sets, and rookie
//! run in that folder as a user would run it.

// Each file of tests is a program of its own and uses a part of this one.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

/// A program inherits the signals that are ignored, as they are under `nohup` and in the background
/// of a script, and rookie leaves these ignored. A signal that is caught it does not inherit.
fn take_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let always = Arc::new(AtomicBool::new(true));
            signal_hook::flag::register_conditional_default(signal, always).unwrap();
        }
    });
}

/// Longer than anything here takes, so that a hang fails its own test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where rookie looks for data first when nobody names a folder.
pub(crate) const DATA: &str = "data/fashion-mnist";
pub(crate) const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
pub(crate) const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
pub(crate) const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
pub(crate) const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";
/// The four files of a data set.
pub(crate) const FILES: [&str; 4] = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];
/// What a run's model says of the test images.
pub(crate) const PREDICTIONS: &str = "test_predictions.csv.gz";
/// Values that suit [`SMALL`], as flags.
pub(crate) const FLAGS: &str =
    "--hidden 16,12 --batch-size 32 --validation-size 50 --epochs 6 --eval-every 4";
/// Six runs that suit [`SMALL`], as a file of the user's.
pub(crate) const GRID: &str = "\
[values]
hidden = [16, 12]
batch_size = 32
validation_size = 50
epochs = 6
eval_every = 2
lr_decay_every = 4

[axes]
learning_rate = [0.2, 0.1, 0.02]
lr_decay = [0.5, 0.8]
";

/// A data set that a network of a few units learns well but not perfectly.
#[derive(Clone, Copy)]
pub(crate) struct DataSet {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) classes: usize,
    pub(crate) train: usize,
    pub(crate) test: usize,
}

/// The data set of most tests.
pub(crate) const SMALL: DataSet = DataSet { height: 6, width: 5, classes: 3, train: 300, test: 60 };

impl DataSet {
    /// The contents of the four files, in the order of [`FILES`].
    pub(crate) fn files(self) -> [Vec<u8>; 4] {
        let [(train_images, train_labels), (test_images, test_labels)] =
            [(self.train, 1), (self.test, 2)].map(|(count, seed)| {
                let (pixels, labels) = self.draw(count, seed);
                (idx(&[count, self.height, self.width], &pixels), idx(&[count], &labels))
            });
        [train_images, train_labels, test_images, test_labels]
    }

    /// Every class brightens pixels of its own, under noise that never changes.
    fn draw(self, count: usize, mut seed: u64) -> (Vec<u8>, Vec<u8>) {
        let mut below = |bound: usize| below(&mut seed, bound as u64) as usize;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let class = below(self.classes);
            labels.push(class as u8);
            for pixel in 0..self.height * self.width {
                let pattern = if pixel % self.classes == class { 70 } else { 0 };
                pixels.push((20 + pattern + below(120)) as u8);
            }
        }
        (pixels, labels)
    }
}

/// The next number below a bound, by `SplitMix64` (Steele, Lea and Flood 2014).
pub(crate) fn below(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % bound
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dimensions: &[usize], items: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    file.extend(dimensions.iter().flat_map(|&size| (size as u32).to_be_bytes()));
    file.extend(items);
    file
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Whether a test must be skipped because this machine lacks something that not all have. The test and
/// what it needs are then named on standard error, past the capture of the test harness. With
/// `ROOKIE_TEST_ALL` set, the test fails instead.
pub(crate) fn is_skipped(needed: &str, is_there: bool) -> bool {
    if is_there {
        return false;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(std::env::var_os("ROOKIE_TEST_ALL").is_none(), "{test} needs {needed}");
    let _ = writeln!(std::io::stderr(), "skipped {test}: this machine has no {needed}");
    true
}

/// What multiplies bf16, which not all processors have.
pub(crate) const BF16: &str = "bf16 instructions";

/// Whether what needs bf16 must be skipped.
pub(crate) fn is_skipped_without_bf16() -> bool {
    is_skipped(BF16, rookie::bf16::instructions::Instructions::of_processor().is_some())
}

/// Whether a program is installed.
pub(crate) fn has_program(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

/// The folder of Fashion-MNIST, where this machine has it.
pub(crate) fn fashion_mnist() -> Option<PathBuf> {
    fs::canonicalize(rookie::commands::data::locate(None).ok()?).ok()
}

/// What it is called where it is lacking.
pub(crate) const FASHION_MNIST: &str = "Fashion-MNIST (scripts/fetch-data)";

/// A work folder that goes with the test.
pub(crate) struct Work(TempDir);

impl Work {
    /// With [`SMALL`] where rookie finds it, and [`GRID`] as `my.toml`.
    pub(crate) fn new() -> Self {
        let work = Self(tempfile::tempdir().unwrap());
        work.write_data(DATA, SMALL);
        work.write("my.toml", GRID);
        work
    }

    /// With a finished run in `run`.
    pub(crate) fn trained() -> Self {
        let work = Self::new();
        work.rookie(&format!("train {FLAGS} --out run")).exits(0);
        work
    }

    /// With the results of `my.toml` in `results/my`.
    pub(crate) fn ranked() -> Self {
        let work = Self::new();
        work.rookie("grid my.toml").exits(0);
        work
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub(crate) fn write_data(&self, folder: &str, data: DataSet) {
        for (name, contents) in FILES.iter().zip(data.files()) {
            self.write(Path::new(folder).join(name), contents);
        }
    }

    #[track_caller]
    pub(crate) fn bytes(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[track_caller]
    pub(crate) fn text(&self, name: impl AsRef<Path>) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    #[track_caller]
    pub(crate) fn csv(&self, name: impl AsRef<Path>) -> Csv {
        Csv::parse(&self.text(name))
    }

    #[track_caller]
    pub(crate) fn toml(&self, name: impl AsRef<Path>) -> toml::Table {
        self.text(name).parse().unwrap()
    }

    /// Every file under a folder by its path from there, and every folder as an empty file.
    #[track_caller]
    pub(crate) fn contents(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.path(folder);
        let mut contents = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_path_buf();
                if path.is_dir() {
                    contents.insert(name, Vec::new());
                    folders.push(path);
                } else {
                    contents.insert(name, fs::read(path).unwrap());
                }
            }
        }
        contents
    }

    /// The checkpoints in a folder, by name; a file that is being written is none of them yet.
    pub(crate) fn checkpoints(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| {
            let is_written = !path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
            is_written && path.extension().is_some_and(|it| it == "checkpoint")
        });
        paths.sort();
        paths
    }

    /// Waits until a folder has a checkpoint.
    #[track_caller]
    pub(crate) fn wait_for_checkpoint(&self, folder: &str) {
        wait_until("a checkpoint is saved", || !self.checkpoints(folder).is_empty());
    }

    /// The same, or nothing if there is no such folder.
    pub(crate) fn contents_if_any(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        if self.path(folder).exists() { self.contents(folder) } else { BTreeMap::new() }
    }

    /// What the same training must reproduce byte for byte: all but times and the lock. Beside each
    /// model, its predictions are part of that.
    #[track_caller]
    pub(crate) fn reproducible(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = self.contents(folder);
        contents.retain(|path, _| !path.ends_with("run.toml") && !path.starts_with(".state"));
        for path in contents.keys().filter(|path| path.ends_with("model.safetensors")) {
            let predictions = path.with_file_name(PREDICTIONS);
            assert!(contents.contains_key(&predictions), "no {}", predictions.display());
        }
        contents
    }

    /// What changes when a file is replaced, even by one with the same contents.
    #[track_caller]
    pub(crate) fn stamps(&self, folder: &str) -> BTreeMap<PathBuf, (u64, i64)> {
        let stamp = |name: PathBuf| {
            let about = fs::metadata(self.path(folder).join(&name)).unwrap();
            about.is_file().then(|| (name, (about.ino(), about.mtime_nsec())))
        };
        self.contents(folder).into_keys().filter_map(stamp).collect()
    }

    /// rookie with these arguments, parted by spaces, in this folder.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        take_signals();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("rookie"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.env_remove("ROOKIE_DATA");
        command
    }

    /// Runs rookie to its end.
    pub(crate) fn rookie(&self, arguments: &str) -> Ended {
        Ended::of(arguments, self.command(arguments))
    }

    /// Runs rookie with an environment variable to its end.
    pub(crate) fn rookie_with(&self, variable: (&str, &str), arguments: &str) -> Ended {
        let mut command = self.command(arguments);
        command.env(variable.0, variable.1);
        Ended::of(arguments, command)
    }

    /// Starts rookie and leaves it at work.
    pub(crate) fn start(&self, arguments: &str) -> Running {
        self.start_into(arguments, Stdio::piped())
    }

    /// Starts rookie with its standard output going somewhere else than into the test.
    pub(crate) fn start_into(&self, arguments: &str, output: impl Into<Stdio>) -> Running {
        Running::of(arguments, self.command(arguments), output)
    }
}

/// Asks again and again until the answer is yes.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// rookie at work, killed if its test fails before it ends.
pub(crate) struct Running {
    arguments: String,
    child: Option<Child>,
}

impl Running {
    /// Starts a command made by [`Work::command`].
    pub(crate) fn of(arguments: &str, mut command: Command, output: impl Into<Stdio>) -> Self {
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        Self { arguments: arguments.to_string(), child: Some(command.spawn().unwrap()) }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("taken only at the end")
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child().try_wait().unwrap().is_some()
    }

    /// Standard output, for the test to read and to close.
    pub(crate) fn take_output(&mut self) -> ChildStdout {
        self.child().stdout.take().expect("taken once")
    }

    /// Sends a signal by its name, such as `INT`.
    pub(crate) fn signal(&mut self, name: &str) {
        if !self.has_ended() {
            // The shell's own kill: a bare system has no program of that name.
            let kill = format!("kill -{name} {}", self.child().id());
            let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
            assert!(sent.success());
        }
    }

    /// Waits until rookie catches signals. SIGHUP, the lowest bit, is the last that it installs.
    pub(crate) fn wait_until_it_catches_signals(&mut self) {
        let path = format!("/proc/{}/status", self.child().id());
        wait_until("rookie catches signals", || {
            if self.has_ended() {
                return true;
            }
            let status = fs::read_to_string(&path).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & 1 == 1
        });
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        wait_until("rookie ends", || self.has_ended());
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        Ended::new(&self.arguments, output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// How rookie ended. What it wrote is shown whenever a check of it fails.
pub(crate) struct Ended {
    arguments: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn new(arguments: &str, output: Output) -> Self {
        Self {
            arguments: arguments.to_string(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command made by [`Work::command`] to its end.
    pub(crate) fn of(arguments: &str, command: Command) -> Self {
        let output = assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap();
        Self::new(arguments, output)
    }

    /// Fails the test with the whole output unless the claim holds.
    #[track_caller]
    pub(crate) fn check(self, holds: bool, claim: impl Display) -> Self {
        let Self { arguments, code, stdout, stderr } = &self;
        assert!(
            holds,
            "not so: {claim}\n\nrookie {arguments}\nexit code {code:?}\n--- standard output\n\
             {stdout}\n--- standard error\n{stderr}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let holds = self.code == Some(code);
        self.check(holds, format!("it exits with code {code}"))
    }

    /// On standard output.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        let holds = self.stdout.contains(text);
        self.check(holds, format!("standard output holds `{text}`"))
    }

    /// On standard error.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let holds = self.stderr.contains(text);
        self.check(holds, format!("standard error holds `{text}`"))
    }

    #[track_caller]
    pub(crate) fn says_nothing(self) -> Self {
        let holds = self.stderr.is_empty();
        self.check(holds, "standard error is empty")
    }
}

/// A table by columns.
pub(crate) struct Csv {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Csv {
    /// Every row must have as many fields as the header.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let cells = |record: &csv::StringRecord| record.iter().map(String::from).collect();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = cells(reader.headers().unwrap());
        let rows = reader.records().map(|record| cells(&record.unwrap())).collect();
        Self { header, rows }
    }

    #[track_caller]
    pub(crate) fn column(&self, name: &str) -> Vec<&str> {
        let place = self.header.iter().position(|other| other == name);
        let place = place.unwrap_or_else(|| panic!("no column {name} in {:?}", self.header));
        self.rows.iter().map(|row| &row[place][..]).collect()
    }

    /// A column of which no field is empty.
    #[track_caller]
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        self.column(name).into_iter().map(|text| text.parse().unwrap()).collect()
    }
}
