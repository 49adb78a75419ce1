//! `rookie audit`: what stopping runs early would have cost and chosen.

use std::collections::HashMap;
use std::io::Write;

use crate::cli::reading::{AuditArgs, TableFormat};
use crate::commands::common::{
    Status, left_out, new_figure, print, say_left_out, terminal_width, unless_closed, write_out,
};
use crate::error::{Error, Place, Result, counted};
use crate::figures::audit::regret;
use crate::grid::candidates::longest;
use crate::grid::run_folder::curve_of_run;
use crate::grid::space::spelled;
use crate::grid::store::write_output;
use crate::progress::say;
use crate::results::audit::Audit;
use crate::results::audit_text::AuditTable;
use crate::results::audited::{AuditedRun, Rule};
use crate::results::read::{Ended, Results};
use crate::train::cautions::notes_on;
use crate::train::checked::Checked;
use crate::train::halving::Halving;
use crate::train::outcome::{Outcome, Record};

/// Every how many validations without a better one end a run, for the rules that are always shown.
const PATIENCE: [usize; 3] = [5, 10, 20];
/// One candidate in so many goes on, for ASHA.
const REDUCTION: usize = 3;

/// Replays rules on the curves of a grid.
///
/// # Errors
/// Where folders are none of results, no run has ended, or rungs are not as they must be.
pub fn run(args: &AuditArgs) -> Result<Status> {
    let figure = args.figure.as_deref().map(new_figure).transpose()?;
    let results = Results::read(&args.folders)?;
    let mut status = say_left_out(&results);
    let is_refit = |values: &Checked| values.validation_set().is_none();
    let refits = results.planned.iter().filter(|values| is_refit(values)).count();
    if refits > 0 {
        say(&format!(
            "left out of the audit, without validation rows: {}",
            counted(refits, "refit")
        ));
    }
    let planned = results.planned.len() - refits;
    let (runs, of_curves) = runs_of(results);
    status = status.max(of_curves);
    if runs.is_empty() {
        return Err(Error::input(Place::file(&args.folders[0]), "no run has finished yet"));
    }
    let audit = Audit::new(&runs);
    let table = AuditTable::new(&audit, rules(args, &runs)?, planned);
    if let (Some(path), Some(format)) = (&args.figure, figure) {
        write_output(path, &regret(&table.points(), format))?;
        say(&format!("wrote {}", path.display()));
    }
    let printed = match args.format {
        TableFormat::Table => print(&table.describe(terminal_width())),
        TableFormat::Csv => {
            for note in notes_on(runs.iter().map(|run| &run.record)) {
                say(&note);
            }
            write_out(|out| out.write_all(&table.csv()))
        }
        TableFormat::Markdown => print(table.markdown().trim_end()),
    };
    unless_closed(printed, status)
}

/// The runs with their curves, in the grid's order. A run whose curve cannot be used is left out, and makes
/// the exit code 1.
fn runs_of(results: Results) -> (Vec<AuditedRun>, Status) {
    let mut status = Status::Done;
    let mut runs = Vec::new();
    let planned = results.planned.iter().map(|values| spelled(values));
    let place_of: HashMap<String, usize> = planned.zip(0..).collect();
    let mut all: Vec<Ended> = results.ended.into_iter().chain(results.stopped).collect();
    all.sort_by_cached_key(|it| place_of[&spelled(&it.record.values)]);
    all.retain(|Ended { record, .. }| {
        !matches!(record.outcome, Outcome::Failed { .. })
            && record.values.validation_set().is_some()
    });
    for Ended { label, folder, record } in all {
        match curve_of_run(&folder, &record) {
            Ok(curve) => {
                let record = Record { run: label, ..record };
                runs.push(AuditedRun { record, curve });
            }
            Err(error) => status = left_out(&error, "its run is left out of the audit"),
        }
    }
    (runs, status)
}

/// The rules to replay: the rungs that were asked for, the default, variations of it, and others' rules.
fn rules(args: &AuditArgs, runs: &[AuditedRun]) -> Result<Vec<Rule>> {
    let (epochs, every) = longest(runs.iter().map(|run| &run.record.values));
    let default = Halving::of(epochs, every);
    let mut halvings = Vec::new();
    if args.halving_rungs.is_some() || args.halving_keep.is_some() {
        let rungs = args.halving_rungs.clone().unwrap_or_else(|| default.rungs().to_vec());
        let asked = Halving::new(rungs, args.halving_keep.unwrap_or(default.keep()));
        halvings.push(asked.map_err(|problem| {
            Error::input(Place::flag("--halving-rungs or --halving-keep"), problem)
        })?);
    }
    let third = epochs.div_ceil(3).div_ceil(every) * every;
    let rungs = default.rungs();
    let variations = [
        (rungs.to_vec(), default.keep()),
        (rungs.iter().copied().take(1).collect(), default.keep()),
        (rungs.iter().copied().skip(1).collect(), default.keep()),
        ([rungs, &[third]].concat(), default.keep()),
        (rungs.to_vec(), 0.5),
    ];
    for (rungs, keep) in variations {
        let fits = rungs.last().is_some_and(|&last| last < epochs);
        if let Some(halving) =
            Halving::new(rungs, keep).ok().filter(|it| fits && !halvings.contains(it))
        {
            halvings.push(halving);
        }
    }
    let mut rules: Vec<Rule> = halvings.into_iter().map(Rule::Halving).collect();
    if let [first, ..] = rungs {
        let workers = args.workers as usize;
        rules.push(Rule::Asha { rungs: rungs.to_vec(), reduction: REDUCTION, workers });
        rules.push(Rule::Median { from: *first, workers });
    }
    rules.extend(PATIENCE.map(Rule::Patience));
    Ok(rules)
}
