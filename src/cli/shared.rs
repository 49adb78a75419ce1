//! The arguments that several commands have.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Args, Command as ClapCommand, FromArgMatches, ValueHint};

use crate::error::{self, Place};
use crate::network::cores;
use crate::network::kernels::Request;
use crate::train::hyperparams::Hyperparams;
use crate::train::keys::{KEYS, Key};

fn kernels_help() -> String {
    let names = cores::names().join(", ");
    format!(
        "OpenBLAS kernels to use: {names}. With haswell and the same build of OpenBLAS, results have \
         the same bytes on every processor with AVX2 [default: auto, which means those that \
         $OPENBLAS_CORETYPE names, otherwise OpenBLAS's choice, or wider ones if it does not use this \
         processor's vectors]"
    )
}

/// Where the images are.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder with the four IDX files [default: the first of $ROOKIE_DATA, data/fashion-mnist and
    /// /usr/share/datasets/fashion-mnist]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

/// Which OpenBLAS kernels to use.
#[derive(Debug, Args)]
pub struct KernelArgs {
    #[arg(long = "kernels", help = kernels_help(), hide_possible_values = true, value_name = "NAME", ignore_case = true, value_parser = PossibleValuesParser::new(cores::names()))]
    name: Option<String>,
}

impl KernelArgs {
    /// The requested kernels, if any.
    pub fn request(&self) -> Option<Request> {
        let name = self.name.as_deref()?;
        let place = Place::flag(format!("--kernels {name}"));
        Some(Request::parse(place, name).expect("one of the possible values"))
    }

    /// Restarts this process with the requested kernels, unless it already runs on them.
    ///
    /// # Errors
    /// If the processor or OpenBLAS does not have them.
    pub fn take(&self) -> error::Result<()> {
        self.request().map_or(Ok(()), |request| request.take())
    }
}

/// A flag for each hyper-parameter, from their table. Their values are parsed later, so that a flag and
/// a line of TOML give the same error messages.
#[derive(Debug, Clone)]
pub struct HyperparamFlags {
    /// Key and text of each flag that was given.
    pub given: Vec<(&'static Key, String)>,
}

impl Args for HyperparamFlags {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        let default = Hyperparams::default();
        let of = |key: &'static Key| {
            let help = format!("{} [{}; default: {}]", key.meaning, key.range, key.get(&default));
            let arg = Arg::new(key.name)
                .long(key.name.replace('_', "-"))
                .aliases(["lr", "wd"].into_iter().filter(|short| *short == key.short))
                .value_name("VALUE")
                .allow_negative_numbers(true)
                .help(help)
                .help_heading("Hyper-parameters");
            if key.is_switch() {
                // `--reshuffle` alone means true; `--reshuffle=true,false` tries both.
                return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            arg
        };
        KEYS.iter().fold(command, |command, key| command.arg(of(key)))
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

impl FromArgMatches for HyperparamFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = KEYS.iter().filter_map(|key| {
            let text = matches.get_one::<String>(key.name)?;
            Some((key, text.clone()))
        });
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
