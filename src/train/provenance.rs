//! What a result came from: program, compiler, OpenBLAS, processor and data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::bf16::instructions::{Instructions, Precision};
use crate::bf16::required::cpu;
use crate::data::dataset::{Dataset, is_training_file};
use crate::data::idx::hexadecimal;
use crate::data::options::DataOptions;
use crate::error::{Error, Place, Result};
use crate::network::gemm::openblas;
use crate::network::kernels::chosen_by;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::Key;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, with `-dirty` if tracked files differed from it.
pub const COMMIT: &str = env!("ROOKIE_COMMIT");
/// The compiler that built it.
pub const COMPILER: &str = env!("ROOKIE_COMPILER");

/// What a result came from: names and values, in the order of their lines in `run.toml`. Lines that this
/// version does not know are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance(Vec<(String, String)>);

/// The line that names the version of this program.
const ROOKIE: &str = "rookie";
/// The line that names the commit that it was built from.
const COMMITTED: &str = "commit";
/// The line that names the version of OpenBLAS.
const OPENBLAS: &str = "openblas";
/// The line that names OpenBLAS's kernels.
const KERNELS: &str = "openblas_core";
/// The line that names the instructions that multiplied in bf16; only of runs in bf16.
const BF16: &str = "bf16";
/// The line that names the weights that a run started from, if they were not drawn.
pub const INIT: &str = "init_sha256";
/// The line that names what these weights were trained on, if it is no folder of IDX files.
const INIT_DATA: &str = "init_trained_on";
/// What follows there where only the validation set was another one.
const OTHER_SPLIT: &str = " and another validation set";
/// The values that say which training images are the validation set.
pub const SPLIT: [&str; 2] = ["data_seed", "validation_size"];
/// How the lines that name the data begin.
const DATA: &str = "sha256_";
/// The line that says how a table was read.
pub const OPTIONS: &str = "data_options";
/// Between what a run was started with and what it was resumed with.
const THEN: &str = " then ";

fn split_value(values: &Hyperparams, name: &str) -> String {
    Key::named(name).expect("a key").get(values).to_string()
}

impl FromIterator<(String, String)> for Provenance {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(lines: T) -> Self {
        Self(lines.into_iter().collect())
    }
}

impl Provenance {
    /// What this process trains on a data set in bf16, from a model if these lines name one; see
    /// [`Provenance::of_precision`].
    ///
    /// # Errors
    /// Where OpenBLAS is not as it must be.
    pub fn now(dataset: &Dataset, init: Self) -> Result<Self> {
        let blas = openblas()?;
        let lines = [
            (ROOKIE, VERSION),
            (COMMITTED, COMMIT),
            ("compiler", COMPILER),
            (OPENBLAS, &blas.build),
            (KERNELS, &blas.core),
            ("openblas_core_chosen_by", &chosen_by().to_string()),
            ("cpu", &cpu()),
        ];
        let line = |(name, value): (&str, &str)| (name.to_string(), value.to_string());
        let of_bf16 = Instructions::of_processor().map(|it| (BF16.to_string(), it.to_string()));
        let lines = lines.map(line).into_iter().chain(of_bf16);
        Ok(lines.chain(Self::of_data(dataset).0).chain(init.0).collect())
    }

    /// The same for a run of this precision: one in float32 does not name what multiplies bf16.
    #[must_use]
    pub fn of_precision(&self, precision: Precision) -> Self {
        let is_read = |name: &str| name != BF16 || precision == Precision::Bf16;
        self.0.iter().filter(|(name, _)| is_read(name)).cloned().collect()
    }

    /// The lines that name the model that a run starts from: the SHA-256 of its file, its split, and what
    /// its weights were trained on.
    pub fn of_init(sha256: &str, values: &Hyperparams, trained_on: Option<&str>) -> Self {
        let split = SPLIT.map(|name| (format!("init_{name}"), split_value(values, name)));
        let trained_on = trained_on.map(|it| (INIT_DATA.to_string(), it.to_string()));
        let all = [(INIT.to_string(), sha256.to_string())].into_iter().chain(split);
        all.chain(trained_on).collect()
    }

    /// What the model of a run was trained on: a hash of its data and of how test rows were drawn; `None`
    /// for a folder of IDX files with a test set, unless the weights of `--init` saw other rows, or those of
    /// another validation set. That stays marked through all runs that follow.
    pub fn trained_on(&self, values: &Hyperparams) -> Option<String> {
        let marked = |mark| Some(self.data_hash() + mark);
        if self.has_other_data() {
            marked(" and others")
        } else if self.has_other_split(values) {
            marked(OTHER_SPLIT)
        } else {
            self.is_of_table().then(|| self.data_hash())
        }
    }

    /// Whether the run started from a model that was trained on other rows than those which its data leave
    /// for training and validation, so that its test rows may be among them.
    pub fn has_other_data(&self) -> bool {
        let is_other = |of_init: &str| {
            of_init.strip_suffix(OTHER_SPLIT).unwrap_or(of_init) != self.data_hash()
        };
        // A model of a table has always said what it was trained on.
        self.init().is_some() && self.get(INIT_DATA).map_or(self.is_of_table(), is_other)
    }

    /// Whether the run started from a model of another split than these values have, or of other data, so
    /// that its validation images may be among those that the model was trained on.
    pub fn has_other_split(&self, values: &Hyperparams) -> bool {
        let differs = |name| {
            let of_init = self.get(&format!("init_{name}"));
            of_init.is_some_and(|of_init| of_init != split_value(values, name))
        };
        let is_marked = self.get(INIT_DATA).is_some_and(|it| it.ends_with(OTHER_SPLIT));
        SPLIT.into_iter().any(differs) || is_marked || self.has_other_data()
    }

    /// The lines that name a data set: the SHA-256 of its unpacked files, and how a table was read.
    pub fn of_data(dataset: &Dataset) -> Self {
        let options = dataset.options.iter().map(|it| (OPTIONS.to_string(), it.to_json()));
        let file = |(file, sha): &(String, String)| (format!("{DATA}{file}"), sha.clone());
        dataset.sha256.iter().map(file).chain(options).collect()
    }

    /// All lines.
    pub fn lines(&self) -> &[(String, String)] {
        &self.0
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| &value[..])
    }

    /// The kernels of OpenBLAS.
    pub fn kernels(&self) -> Option<&str> {
        self.get(KERNELS)
    }

    /// Whether a model of these lines gives the same outputs in this process: with the same version, and the same
    /// build and kernels of OpenBLAS.
    ///
    /// # Errors
    /// Where OpenBLAS is not as it must be.
    pub fn is_of_this_program(&self) -> Result<bool> {
        let blas = openblas()?;
        let here = [(ROOKIE, VERSION), (OPENBLAS, &blas.build), (KERNELS, &blas.core)];
        Ok(here.iter().all(|(name, value)| self.get(name) == Some(value)))
    }

    /// The SHA-256 of the weights that the run started from, if they were not drawn.
    pub fn init(&self) -> Option<&str> {
        self.get(INIT)
    }

    /// How the data were read, if they are a table.
    pub fn data_options(&self) -> Option<DataOptions> {
        DataOptions::from_json(self.get(OPTIONS)?)
    }

    /// Whether two results come from the same data.
    pub fn same_data(&self, other: &Self) -> bool {
        self.data() == other.data()
    }

    /// Whether a result comes from this data set.
    pub fn is_of(&self, dataset: &Dataset) -> bool {
        self.same_data(&Self::of_data(dataset))
    }

    /// Whether a result was trained on rows of a file of this data set, of the one with its test rows if
    /// `of_test`. Files of labels alone may be alike by chance.
    pub fn shares_file(&self, dataset: &Dataset, of_test: bool) -> bool {
        let is_test = |name: &str| name.starts_with("test_") || name.starts_with("t10k");
        let of_test = of_test && !dataset.has_drawn_test();
        let files = dataset.sha256.iter();
        let mut files =
            files.filter(|(name, _)| !name.contains("label") && is_test(name) == of_test);
        files.any(|(_, sha256)| {
            let trained =
                self.0.iter().filter_map(|(name, sha)| Some((name.strip_prefix(DATA)?, sha)));
            trained.into_iter().any(|(name, sha)| !is_test(name) && sha == sha256)
        })
    }

    /// Whether the rows of a part are in a file of their own that has the bytes of a training file.
    pub fn is_training_file(&self, part: &str) -> bool {
        let files = self.0.iter().filter_map(|(name, sha)| Some((name.strip_prefix(DATA)?, sha)));
        is_training_file(&files.collect::<Vec<_>>(), part)
    }

    /// Whether a table or arrays have test rows in a file of their own.
    pub fn has_test_file(&self) -> bool {
        self.data().iter().any(|(name, _)| name.starts_with("sha256_test_"))
    }

    /// What was classified, as messages call it: an image of a folder of IDX files, or a row.
    pub fn noun(&self) -> &'static str {
        if self.is_of_table() { "row" } else { "image" }
    }

    /// Whether the data are a table or arrays.
    pub fn is_of_table(&self) -> bool {
        self.get(OPTIONS).is_some()
    }

    /// Refuses to resume what was trained on other data than this process has.
    ///
    /// # Errors
    /// Where the data differ; `folder` is named.
    pub fn refuse_other_data(&self, now: &Self, folder: impl AsRef<Path>) -> Result<()> {
        if self.same_data(now) {
            return Ok(());
        }
        Err(match self.other_options(now) {
            None => other_data(folder),
            Some(difference) => Error::input(Place::file(folder), difference)
                .hint("give the same option, start over with --fresh, or use another --out"),
        })
    }

    /// The options of reading by which this and other data differ, if nothing else differs.
    pub fn other_options(&self, other: &Self) -> Option<String> {
        let files = |of: &Self| -> Vec<(String, String)> {
            of.data().into_iter().filter(|(name, _)| name != OPTIONS).cloned().collect()
        };
        if files(self) != files(other) {
            return None;
        }
        let options = |of: &Self| -> Option<Map<String, Value>> {
            serde_json::from_str(of.get(OPTIONS)?).ok()
        };
        let (found, expected) = (options(self)?, options(other)?);
        let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
        let differ = names.into_iter().filter(|&name| found.get(name) != expected.get(name));
        let flags = differ.map(|name| {
            let [found, expected] = [&found, &expected].map(|of| flag(name, of.get(name)));
            format!("found {found}, expected {expected}")
        });
        let flags = flags.collect::<Vec<_>>().join(", ");
        Some(format!("was trained on the same data read with other options: {flags}"))
    }

    /// A short hash that is equal for equal data alone.
    pub fn data_hash(&self) -> String {
        let mut sum = Sha256::new();
        self.data().iter().for_each(|(name, value)| sum.update(format!("{name} {value}\n")));
        hexadecimal(&sum.finalize()[..8])
    }

    fn data(&self) -> BTreeSet<&(String, String)> {
        let is_data = |name: &str| name.starts_with(DATA) || name == OPTIONS;
        self.0.iter().filter(|(name, _)| is_data(name)).collect()
    }

    /// That of a run that was started with this one and resumed `now`: what differs is named in its
    /// order, `Haswell then SkylakeX`.
    #[must_use]
    pub fn resumed_by(&self, now: &Self) -> Self {
        let join = |(name, value): &(String, String)| {
            let value = match self.get(name) {
                Some(before) if before.rsplit(THEN).next() != Some(value) => {
                    format!("{before}{THEN}{value}")
                }
                Some(before) => before.to_string(),
                None => value.clone(),
            };
            (name.clone(), value)
        };
        now.0.iter().map(join).collect()
    }
}

/// What a result was trained by or with, if that matters to it.
type Kind<'a> = &'a dyn Fn(&Provenance) -> Option<String>;

/// Sentences about results of which some were trained by another version or commit of rookie or with
/// other kernels of OpenBLAS than the rest, or than this process will train next to them: `now`.
pub fn mixed<'a>(
    results: impl Iterator<Item = &'a Provenance>,
    now: Option<&Provenance>,
) -> Vec<String> {
    let results: Vec<_> = results.collect();
    let value = |of: &Provenance, name: &str| of.get(name).unwrap_or("unknown").to_string();
    // `OpenBLAS 0.3.21`, of all that it says of itself.
    let library =
        |of: &Provenance| value(of, OPENBLAS).split(' ').take(2).collect::<Vec<_>>().join(" ");
    let all = || results.iter().copied().chain(now);
    let one_library = all().map(library).collect::<BTreeSet<_>>().len() <= 1;
    let one_version = all().map(|of| of.get(ROOKIE)).collect::<BTreeSet<_>>().len() <= 1;
    let version = |of: &Provenance| Some(value(of, ROOKIE));
    let commit = |of: &Provenance| Some(value(of, COMMITTED));
    let kernels = |of: &Provenance| {
        let kernels = value(of, KERNELS);
        Some(if one_library { kernels } else { format!("{} {kernels}", library(of)) })
    };
    let instructions = |of: &Provenance| of.get(BF16).map(String::from);
    let program: (Kind<'_>, _, _, _) = if one_version {
        (&commit, "by", "commits of rookie", "so results may differ")
    } else {
        (&version, "by", "versions of rookie", "so initial weights may differ")
    };
    let kernels = (&kernels as _, "with", "kernels", "so results may differ in the last digits");
    let of_bf16 = (&instructions as _, "with", "instructions for bf16", "so results differ");
    let fewest = if now.is_some() { 1 } else { 2 };
    let mut sentences = Vec::new();
    for (kind, by, what, so) in [program, kernels, of_bf16] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for of in results.iter().filter_map(|of| kind(of)) {
            *counts.entry(of).or_default() += 1;
        }
        let mut sentence = format!("the runs were trained {by} different {what}");
        if let Some(now) = now.and_then(kind) {
            counts.remove(&now);
            sentence = format!("earlier results here were trained {by} other {what} than {now}");
        }
        if counts.len() < fewest {
            continue;
        }
        let each = |(kind, count): (&String, &usize)| format!("{count} {by} {kind}");
        let listed = counts.iter().map(each).collect::<Vec<_>>().join(", ");
        sentence += &format!(" ({listed}), {so}");
        if let [only] = &counts.keys().collect::<Vec<_>>()[..]
            && what == "kernels"
            && one_library
            && !only.contains(THEN)
        {
            sentence += &format!("; --kernels {} trains with the same", only.to_ascii_lowercase());
        }
        sentences.push(sentence);
    }
    sentences
}

/// An option of reading as a flag, or that it is not given.
fn flag(name: &str, value: Option<&Value>) -> String {
    let name = name.replace('_', "-");
    let text = match value {
        None if name == "stratify" => return "no --no-stratify".into(),
        None => return format!("no --{name}"),
        Some(Value::Bool(_)) => return format!("--no-{name}"),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Some(value) => value.to_string(),
    };
    format!("--{name} {text}")
}

/// The error where something in a results folder was trained on other data than are at hand.
pub fn other_data(place: impl AsRef<Path>) -> Error {
    Error::input(Place::file(place), "was trained on other data")
        .hint("name the same data with --data, start over with --fresh, or use another --out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(&str, &str)]) -> Provenance {
        lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn what_a_run_was_gone_on_with_is_told_in_its_order_and_once() {
        let core = |core: &str| lines(&[("core", core)]);
        let twice = core("Zen").resumed_by(&core("Haswell")).resumed_by(&core("Haswell"));
        assert_eq!(twice, core("Zen then Haswell"));
        assert_eq!(core("Zen").resumed_by(&core("Zen")), core("Zen"));
        assert_eq!(Provenance::default().resumed_by(&core("Zen")), core("Zen"));
    }

    #[test]
    fn results_of_other_versions_commits_and_kernels_are_counted() {
        let made = |version: &str, library: &str, core: &str| {
            lines(&[(ROOKIE, version), (OPENBLAS, library), (KERNELS, core)])
        };
        let old = made("0.1.0", "OpenBLAS 0.3.21 DYNAMIC_ARCH", "Zen");
        let both = made("0.1.0 then 0.2.0", "OpenBLAS 0.3.21 DYNAMIC_ARCH", "Zen");
        let new = made("0.2.0", "OpenBLAS 0.3.21 OPENMP", "Zen");
        let wide = made("0.2.0", "OpenBLAS 0.3.21", "SkylakeX");
        let newer = made("0.2.0", "OpenBLAS 0.3.29", "Zen");
        let of =
            |results: &[&Provenance], now: Option<&Provenance>| mixed(results.iter().copied(), now);
        assert_eq!(of(&[], Some(&new)), [""; 0]);
        assert_eq!(of(&[&new, &new], Some(&new)), [""; 0]);
        assert_eq!(of(&[&new, &new], None), [""; 0]);
        assert_eq!(
            of(&[&old, &old, &new, &both], Some(&new)),
            [
                "earlier results here were trained by other versions of rookie than 0.2.0 (2 by 0.1.0, 1 \
              by 0.1.0 then 0.2.0), so initial weights may differ"
            ]
        );
        assert_eq!(
            of(&[&old, &new], None),
            ["the runs were trained by different versions of rookie (1 by 0.1.0, 1 by 0.2.0), so \
              initial weights may differ"]
        );
        assert_eq!(
            of(&[&wide, &new], None),
            [
                "the runs were trained with different kernels (1 with SkylakeX, 1 with Zen), so results \
              may differ in the last digits"
            ]
        );
        assert_eq!(
            of(&[&wide], Some(&newer)),
            [
                "earlier results here were trained with other kernels than OpenBLAS 0.3.29 Zen (1 with \
              OpenBLAS 0.3.21 SkylakeX), so results may differ in the last digits"
            ]
        );
        let with = |name: &str| -> Provenance {
            new.lines().iter().cloned().chain(lines(&[(BF16, name)]).0).collect()
        };
        let (amx, vectors) = (with("amx"), with("avx512_bf16"));
        assert_eq!(of(&[&amx, &new, &amx], Some(&amx)), [""; 0]);
        assert_eq!(of(&[&amx, &new], None), [""; 0]);
        assert_eq!(
            of(&[&amx, &new, &amx], Some(&vectors)),
            [
                "earlier results here were trained with other instructions for bf16 than avx512_bf16 (2 \
              with amx), so results differ"
            ]
        );
        assert_eq!(
            of(&[&amx, &vectors], None),
            ["the runs were trained with different instructions for bf16 (1 with amx, 1 with \
              avx512_bf16), so results differ"]
        );
        let [a, b] = ["a", "b"].map(|commit| lines(&[(ROOKIE, "0.2.0"), (COMMITTED, commit)]));
        assert_eq!(
            of(&[&a, &b, &b], None),
            ["the runs were trained by different commits of rookie (1 by a, 2 by b), so \
              results may differ"]
        );
        let found = of(&[&wide], Some(&new));
        assert!(found[0].ends_with("digits; --kernels skylakex trains with the same"), "{found:?}");
    }
}
