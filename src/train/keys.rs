//! The table of hyper-parameters: name, range and meaning, from which flags, TOML keys, checks, columns
//! and help texts come.

use crate::bf16::instructions::Precision;
use crate::data::batches::MAX_BATCH_SIZE;
use crate::data::preprocess::Standardisation;
use crate::data::split::{MAX_FOLDS, PartSize};
use crate::network::mlp::Activation;
use crate::text::nearest;
use crate::train::hyperparams::Hyperparams;
use crate::train::score::OnTie;
use crate::train::value::{Value, joined};

/// The most hidden layers that a network may have.
const MAX_HIDDEN_LAYERS: usize = 16;
/// The most rows that are split off.
const MAX_ROWS: usize = u32::MAX as usize;
/// The most units of a hidden layer.
const MAX_WIDTH: usize = 65_536;

/// What kind of value a key takes, and its range.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A number that `fits` accepts; it must stay in range as float32 too.
    Number {
        fits: fn(f64) -> bool,
    },
    /// A whole number, both ends included.
    Count {
        least: u64,
        most: u64,
    },
    Layers,
    /// One of the names that `known` gives back.
    Choice {
        known: fn(&str) -> Option<&'static str>,
    },
    Switch,
    /// A whole number of rows from 1, a share, or a fold.
    Part,
}

/// A setting of which each value has a name.
trait Named: Copy + 'static {
    const ALL: &'static [Self];
    fn name(self) -> &'static str;

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }

    fn known(name: &str) -> Option<&'static str> {
        Self::named(name).map(Self::name)
    }
}

macro_rules! named {
    ($($type:ty),*) => {$(
        impl Named for $type {
            const ALL: &'static [Self] = &<$type>::ALL;

            fn name(self) -> &'static str {
                <$type>::name(self)
            }
        }
    )*};
}

named!(Activation, Standardisation, Precision, OnTie);

/// One hyper-parameter: everything that flags, files, columns and help need to know of it.
#[derive(Debug)]
pub struct Key {
    /// As in files and columns; as a flag with dashes for underscores.
    pub name: &'static str,
    /// As in the name of a run.
    pub short: &'static str,
    /// What is allowed, for messages.
    pub range: &'static str,
    /// What it is, in a line.
    pub meaning: &'static str,
    /// Whether files of runs from before the key existed do without it; they mean its default.
    pub(super) may_lack: bool,
    /// Whether files do without it where it has its default, as those of versions before the key existed.
    is_left_out: bool,
    kind: Kind,
    get: fn(&Hyperparams) -> Value,
    set: fn(&mut Hyperparams, Value),
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

macro_rules! accessors {
    ($field:ident, $variant:ident) => {
        (
            |values: &Hyperparams| Value::$variant(values.$field.clone()),
            |values: &mut Hyperparams, value: Value| {
                let Value::$variant(value) = value else { unreachable!("of the key's kind") };
                values.$field = value;
            },
        )
    };
    ($field:ident, $variant:ident as usize) => {
        (
            |values: &Hyperparams| Value::$variant(values.$field as u64),
            |values: &mut Hyperparams, value: Value| {
                let Value::$variant(value) = value else { unreachable!("of the key's kind") };
                values.$field = value as usize;
            },
        )
    };
    ($field:ident, Choice as $type:ty) => {
        (
            |values: &Hyperparams| Value::Choice(Named::name(values.$field)),
            |values: &mut Hyperparams, value: Value| {
                let Value::Choice(name) = value else { unreachable!("of the key's kind") };
                values.$field = <$type as Named>::named(name).expect("of the key's names");
            },
        )
    };
}

macro_rules! key {
    ($name:ident, $short:literal, $kind:expr, $range:literal, $meaning:literal, $($how:tt)+) => {{
        const ACCESSORS: (fn(&Hyperparams) -> Value, fn(&mut Hyperparams, Value)) =
            accessors!($name, $($how)+);
        Key {
            name: stringify!($name),
            short: $short,
            range: $range,
            meaning: $meaning,
            may_lack: false,
            is_left_out: false,
            kind: $kind,
            get: ACCESSORS.0,
            set: ACCESSORS.1,
        }
    }};
}

/// All hyper-parameters in the order of files and columns. New ones come last: a place is a search's dimension.
#[rustfmt::skip]
pub static KEYS: [Key; 18] = [
    key!(
        learning_rate, "lr", Kind::Number { fits: |n| n > 0.0 }, "a number above 0, at most 3.4e38 (as float32)",
        "Learning rate η of the first epochs (paper: Learning rate)", Number
    ),
    key!(
        weight_decay, "wd", Kind::Number { fits: |n| n >= 0.0 }, "a number from 0, at most 3.4e38 (as float32)",
        "Weight decay λ in the penalty (λ/2)·ΣW² over weights, as in torch.optim.SGD (paper: Reg λ); \
         learning_rate·weight_decay must be below 1",
        Number
    ),
    key!(
        hidden, "h", Kind::Layers, "up to 16 widths, each a whole number from 1 to 65536, or none ([] in a file)",
        "Width of each hidden layer (paper: Hidden layer 1, Hidden layer 2)", Layers
    ),
    key!(
        lr_decay, "decay", Kind::Number { fits: |n| n > 0.0 && n <= 1.0 },
        "a number above 0, at most 1 (as float32)",
        "Factor of the learning rate at each decay (paper: LR decay)", Number
    ),
    key!(
        lr_decay_every, "every", Kind::Count { least: 1, most: 1_000_000 },
        "a whole number from 1 to 1000000", "Epochs between decays of the learning rate",
        Count as usize
    ),
    key!(
        momentum, "momentum", Kind::Number { fits: |n| (0.0..1.0).contains(&n) },
        "a number from 0, below 1 (as float32)",
        "Momentum μ of the velocity U ← μ·U + gradient; 0 is plain SGD", Number
    ),
    key!(
        batch_size, "batch", Kind::Count { least: 1, most: MAX_BATCH_SIZE as u64 },
        "a whole number from 1 to 65536", "Images in a mini-batch", Count as usize
    ),
    key!(
        epochs, "ep", Kind::Count { least: 1, most: 1_000_000 },
        "a whole number from 1 to 1000000", "Passes over the training images", Count as usize
    ),
    key!(
        eval_every, "eval", Kind::Count { least: 1, most: 1_000_000 },
        "a whole number from 1 to 1000000",
        "Epochs between validations; the last epoch is always validated", Count as usize
    ),
    key!(
        validation_size, "val", Kind::Part,
        "a whole number from 1 to 4294967295, a share such as 0.2, or a fold such as fold2of5",
        "Rows of the training set that are split off for validation", Part
    ),
    key!(
        activation, "act", Kind::Choice { known: Activation::known },
        "relu, leaky_relu, tanh or sigmoid", "Activation function of the hidden layers",
        Choice as Activation
    ),
    key!(
        seed, "seed", Kind::Count { least: 0, most: i64::MAX as u64 },
        "a whole number from 0 to 9223372036854775807", "Seed of the initial weights", Count
    ),
    key!(
        data_seed, "dataseed", Kind::Count { least: 0, most: i64::MAX as u64 },
        "a whole number from 0 to 9223372036854775807", "Seed of the split and the batch order",
        Count
    ),
    Key {
        may_lack: true,
        ..key!(
            standardisation, "by", Kind::Choice { known: Standardisation::known },
            "batch, dataset or feature",
            "How inputs are standardised: each feature within its mini-batch, all features together over \
             the training set, or each feature over the training set",
            Choice as Standardisation
        )
    },
    Key {
        may_lack: true,
        ..key!(
            reshuffle, "reshuffle", Kind::Switch, "true or false",
            "Draw new mini-batches in every epoch", Switch
        )
    },
    Key {
        may_lack: true,
        is_left_out: true,
        ..key!(
            precision, "prec", Kind::Choice { known: Precision::known }, "f32 or bf16",
            "Numbers that training multiplies: float32, or bfloat16 with sums and weights in float32, \
             which needs AMX (Intel) or AVX512 with BF16 (AMD)",
            Choice as Precision
        )
    },
    Key {
        may_lack: true,
        is_left_out: true,
        ..key!(
            patience, "patience", Kind::Count { least: 0, most: 1_000_000 },
            "a whole number from 0 to 1000000",
            "Validations in a row without a better accuracy that end a run; 0 is off", Count as usize
        )
    },
    Key {
        may_lack: true,
        is_left_out: true,
        ..key!(
            on_tie, "tie", Kind::Choice { known: OnTie::known }, "first or last",
            "Which epoch's weights a run keeps where several have the highest validation accuracy",
            Choice as OnTie
        )
    },
];

impl Key {
    /// The key of a name, or the nearest known one as a suggestion.
    ///
    /// # Errors
    /// The suggestion, if there is one, where the name is unknown.
    pub fn named(name: &str) -> Result<&'static Self, Option<&'static str>> {
        KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
            let shortened = KEYS.iter().find(|key| key.short == name).map(|key| key.name);
            shortened.or_else(|| nearest(name, KEYS.iter().map(|key| key.name)))
        })
    }

    /// Its flag, with dashes: `--validation-size`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// The key's value among others.
    pub fn get(&self, values: &Hyperparams) -> Value {
        (self.get)(values)
    }

    /// Sets a value that was checked.
    pub fn set(&self, values: &mut Hyperparams, value: Value) {
        (self.set)(values, value);
    }

    /// The keys that a file of these values names, with the values: all but those that are left out where
    /// they have their default.
    pub fn written(values: &Hyperparams) -> impl Iterator<Item = (&'static Self, Value)> {
        let default = Hyperparams::default();
        let pairs = KEYS.iter().map(|key| (key, key.get(values)));
        pairs.filter(move |(key, value)| !key.is_left_out || *value != key.get(&default))
    }

    /// Whether the value is a list of widths.
    pub fn is_layers(&self) -> bool {
        matches!(self.kind, Kind::Layers)
    }

    /// Whether the value is a whole number, if it is a number.
    pub fn is_whole(&self) -> Option<bool> {
        match self.kind {
            Kind::Count { .. } => Some(true),
            Kind::Number { .. } => Some(false),
            Kind::Layers | Kind::Choice { .. } | Kind::Switch | Kind::Part => None,
        }
    }

    /// Whether the value is yes or no.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch)
    }

    /// Reads a value from text, as on the command line: `0.1`, `512`, `300,200`, `none`, `tanh`.
    ///
    /// # Errors
    /// The range, where the text is not within it.
    pub fn parse(&self, text: &str) -> Result<Value, &'static str> {
        let text = text.trim();
        let value = match self.kind {
            Kind::Number { .. } => text.parse().ok().map(Value::Number),
            Kind::Count { .. } => text.parse().ok().map(Value::Count),
            Kind::Choice { known } => known(text).map(Value::Choice),
            Kind::Switch => text.parse().ok().map(Value::Switch),
            Kind::Part => PartSize::parse(text).map(Value::Part),
            Kind::Layers if text == "none" => Some(Value::Layers(Vec::new())),
            Kind::Layers => {
                let widths = text.split(',').map(|width| width.trim().parse());
                widths.collect::<Result<_, _>>().ok().map(Value::Layers)
            }
        };
        value.filter(|value| self.allows(value)).ok_or(self.range)
    }

    /// Whether a value is of the key's kind and within its range.
    pub fn allows(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (Kind::Number { fits }, Value::Number(number)) => {
                fits(*number) && fits(f64::from(*number as f32)) && (*number as f32).is_finite()
            }
            (Kind::Count { least, most }, Value::Count(count)) => (least..=most).contains(count),
            (Kind::Layers, Value::Layers(widths)) => {
                widths.len() <= MAX_HIDDEN_LAYERS
                    && widths.iter().all(|width| (1..=MAX_WIDTH).contains(width))
            }
            (Kind::Choice { known }, Value::Choice(name)) => known(name).is_some(),
            (Kind::Part, Value::Part(PartSize::Rows(rows))) => (1..=MAX_ROWS).contains(rows),
            (Kind::Part, Value::Part(PartSize::Fold { fold, folds })) => {
                (2..=MAX_FOLDS).contains(folds) && fold <= folds
            }
            (Kind::Switch, Value::Switch(_)) | (Kind::Part, Value::Part(_)) => true,
            _ => false,
        }
    }

    /// A value as it stands in the name of a run: `0.001`, `500-324`.
    pub fn in_name(&self, value: &Value) -> String {
        match value {
            Value::Layers(widths) if widths.is_empty() => format!("{}0", self.short),
            Value::Layers(widths) => format!("{}{}", self.short, joined(widths, "-")),
            Value::Switch(true) => self.short.to_string(),
            Value::Switch(false) => format!("no-{}", self.short),
            Value::Part(fold @ PartSize::Fold { .. }) => fold.to_string(),
            value => format!("{}{value}", self.short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed_and_every_key_reads_and_writes_its_own_field() {
        assert!(Hyperparams::default().check().is_ok());
        for key in &KEYS {
            let other = key.get(&Hyperparams::default()).other();
            let mut values = Hyperparams::default();
            key.set(&mut values, other.clone());
            for each in &KEYS {
                let expected =
                    if each == key { &other } else { &each.get(&Hyperparams::default()) };
                assert_eq!(&each.get(&values), expected, "{} after {}", each.name, key.name);
            }
        }
    }

    #[test]
    fn values_out_of_range_are_refused_and_the_ends_of_ranges_taken() {
        let parse = |name, text| Key::named(name).unwrap().parse(text);
        for (name, bad) in [
            ("learning_rate", "-0.1"),
            ("learning_rate", "0"),
            ("learning_rate", "nan"),
            ("learning_rate", "inf"),
            ("learning_rate", "1e-60"),
            ("learning_rate", "1e39"),
            ("weight_decay", "-1e-9"),
            ("lr_decay", "0"),
            ("lr_decay", "1.01"),
            ("momentum", "1"),
            ("momentum", "0.999999999999"),
            ("epochs", "0"),
            ("epochs", "1.5"),
            ("epochs", "-1"),
            ("epochs", "99999999999999999999999"),
            ("batch_size", "0"),
            ("hidden", "0"),
            ("hidden", "5,,5"),
            ("hidden", ""),
            ("hidden", "65537"),
            ("activation", "gelu"),
            ("seed", "9223372036854775808"),
            ("lr_decay_every", "0"),
            ("standardisation", "relu"),
            ("reshuffle", "1"),
            ("validation_size", "0"),
            ("validation_size", "4294967296"),
            ("validation_size", "fold0of5"),
            ("validation_size", "fold6of5"),
            ("validation_size", "fold1of1"),
            ("precision", "f16"),
            ("on_tie", "loss"),
        ] {
            assert!(parse(name, bad).is_err(), "{name} took {bad}");
        }
        for (name, good) in [
            ("weight_decay", "0"),
            ("lr_decay", "1"),
            ("momentum", "0"),
            ("epochs", "1"),
            ("hidden", "none"),
            ("hidden", "65536, 1"),
            ("activation", "leaky_relu"),
            ("seed", "9223372036854775807"),
            ("learning_rate", "1e-3"),
            ("standardisation", "dataset"),
            ("reshuffle", " true"),
            ("validation_size", "0.2"),
            ("validation_size", "4294967295"),
            ("validation_size", "fold5of5"),
            ("precision", "bf16"),
            ("on_tie", "last"),
        ] {
            assert!(parse(name, good).is_ok(), "{name} refused {good}");
        }
    }

    #[test]
    fn a_mistyped_key_gets_the_nearest_one() {
        assert_eq!(Key::named("learning_rte"), Err(Some("learning_rate")));
        assert_eq!(Key::named("lr_decay_evry"), Err(Some("lr_decay_every")));
        assert_eq!(Key::named("epoch"), Err(Some("epochs")));
        assert_eq!(Key::named("dataseed"), Err(Some("data_seed")));
        assert_eq!(Key::named("name"), Err(None));
        assert_eq!(Key::named("lr"), Err(Some("learning_rate")));
    }
}
