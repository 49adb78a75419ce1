//! On Fashion-MNIST itself. The data come with Debian's package `dataset-fashion-mnist` or with
//! `scripts/fetch-data`; `scripts/test` sees to one of them.

mod support;

use std::ops::ControlFlow;

use rookie::data::batches::{Batches, TrainingBatch};
use rookie::data::dataset::Dataset;
use rookie::engine::event::{Event, Interrupt};
use rookie::engine::train_run::{RunEnd, train_run};
use rookie::train::hyperparams::Hyperparams;
use support::{FASHION_MNIST, fashion_mnist, is_skipped};

#[test]
fn two_epochs_of_the_paper_s_network_reach_84_percent_on_the_validation_set() {
    let values = Hyperparams { epochs: 2, ..Hyperparams::default() }.check().unwrap();
    let folder = fashion_mnist();
    if is_skipped(FASHION_MNIST, folder.is_some()) {
        return;
    }
    let dataset = Dataset::read(&folder.unwrap()).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len(), dataset.classes()), (60_000, 10_000, 10));
    assert_eq!(dataset.class_name(9), "Ankle boot");
    let batches = Batches::new(&dataset, values.batching()).unwrap();

    // What the protocol says of the data.
    assert!(
        (batches.preprocessing.z.mean - 0.286).abs() < 5e-4
            && (batches.preprocessing.z.std - 0.353).abs() < 5e-4
    );
    let mut sizes = Vec::new();
    let all = batches.train.visit(1, &mut |batch| {
        let TrainingBatch::F32((x, _)) = batch else { panic!("in float32") };
        sizes.push(x.nrows());
        ControlFlow::Continue(())
    });
    assert!(all.is_continue());
    assert_eq!((sizes.len(), sizes[0], sizes[107]), (108, 512, 216));

    // In memory, without a folder.
    let silent = |_: &Event<'_>| {};
    let end = train_run(&values, &dataset, None, None, &silent, &Interrupt::default()).unwrap();
    let RunEnd::Finished { record, trained } = end else { panic!("nothing interrupts it") };
    let scores = record.outcome.scores().unwrap();
    assert!(scores.validation.accuracy >= 0.84, "{scores:?}");
    assert!(scores.test.unwrap().accuracy >= 0.83, "{scores:?}");
    assert!(trained.curve[1].train.loss < trained.curve[0].train.loss, "{:?}", trained.curve);
}
