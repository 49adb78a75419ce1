//! How a search draws its samples: as points whose coordinates depend on the sample's number, the
//! hyper-parameter and the seed alone, so that more samples begin with the earlier ones.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Place, Result};
use crate::grid::axis::MAX_RUNS;
use crate::train::keys::{KEYS, Key};
use crate::train::toml_file::TomlFile;

/// The longest sequence of the crate `sobol_burley`.
const MAX_SOBOL: usize = 1 << 16;

/// The dimensions of hidden layers begin here, behind those of the keys.
const LAYERS: usize = 128;

/// Where points come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sampler {
    /// A Sobol sequence with Owen scrambling, which fills the space evenly (Burley, "Practical Hash-based
    /// Owen Scrambling", JCGT 9(4), 2020).
    #[default]
    Sobol,
    /// Independent random points.
    Random,
}

/// A search: how many samples it has, and what draws them. A grid without samples is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Search {
    pub(super) samples: Option<usize>,
    seed: u32,
    sampler: Sampler,
    given: Option<(&'static str, Place)>, // what has no effect without samples
    place: Option<Place>,                 // of the number of samples
}

impl Search {
    /// The keys of a grid file that are about the search.
    pub(super) const KEYS: [&str; 3] = ["samples", "search_seed", "sampler"];

    /// Reads what a grid file says.
    ///
    /// # Errors
    /// Where a value is out of range.
    pub(super) fn read(file: &TomlFile, table: &DeTable<'_>) -> Result<Self> {
        let mut search = Self::default();
        for name in Self::KEYS {
            let Some(item) = table.get(name) else { continue };
            let place = file.place(item.span());
            let number = match item.get_ref() {
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
                _ => None,
            };
            match (name, number, item.get_ref().as_str()) {
                ("samples", Some(samples @ 1..), _) if samples <= MAX_RUNS as u64 => {
                    (search.samples, search.place) = (Some(samples as usize), Some(place));
                }
                ("search_seed", Some(seed), _) if u32::try_from(seed).is_ok() => {
                    search.seed = seed as u32;
                    search.given = Some((name, place));
                }
                ("sampler", _, Some("sobol")) => search.given = Some((name, place)),
                ("sampler", _, Some("random")) => {
                    search.sampler = Sampler::Random;
                    search.given = Some((name, place));
                }
                _ => {
                    let expected = match name {
                        "samples" => format!("a whole number from 1 to {MAX_RUNS}"),
                        "search_seed" => format!("a whole number from 0 to {}", u32::MAX),
                        _ => "\"sobol\" or \"random\"".to_string(),
                    };
                    return Err(file.unexpected(item, format!("{name}: {expected}")));
                }
            }
        }
        Ok(search)
    }

    /// Takes what flags say instead of what the file said.
    pub(super) fn set(&mut self, samples: Option<u32>, seed: Option<u32>) {
        if let Some(samples) = samples {
            (self.samples, self.place) = (Some(samples as usize), Some(Place::Option("samples")));
        }
        if let Some(seed) = seed {
            (self.seed, self.given) = (seed, Some(("it", Place::Option("search_seed"))));
        }
    }

    /// Checks that it can draw samples, if it has any, for axes of which some `vary` from sample to
    /// sample.
    ///
    /// # Errors
    /// What it lacks, or has too many of.
    pub(super) fn check(&self, vary: bool) -> Result<()> {
        let place = || self.place.clone().expect("where there are samples");
        match (self.samples, &self.given) {
            (None, Some((name, place))) => {
                let problem = format!("{name} has no effect, because the grid has no samples");
                Err(Error::input(place.clone(), problem)
                    .hint("add `samples = 100` to the grid file, or --samples 100"))
            }
            (Some(samples), _) if self.sampler == Sampler::Sobol && samples > MAX_SOBOL => {
                let expected = format!("at most {MAX_SOBOL} from a Sobol sequence");
                Err(Error::unexpected(place(), format!("{samples} samples"), expected)
                    .hint("add `sampler = \"random\"` to the grid file"))
            }
            (Some(_), _) if !vary => {
                let problem = "the grid has samples, and nothing that varies from sample to sample";
                Err(Error::input(place(), problem)
                    .hint("add a range under [axes], such as learning_rate = { log_uniform = [0.01, 1.0] }"))
            }
            _ => Ok(()),
        }
    }

    /// A coordinate of a sample, counted from 0, in the direction of a key: from 0, below 1. Hidden layers behind the
    /// first have further ones.
    pub(super) fn point(&self, sample: usize, key: &'static Key, layer: usize) -> f64 {
        // By the table, so that the order of a grid file's lines plays no part.
        let place = KEYS.iter().position(|other| other == key).expect("a key of the table");
        let dimension = if layer == 0 { place } else { LAYERS + layer };
        match self.sampler {
            Sampler::Sobol => {
                f64::from(sobol_burley::sample(sample as u32, dimension as u32, self.seed))
            }
            Sampler::Random => {
                let mut rng = ChaCha8Rng::seed_from_u64(u64::from(self.seed));
                rng.set_stream(dimension as u64);
                rng.set_word_pos(2 * sample as u128); // a draw takes two words
                rng.random()
            }
        }
    }

    /// As a grid file has it.
    pub(super) fn to_toml(&self) -> toml::Table {
        let mut table = toml::Table::new();
        if let Some(samples) = self.samples {
            let sampler = if self.sampler == Sampler::Sobol { "sobol" } else { "random" };
            table.insert("samples".into(), (samples as i64).into());
            table.insert("search_seed".into(), i64::from(self.seed).into());
            table.insert("sampler".into(), sampler.into());
        }
        table
    }
}
