//! What a reader of results must know of the runs that they come from, as far as their records tell.

use std::collections::BTreeMap;

use crate::data::split::PartSize;
use crate::train::hyperparams::Hyperparams;
use crate::train::outcome::Record;
use crate::train::provenance::{Provenance, mixed};

/// How many runs a sentence names.
const MAX_NAMES: usize = 3;

/// Why accuracies of a run may be too high, a sentence each.
pub fn cautions(provenance: &Provenance, values: &Hyperparams) -> Vec<String> {
    of_init(provenance, values).into_iter().chain(of_data(provenance)).collect()
}

/// The caution of a run that began with a model.
fn of_init(provenance: &Provenance, values: &Hyperparams) -> Option<String> {
    if !provenance.has_other_split(values) {
        return None;
    }
    let (sets, these) = if provenance.has_other_data() {
        ("validation and test sets", "both accuracies")
    } else {
        ("validation set", "the validation accuracy")
    };
    let may = "warning: the model of --init may have been trained on the";
    Some(format!("{may} {sets}, so {these} may be too high"))
}

/// Whether a part of the data, `test` or `validation`, has rows that models were trained on or chosen by.
pub fn is_seen(provenance: &Provenance, part: &str) -> bool {
    let is_file = |part| provenance.is_training_file(part);
    is_file(part) || part == "test" && is_file("validation") && has_drawn_test(provenance)
}

fn has_drawn_test(provenance: &Provenance) -> bool {
    let draws = |size| size != PartSize::Rows(0) && !provenance.has_test_file();
    provenance.data_options().is_some_and(|it| draws(it.test_size))
}

/// The cautions of all runs on the same data.
pub fn of_data(provenance: &Provenance) -> Vec<String> {
    let mut all = Vec::new();
    let noun = provenance.noun();
    for part in ["test", "validation"] {
        if provenance.is_training_file(part) {
            let (with, accuracies) = if has_drawn_test(provenance) {
                (" and the drawn test rows", "neither accuracy is an".to_string())
            } else {
                ("", format!("the {part} accuracy is no"))
            };
            all.push(format!(
                "warning: the {part} {noun}s are the training {noun}s{with}, so {accuracies} estimate for \
                 new {noun}s"
            ));
        }
    }
    all
}

/// Sentences about runs on the same data: on mixtures ([`mixed`]), on models that only some began with, and the
/// cautions of each.
pub fn notes_on<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<String> {
    let records: Vec<&Record> = records.collect();
    let mut runs_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for record in &records {
        let began = record.provenance.init().map(|_| BEGAN.to_string());
        for it in of_init(&record.provenance, &record.values).into_iter().chain(began) {
            runs_of.entry(it).or_default().push(&record.run);
        }
    }
    let on_data = records.first().map_or(Vec::new(), |first| of_data(&first.provenance));
    let sentence = |(of, runs): (String, Vec<&str>)| {
        if runs.len() == records.len() {
            return (of != BEGAN).then_some(of);
        }
        let more = if runs.len() > MAX_NAMES { ", …" } else { "" };
        let names = runs[..runs.len().min(MAX_NAMES)].join(", ");
        Some(format!("{of} ({} of {} runs: {names}{more})", runs.len(), records.len()))
    };
    let mixtures = mixed(records.iter().map(|record| &record.provenance), None);
    let on_runs = runs_of.into_iter().filter_map(sentence);
    mixtures.into_iter().chain(on_runs).chain(on_data).collect()
}

/// What is said where only some runs began with a model.
const BEGAN: &str = "runs that began with a model (--init) are another configuration than others with the same values";
