//! `rookie ensemble`: the average of the best runs' models.

use std::path::{Component, Path, PathBuf};

use crate::bf16::instructions::Precision;
use crate::cli::reading::EnsembleArgs;
use crate::commands::averaging::{
    By, LabelledRows, averaged, each, has_moments, measure_moments, on_all_cores,
};
use crate::commands::common::{
    Status, out_of, parent_of, print, say_left_out, terminal_width, unless_closed,
};
use crate::commands::data::{in_file_order, load, training_images};
use crate::commands::predictions::{predictions, refuse_other_data, tested};
use crate::data::dataset::Dataset;
use crate::error::{Error, Place, Result, counted};
use crate::grid::names::ENSEMBLE;
use crate::grid::run_folder::model_of;
use crate::grid::store::{make_folder, refuse_foreign_file, write_output};
use crate::network::gemm::openblas;
use crate::progress::say;
use crate::results::ensemble::{accuracy, greedy, hits};
use crate::results::ensemble_text::Summary;
use crate::results::ranking::By as RankedBy;
use crate::results::read::{Results, model_of_run_with_hash};
use crate::statistics::paired_difference;
use crate::train::model::Model;
use crate::train::outcome::{Record, Scores};
use crate::train::predictor::{Ensemble, Listed, MADE_BY, Member, Predictor, is_ensemble};
use crate::train::provenance::Provenance;

/// From how many runs, the best by validation, members are chosen greedily at most, because the
/// probabilities of each are kept in memory.
const MAX_LIBRARY: usize = 1000;
/// What brings back a run's model.
const TRAIN_AGAIN: &str =
    "to train a run again, remove its folder and start the same `rookie grid`";

/// A run that trained to its end.
struct Candidate<'a> {
    record: &'a Record,
    scores: &'a Scores,
    folder: &'a Path,
}

/// Chooses the members of an ensemble, writes them down and prints how it does.
///
/// # Errors
/// Where runs, their models, the data or the file are not as they must be.
pub fn run(args: &EnsembleArgs) -> Result<Status> {
    args.kernels.take()?;
    openblas()?;
    let out = file_of(args)?;
    let results = Results::read(&args.folders)?;
    let status = say_left_out(&results);
    let dataset = load(&args.data, results.provenance())?;
    let (ranking, folders) = (results.ranking(RankedBy::Validation), results.folders());
    let done = ranking.records().iter().filter_map(|record| {
        let folder = folders[&record.run[..]];
        Some(Candidate { record, scores: record.scores()?, folder })
    });
    let candidates: Vec<Candidate<'_>> = done.collect();
    let Some(best) = candidates.first() else {
        let problem = "no run has finished training yet";
        return Err(Error::input(Place::file(&args.folders[0]), problem));
    };
    refuse_other_data(best.folder, best.record, &dataset)?;
    refuse_other_splits(&candidates)?;
    tested(best.folder, best.scores)?;
    let values = &best.record.values;
    let split = dataset.split(values.validation_size, values.data_seed)?;
    let validation = LabelledRows::new(&dataset.train, &split.validation);
    let test_rows = in_file_order(&dataset.test);
    let test = LabelledRows::new(&dataset.test, &test_rows);
    let weights = if args.greedy {
        greedily(&candidates, args.top as usize, &dataset, &validation)?
    } else {
        the_best(&candidates, args.top as usize)?
    };
    if let [(0, _)] = weights[..] {
        say(
            "the ensemble is the best single run alone, so comparing both says nothing; name more runs, or raise \
             --top",
        );
    }
    let chosen: Vec<_> = weights.iter().map(|&(at, weight)| (&candidates[at], weight)).collect();
    make_folder(parent_of(&out), "--out")?;
    let (mut predictor, members) = read(&chosen, &dataset, parent_of(&out))?;
    let first = &predictor.members[0].model;
    if let Some(indices) = training_images(first, &dataset, Some(&best.record.provenance)) {
        measure_moments(&mut predictor, &dataset, &indices);
    }
    let measured = measure(&predictor, &chosen, &validation, &test)?;
    let (hits, of_hits) = hits_of(best, &dataset, &test)?;
    let difference = paired_difference(&measured.test, &hits);
    let ensemble = Ensemble {
        chosen_by: if args.greedy { "greedy" } else { "top" }.into(),
        runs: candidates.len(),
        validation_accuracy: accuracy(&measured.validation),
        test_accuracy: accuracy(&measured.test),
        test_images: test.labels.len(),
        best_run: best.record.run.clone(),
        best_test_accuracy: best.scores.judged(),
        difference: difference.ends,
        provenance: Provenance::now(&dataset, Provenance::default())?.of_precision(Precision::F32),
        members,
    };
    write_output(&out, ensemble.to_toml().as_bytes())?;
    say(&format!("wrote {}", out.display()));
    let rows = chosen.iter().map(|(it, weight)| (it.record, *weight)).collect::<Vec<_>>();
    let is_first = weights[0].0 == 0;
    let alone = measured.alone.map(|[ensemble, first]| (ensemble, is_first.then_some(first)));
    let summary =
        Summary { ensemble: &ensemble, members: &rows, best: best.scores, alone, difference };
    unless_closed(print(&summary.describe(terminal_width())), status.max(of_hits))
}

/// Whether a run's model classifies each test image correctly, by its predictions or, where these are damaged, its
/// model.
fn hits_of(
    run: &Candidate<'_>,
    dataset: &Dataset,
    test: &LabelledRows<'_>,
) -> Result<(Vec<bool>, Status)> {
    let mut status = Status::Done;
    let mut warn = |text: &str, of| {
        say(text);
        status = status.max(of);
    };
    let classes = predictions(run.folder, run.record, dataset, &mut warn)?;
    let classes = classes.ok_or_else(|| {
        let problem = "has neither test_predictions.csv.gz nor model.safetensors";
        Error::input(Place::file(run.folder), problem).hint(TRAIN_AGAIN)
    })?;
    let hits = classes.iter().zip(&test.labels).map(|(class, label)| class == label);
    Ok((hits.collect(), status))
}

/// The file to write, which may be there already only if it is an ensemble's.
fn file_of(args: &EnsembleArgs) -> Result<PathBuf> {
    let hint = "name the file of their ensemble";
    let path = out_of(&args.folders, args.out.as_deref(), (ENSEMBLE, hint))?;
    if !is_ensemble(&path) {
        let found = format!("`{}`", path.display());
        return Err(Error::unexpected(Place::flag("--out"), found, "a name that ends in .toml"));
    }
    refuse_foreign_file(&path, &[MADE_BY], "--out").map(|()| path)
}

/// Refuses runs that were validated on different images, or on images that weights which they began with
/// may have been trained on, or on none: their validation accuracies cannot be compared, nor be averaged.
fn refuse_other_splits(candidates: &[Candidate<'_>]) -> Result<()> {
    let set = |of: &Candidate<'_>| of.record.values.validation_set();
    let first = &candidates[0];
    for candidate in candidates {
        let record = candidate.record;
        let problem = if record.values.validation_set().is_none() {
            "was trained on the rows of all folds, so that none is left to choose members with"
                .into()
        } else if set(candidate) != set(first) {
            let first = first.folder.display();
            format!("has a different validation set (data_seed, validation_size) from {first}")
        } else if record.provenance.has_other_split(&record.values) {
            "was initialised from a model that may have been trained on its validation set".into()
        } else {
            continue;
        };
        return Err(Error::input(Place::file(candidate.folder), problem)
            .hint("name the folders of runs with one validation set"));
    }
    Ok(())
}

/// The best runs, each once.
fn the_best(candidates: &[Candidate<'_>], top: usize) -> Result<Vec<(usize, u32)>> {
    let best = &candidates[..top.min(candidates.len())];
    if best.len() < top {
        let runs = counted(best.len(), "run");
        say(&format!("only {runs} trained to the end, so the ensemble has no more members"));
    }
    let lacking: Vec<_> = best.iter().filter(|it| !model_of(it.folder).exists()).collect();
    if let Some(first) = lacking.first() {
        let others = match lacking.len() - 1 {
            0 => String::new(),
            more => format!(", nor have {more} more of the {} best runs by validation", best.len()),
        };
        let problem = format!("has no model.safetensors{others}");
        return Err(Error::input(Place::file(first.folder), problem).hint(TRAIN_AGAIN));
    }
    Ok((0..best.len()).map(|index| (index, 1)).collect())
}

/// Runs chosen by [`greedy`], with the number of their picks.
fn greedily(
    candidates: &[Candidate<'_>],
    picks: usize,
    dataset: &Dataset,
    validation: &LabelledRows<'_>,
) -> Result<Vec<(usize, u32)>> {
    let all = 0..candidates.len();
    let (mut with, lacking): (Vec<usize>, Vec<usize>) =
        all.partition(|&index| model_of(candidates[index].folder).exists());
    if with.is_empty() {
        let problem = format!(
            "has no model.safetensors, and neither has any other of {} runs",
            lacking.len()
        );
        return Err(Error::input(Place::file(candidates[0].folder), problem).hint(TRAIN_AGAIN));
    }
    if let Some(&first) = lacking.first() {
        let (runs, first) = (counted(lacking.len(), "run"), candidates[first].folder.display());
        say(&format!(
            "{runs} without model.safetensors cannot be chosen, the first of them {first}; {TRAIN_AGAIN}"
        ));
    }
    if with.len() > MAX_LIBRARY {
        with.truncate(MAX_LIBRARY);
        say(&format!("members are chosen from the {MAX_LIBRARY} best runs by validation"));
    }
    let found = on_all_cores(with.len(), |at| {
        let (model, _) = read_model(&candidates[with[at]], dataset)?;
        By::Batch.probabilities(&model, validation.rows)
    })?;
    let weights = greedy(&found, &validation.labels, picks);
    Ok(with.into_iter().zip(weights).filter(|&(_, weight)| weight > 0).collect())
}

fn read_model(candidate: &Candidate<'_>, dataset: &Dataset) -> Result<(Model, String)> {
    let (model, sha256) = model_of_run_with_hash(candidate.folder, candidate.record)?;
    model.fits_data(&model_of(candidate.folder), dataset)?;
    Ok((model, sha256))
}

/// The chosen models, and how the file in this folder lists them.
fn read(
    chosen: &[(&Candidate<'_>, u32)],
    dataset: &Dataset,
    folder: &Path,
) -> Result<(Predictor, Vec<Listed>)> {
    let (mut members, mut listed) = (Vec::new(), Vec::new());
    for &(candidate, weight) in chosen {
        let (model, sha256) = read_model(candidate, dataset)?;
        let path = model_of(candidate.folder);
        listed.push(Listed { model: relative(folder, &path)?, sha256, weight });
        members.push(Member { path, weight, model });
    }
    Ok((Predictor { members, ensemble: None }, listed))
}

/// The path of a file from a folder.
fn relative(folder: &Path, file: &Path) -> Result<String> {
    let real = |path: &Path| path.canonicalize().map_err(|source| Error::read(path, source));
    let (folder, whole) = (real(folder)?, real(file)?);
    let shared = folder.components().zip(whole.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(whole.components().skip(shared)).collect();
    let text = path.to_str().map(String::from);
    text.ok_or_else(|| Error::input(Place::file(file), "has a path that is not UTF-8"))
}

/// What was measured of an ensemble.
struct Measured {
    /// Whether each validation image and each test image is classified correctly, standardised as in training.
    validation: Vec<bool>,
    test: Vec<bool>,
    /// The accuracies of the ensemble and of its first member with the training moments, on the test images.
    alone: Option<[f64; 2]>,
}

fn measure(
    predictor: &Predictor,
    chosen: &[(&Candidate<'_>, u32)],
    validation: &LabelledRows<'_>,
    test: &LabelledRows<'_>,
) -> Result<Measured> {
    let found = each(predictor, By::Batch, validation.rows)?;
    let recorded = chosen.iter().map(|(it, _)| it.scores.validation.accuracy);
    let here = found.iter().map(|it| accuracy(&hits(it, &validation.labels)));
    let pairs = here.zip(recorded).zip(chosen);
    let differ: Vec<_> = pairs.filter(|((here, it), _)| (here - it).abs() > 1e-9).collect();
    for ((here, recorded), (member, _)) in &differ {
        if member.record.provenance.is_of_this_program()? {
            let problem =
                format!("its validation accuracy is {here}, but run.toml says {recorded}");
            return Err(
                Error::input(Place::file(model_of(member.folder)), problem).hint(TRAIN_AGAIN)
            );
        }
    }
    if !differ.is_empty() {
        say(&format!(
            "{} of the ensemble: the validation accuracy here differs from that in its run.toml, because the \
             program or the OpenBLAS kernels differ, or the model file was modified",
            counted(differ.len(), "member")
        ));
    }
    let alone = has_moments(predictor).then(|| -> Result<[f64; 2]> {
        let found = each(predictor, By::Moments, test.rows)?;
        let of = |found| accuracy(&hits(found, &test.labels));
        Ok([of(&predictor.mean(&found)), of(&found[0])])
    });
    Ok(Measured {
        validation: hits(&predictor.mean(&found), &validation.labels),
        test: hits(&averaged(predictor, By::Batch, test.rows)?, &test.labels),
        alone: alone.transpose()?,
    })
}
