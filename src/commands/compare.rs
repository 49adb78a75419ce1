//! `rookie compare`: configurations across their seeds, and published accuracies.

use std::io::Write;

use crate::cli::reading::{CompareArgs, TableFormat};
use crate::cli::shared::DataArgs;
use crate::commands::common::{
    Status, left_out, new_figure, print, say_left_out, terminal_width, unless_closed, write_out,
};
use crate::commands::data::load;
use crate::commands::predictions::{has_answers, predictions, refuse_other_data, tested};
use crate::data::dataset::Dataset;
use crate::data::split::PartSize;
use crate::error::{Error, Place, Result, counted};
use crate::figures::intervals::configurations;
use crate::grid::run_folder::{curve_of, curve_of_run};
use crate::grid::store::write_output;
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::columns::Columns;
use crate::results::comparison::Comparison;
use crate::results::configuration::Member;
use crate::results::read::{Ended, Results, read_single};
use crate::results::reference::Reference;
use crate::train::outcome::{Outcome, Record};

/// Compares configurations.
///
/// # Errors
/// Where a folder holds no results, or the reference or the data are not as they must be.
pub fn run(args: &CompareArgs) -> Result<Status> {
    openblas()?;
    let reference = args.reference.as_deref().map(Reference::read).transpose()?;
    let figure = args.figure.as_deref().map(new_figure).transpose()?;
    let mut results = Results::read(&args.folders)?;
    let status = say_left_out(&results);
    if results.ended.is_empty() {
        return Err(Error::input(Place::file(&args.folders[0]), "no run has finished yet"));
    }
    let ended = std::mem::take(&mut results.ended);
    let baseline = args.baseline.as_deref().map(read_single).transpose()?;
    if let Some(baseline) = &baseline
        && !ended.iter().any(|it| it.record.values == baseline.values)
    {
        return Err(Error::input(Place::flag("--baseline"), "is not one of the runs to compare")
            .hint("name its folder among them too"));
    }
    if let Some(baseline) = &baseline
        && baseline.scores().is_none()
    {
        let status = baseline.outcome.status();
        return Err(Error::input(Place::flag("--baseline"), format!("names a run that {status}"))
            .hint("name one that trained to its end"));
    }
    let all = || ended.iter().map(|it| &*it.record.values);
    if let (Some(path), Some(reference)) = (&args.reference, &reference) {
        let (unmatched, has_others) = reference.unmatched(all());
        if !has_others {
            let problem = "has none of the configurations to compare";
            return Err(Error::input(Place::file(path), problem)
                .hint("its columns and values are those of the runs, as in their ranking.csv"));
        }
        if !unmatched.is_empty() {
            let lines = listed(&unmatched);
            say(&format!("{}: no run has the values of {lines}", path.display()));
        }
    }
    for it in &ended {
        it.record.scores().map_or(Ok(()), |scores| tested(&it.folder, scores).map(drop))?;
    }
    let columns = Columns::new(all(), &[]);
    let (members, of_files) = members_of(ended, &args.data)?;
    let comparison = Comparison::new(members, &columns, baseline.as_ref(), reference);
    if let (Some(path), Some(format)) = (&args.figure, figure) {
        write_output(path, &configurations(&comparison, format))?;
        say(&format!("wrote {}", path.display()));
    }
    let printed = match args.format {
        TableFormat::Table => print(&comparison.describe(terminal_width())),
        TableFormat::Csv => {
            comparison.notes_on_runs.iter().for_each(|note| say(note));
            write_out(|out| out.write_all(&comparison.csv()))
        }
        TableFormat::Markdown => print(comparison.markdown().trim_end()),
    };
    unless_closed(printed, status.max(of_files))
}

/// Lines of a file, the first ten by their numbers.
fn listed(lines: &[usize]) -> String {
    let numbers = lines.iter().take(10).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match lines.len() {
        1 => format!("line {numbers}"),
        2..=10 => format!("lines {numbers}"),
        more => format!("lines {numbers} and {} more", more - 10),
    }
}

/// How many validation rows a run has, if that is known: of a share of the rows only with the data.
fn validation_rows(record: &Record, dataset: Option<&Dataset>) -> Option<usize> {
    let size = record.values.validation_size;
    match dataset {
        Some(dataset) => dataset.shape().validation_rows(size).ok(),
        None => match size {
            PartSize::Rows(rows) => Some(rows),
            PartSize::Share(_) | PartSize::Fold { .. } => None,
        },
    }
}

/// The runs with what comes from their predictions, models and curves. What is damaged or does not
/// belong is left out, and makes the exit code 1; a run takes part without what it lacks.
fn members_of(ended: Vec<Ended>, data: &DataArgs) -> Result<(Vec<Member>, Status)> {
    let recorded = ended.first().map(|it| &it.record.provenance);
    let dataset = match load(data, recorded) {
        Err(error) if data.data.is_some() => return Err(error),
        Err(error) => {
            let error = error.with_flags();
            say(&format!("verdicts are about this test set only: {error}"));
            None
        }
        Ok(dataset) => Some(dataset),
    };
    // All runs are of the same data.
    let asked = ended.iter().find(|it| has_answers(&it.folder, &it.record));
    if let (Some(dataset), Some(run)) = (&dataset, asked) {
        refuse_other_data(&run.folder, &run.record, dataset)?;
    }
    let (mut missing, mut status, mut of_warnings) = (0, Status::Done, Status::Done);
    let mut members = Vec::new();
    for Ended { folder, record, .. } in ended {
        let mut left_out = |what: &str, error: Error| {
            status = left_out(&error, &format!("its run counts, but {what}"));
        };
        let mut warn = |text: &str, of| {
            say(text);
            of_warnings = of_warnings.max(of);
        };
        let answers = |dataset| predictions(&folder, &record, dataset, &mut warn);
        let answers = dataset.as_ref().map_or(Ok(None), answers);
        let by_image = "by its accuracy alone, not image by image";
        let predictions = answers.map_err(|error| left_out(by_image, error)).ok().flatten();
        missing +=
            usize::from(dataset.is_some() && record.scores().is_some() && predictions.is_none());
        let labels = dataset.iter().flat_map(|dataset| &dataset.test.labels);
        let hits = predictions
            .map(|predictions| predictions.iter().zip(labels).map(|(a, b)| a == b).collect());
        let curve = match &record.outcome {
            Outcome::Done(_) => {
                let collapse = "whether it collapsed is not known";
                curve_of_run(&folder, &record).map_err(|error| left_out(collapse, error)).ok()
            }
            Outcome::Diverged { .. } if curve_of(&folder).exists() => {
                let divergence = "whether it diverged is not known";
                curve_of_run(&folder, &record).map_err(|error| left_out(divergence, error)).ok()
            }
            Outcome::Diverged { .. } | Outcome::Failed { .. } | Outcome::Stopped(_) => None,
        };
        let curve = curve.unwrap_or_default();
        let mut validations = curve.iter().filter_map(|row| row.validation);
        let last_validation = validations.next_back().map(|score| score.accuracy);
        let validation_rows = validation_rows(&record, dataset.as_ref());
        members.push(Member { record, hits, last_validation, validation_rows });
    }
    if missing > 0 {
        say(&format!(
            "{} without test_predictions.csv.gz or model.safetensors: verdicts about {} configuration{} \
             are about this test set only",
            counted(missing, "run"),
            if missing == 1 { "its" } else { "their" },
            if missing == 1 { "" } else { "s" },
        ));
    }
    Ok((members, status.max(of_warnings)))
}
