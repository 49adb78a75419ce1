//! `rookie compare`: settings against each other over their seeds, and against published accuracies.

use std::collections::HashMap;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use crate::cli::{CompareArgs, TableFormat};
use crate::commands::common::{Status, folder_name, load, print, terminal_width};
use crate::commands::predictions::predictions;
use crate::error::{Error, Place, Result, counted};
use crate::figures::canvas::Format;
use crate::figures::charts::settings;
use crate::grid::space::spelled;
use crate::grid::store::{
    self, curve_of, is_grid, read_results, read_run, run_folder, write_whole,
};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::report::comparison::{Comparison, Member, Reference};
use crate::report::ranking::{Columns, Entry};
use crate::train::outcome::{Outcome, read_curve};
use crate::train::provenance::same_data;

/// Compares settings.
///
/// # Errors
/// Where a folder holds no results, or the reference or the data are not as they must be.
pub fn run(args: &CompareArgs) -> Result<Status> {
    openblas()?;
    let reference = args.reference.as_deref().map(Reference::read).transpose()?;
    let figure = args.figure.as_deref().map(format_of).transpose()?;
    let entries = entries_of(&args.folders)?;
    let baseline = args.baseline.as_deref().map(single).transpose()?;
    if let Some(baseline) = &baseline
        && !entries.iter().any(|(_, entry)| entry.record.values == baseline.record.values)
    {
        return Err(Error::input(Place::flag("--baseline"), "is none of the runs to compare")
            .hint("name its folder among them too"));
    }
    if let Some(baseline) = &baseline
        && baseline.record.outcome.scores().is_none()
    {
        let status = baseline.record.outcome.status();
        return Err(Error::input(Place::flag("--baseline"), format!("names a run that {status}"))
            .hint("name one that trained to its end"));
    }
    let all = || entries.iter().map(|(_, entry)| &*entry.record.values);
    if let (Some(path), Some(reference)) = (&args.reference, &reference)
        && !reference.knows(all())
    {
        return Err(Error::input(Place::file(path), "has none of the settings to compare")
            .hint("its columns and values are those of the runs, as in their ranking.csv"));
    }
    let columns = Columns::new(all(), &[]);
    let members = members_of(entries, args.data.data.as_deref())?;
    let comparison = Comparison::new(members, &columns, baseline.as_ref(), reference);
    if let (Some(path), Some(format)) = (&args.figure, figure) {
        write_whole(path, &settings(&comparison, format))?;
        say(&format!("wrote {}", path.display()));
    }
    match args.format {
        TableFormat::Table => print(&comparison.describe(terminal_width()))?,
        TableFormat::Csv => stdout().write_all(&comparison.csv())?,
        TableFormat::Markdown => print(comparison.markdown().trim_end())?,
    }
    Ok(Status::Done)
}

/// The format of a figure, by the end of its file's name.
fn format_of(path: &Path) -> Result<Format> {
    let end = path.extension().unwrap_or_default();
    let format = [Format::Png, Format::Svg].into_iter().find(|format| end == format.extension());
    format.ok_or_else(|| {
        let found = format!("`{}`", path.display());
        Error::unexpected(Place::flag("--figure"), found, "a name that ends in .png or .svg")
    })
}

/// The runs that have ended in results folders and in folders of single runs, each with its folder.
fn entries_of(folders: &[PathBuf]) -> Result<Vec<(PathBuf, Entry)>> {
    let mut entries: Vec<(PathBuf, Entry)> = Vec::new();
    for (at, folder) in folders.iter().enumerate() {
        if folders[..at].contains(folder) {
            return Err(Error::input(Place::file(folder), "is given twice"));
        }
        if is_grid(folder) {
            let store::Results { runs, ended, .. } = read_results(folder)?;
            if ended.len() < runs.len() {
                let left = counted(runs.len() - ended.len(), "run");
                say(&format!("{}: {left} of {} not finished", folder.display(), runs.len()));
            }
            entries.extend(ended.into_iter().map(|(place, record)| {
                let run = runs[place].name.clone();
                (run_folder(folder, &run), Entry { run, record })
            }));
        } else {
            entries.push((folder.clone(), single(folder)?));
        }
    }
    let first = entries.first().map(|(folder, entry)| (folder.clone(), entry.record.clone()));
    let mut seen: HashMap<String, &Path> = HashMap::new();
    for (folder, entry) in &entries {
        if let Some(twin) = seen.insert(spelled(&entry.record.values), folder) {
            let problem = format!("is the same run as {}", twin.display());
            return Err(Error::input(Place::file(folder), problem).hint("name one of them"));
        }
        if let Some((first, of_first)) = &first
            && !same_data(&of_first.provenance, &entry.record.provenance)
        {
            let problem = format!("was trained on other data than {}", first.display());
            return Err(Error::input(Place::file(folder), problem).hint("compare them apart"));
        }
    }
    if entries.is_empty() {
        return Err(Error::input(Place::file(&folders[0]), "no run has ended yet"));
    }
    Ok(entries)
}

/// The run of a folder.
fn single(folder: &Path) -> Result<Entry> {
    let Some(record) = read_run(folder)? else {
        let found = match (folder.is_dir(), folder.exists()) {
            (true, _) if is_grid(folder) => "a results folder",
            (true, _) => "a folder without grid.toml or run.toml",
            (false, true) => "a file",
            (false, false) => "no such folder",
        };
        let expected = if is_grid(folder) {
            "the folder of one of its runs"
        } else {
            "a results folder, or the folder of a run that has ended"
        };
        return Err(Error::unexpected(Place::file(folder), found, expected));
    };
    Ok(Entry { run: folder_name(folder), record })
}

/// The runs, and whether each one's model recognises every test image. Without predictions, model or
/// data, a run takes part without that, which is told.
fn members_of(entries: Vec<(PathBuf, Entry)>, data: Option<&Path>) -> Result<Vec<Member>> {
    let dataset = match load(data) {
        Err(error) if data.is_some() => return Err(error),
        Err(error) => {
            say(&format!("without differences image by image: {error}"));
            None
        }
        Ok(dataset) => Some(dataset),
    };
    let mut missing = 0;
    let mut members = Vec::new();
    for (folder, entry) in entries {
        let predictions = match &dataset {
            Some(dataset) => predictions(&folder, &entry.record, dataset, &mut |text| say(text))?,
            None => None,
        };
        let is_done = entry.record.outcome.scores().is_some();
        missing += usize::from(dataset.is_some() && is_done && predictions.is_none());
        let labels = dataset.iter().flat_map(|dataset| &dataset.test.labels);
        let hits = predictions
            .map(|predictions| predictions.iter().zip(labels).map(|(a, b)| a == b).collect());
        // The curve of a failed run has no epoch.
        let failed = matches!(entry.record.outcome, Outcome::Failed { .. });
        let curve = curve_of(&folder);
        let has_curve = !failed && curve.exists();
        let curve = if has_curve { read_curve(&curve)? } else { Vec::new() };
        let mut validations = curve.iter().filter_map(|row| row.validation);
        let last_validation = validations.next_back().map(|score| score.accuracy);
        members.push(Member { entry, hits, last_validation });
    }
    if missing > 0 {
        say(&format!(
            "{} without test_predictions.csv.gz or model.safetensors: no difference image by image \
             for {} settings",
            counted(missing, "run"),
            if missing == 1 { "its" } else { "their" }
        ));
    }
    Ok(members)
}
