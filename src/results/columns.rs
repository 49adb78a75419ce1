//! The columns that say which run a row is.

use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};
use crate::train::outcome::Record;
use crate::train::value::Value;

/// The keys that every ranking shows, in Table 2's order; `hidden` as a column for each layer.
const BASE: [&str; 4] = ["learning_rate", "weight_decay", "hidden", "lr_decay"];

/// What else sets runs apart: a refit may have the values of its folds' runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Whether it was trained on the rows of all folds (`--refit`).
    Refit,
    /// Whether it began with a model's weights (`--init`).
    Init,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Refit => "refit",
            Self::Init => "init",
        }
    }

    fn is_of(self, record: &Record) -> bool {
        match self {
            Self::Refit => record.values.validation_set().is_none(),
            Self::Init => record.provenance.init().is_some(),
        }
    }
}

/// The columns that say which run a row is.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    hidden_layers: usize,
    further: Vec<&'static Key>,
    kinds: Vec<Kind>,
    pub(super) with_run: bool,
}

impl Columns {
    /// For runs of these values, of grids that vary these keys.
    pub fn new<'a>(
        values: impl Iterator<Item = &'a Hyperparams> + Clone,
        varying: &[&'static Key],
    ) -> Self {
        let hidden_layers = values.clone().map(|values| values.hidden.len()).max().unwrap_or(0);
        let differs = |key: &Key| {
            let mut all = values.clone().map(|values| key.get(values));
            all.next().is_some_and(|first| all.any(|other| other != first))
        };
        let further = KEYS
            .iter()
            .filter(|key| !BASE.contains(&key.name) && (varying.contains(key) || differs(key)));
        Self { hidden_layers, further: further.collect(), kinds: Vec::new(), with_run: false }
    }

    /// With the columns `refit` and `init`, each if it sets some of these runs apart from others.
    #[must_use]
    pub fn with_kinds<'a>(mut self, runs: impl Iterator<Item = &'a Record> + Clone) -> Self {
        let differs = |kind: &Kind| {
            let is = |wanted| runs.clone().any(|run| kind.is_of(run) == wanted);
            is(true) && is(false)
        };
        self.kinds = [Kind::Refit, Kind::Init].into_iter().filter(differs).collect();
        self
    }

    /// With a last column in tables that names the run, for runs of several folders.
    #[must_use]
    pub fn with_run(mut self) -> Self {
        self.with_run = true;
        self
    }

    /// The names of the columns.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for name in BASE {
            match name {
                "hidden" => names.extend((1..=self.hidden_layers).map(|n| format!("hidden_{n}"))),
                name => names.push(name.to_string()),
            }
        }
        names.extend(self.further.iter().map(|key| key.name.to_string()));
        names.extend(self.kinds.iter().map(|kind| kind.name().to_string()));
        names
    }

    /// What the columns hold for a run.
    pub fn cells_of(&self, run: &Record) -> Vec<String> {
        self.with_cells_of_kinds(self.cells(&run.values), run)
    }

    /// What they hold for all runs that differ from this one in their folds alone.
    pub fn cells_of_all_folds(&self, run: &Record) -> Vec<String> {
        self.with_cells_of_kinds(self.cells(&run.values.of_all_folds()), run)
    }

    fn with_cells_of_kinds(&self, mut cells: Vec<String>, run: &Record) -> Vec<String> {
        cells.extend(self.kinds.iter().map(|kind| kind.is_of(run).to_string()));
        cells
    }

    /// What they hold for a run of these values, whatever its kind.
    pub fn cells(&self, values: &Hyperparams) -> Vec<String> {
        let number = |number| Value::Number(number).to_string();
        let mut cells = vec![number(values.learning_rate), number(values.weight_decay)];
        for layer in 0..self.hidden_layers {
            cells.push(values.hidden.get(layer).map(ToString::to_string).unwrap_or_default());
        }
        cells.push(number(values.lr_decay));
        cells.extend(self.further.iter().map(|key| match key.get(values).to_string() {
            text if key.is_layers() => text.replace(',', "-"),
            text => text,
        }));
        cells
    }

    /// Without the columns of these names.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let further = self.further.iter().copied();
        let further = further.filter(|key| !names.contains(&key.name)).collect();
        Self { further, ..self.clone() }
    }
}

/// A column's name as a person reads it, broken by `gap` where it is long.
pub fn title(name: &str, gap: &str) -> String {
    match name {
        "learning_rate" => format!("Learning{gap}rate"),
        "weight_decay" => "λ".to_string(),
        "lr_decay" => format!("LR{gap}decay"),
        "lr_decay_every" => format!("Decay{gap}every"),
        name => {
            if let Some(layer) = name.strip_prefix("hidden_") {
                return format!("Hidden{gap}layer {layer}");
            }
            let (first, rest) = name.split_at(1);
            first.to_uppercase() + &rest.replace('_', " ")
        }
    }
}
