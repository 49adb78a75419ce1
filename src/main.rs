//! The table of contents: a command line in, an exit code out.

use std::env;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rookie::cli::command::{Cli, Command};
use rookie::commands::common::{Status, write_out};
use rookie::commands::{
    audit, bench, compare, ensemble, evaluate, export, grid, plot, predict, rank, report, split,
    train,
};
use rookie::error::{Error, MORE_MEMORY, Result, lack_of_memory};
use rookie::network::kernels;
use rookie::progress::say;
use rookie::signals;
use rookie::text::printable;

fn main() -> ExitCode {
    // Before anything else: it may start the program again.
    kernels::choose();
    signals::ignore_size_limits();
    let arguments = match Cli::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // The same error, of arguments as they may be shown.
            let shown = env::args_os().map(|it| printable(&it.to_string_lossy()).into_owned());
            Cli::try_parse_from(shown).err().unwrap_or(error).exit()
        }
    };
    match within_memory(|| run(&arguments.command)) {
        Ok(status) => ExitCode::from(status.exit_code()),
        // Whoever read the output has seen enough, as in `rookie split | head`. A command that does
        // more than print does that first, and returns how it came out.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let error = error.with_flags();
            say(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs a command; memory that is not there is an error like others.
fn within_memory(run: impl FnOnce() -> Result<Status>) -> Result<Status> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if lack_of_memory(panic.payload()).is_none() {
            hook(panic);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        match lack_of_memory(&*panic) {
            Some(reason) => Err(Error::Machine(format!("{reason}; {MORE_MEMORY}"))),
            None => panic::resume_unwind(panic),
        }
    })
}

fn run(command: &Command) -> Result<Status> {
    match command {
        Command::Grid(args) => grid::run(args),
        Command::Train(args) => train::run(args),
        Command::Rank(args) => rank::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Ensemble(args) => ensemble::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Export(args) => export::run(args),
        Command::Split(args) => split::run(args),
        Command::Plot(args) => plot::run(args),
        Command::Report(args) => report::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "rookie", &mut script);
            write_out(|out| out.write_all(&script))?;
            Ok(Status::Done)
        }
    }
}
