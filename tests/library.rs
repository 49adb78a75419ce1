//! The library as another program uses it: what it refuses, and that arrays count as their files do.

mod support;

use rookie::{
    Dataset, Grid, GridOptions, Hyperparams, Interrupt, ResultsFolder, RunFolder, SaveEvery,
    train_grid, train_run,
};
use support::{DATA, Work};

fn small() -> Hyperparams {
    let (hidden, batch_size, validation_size) = (vec![4], 32, 50.into());
    Hyperparams { hidden, batch_size, validation_size, epochs: 1, ..Hyperparams::default() }
}

#[test]
fn images_in_memory_are_the_same_data_as_files_of_them() {
    let read = Dataset::read(&Work::new().path(DATA)).unwrap();
    let made = Dataset::new(read.train.clone(), read.test.clone()).unwrap();
    assert_eq!((made.sha256, made.signature), (read.sha256, read.signature));
}

#[test]
fn a_folder_that_holds_another_run_is_refused_and_stays_as_it_is() {
    let work = Work::new();
    let data = Dataset::read(&work.path(DATA)).unwrap();
    let train = |values: Hyperparams| {
        let folder = RunFolder::open(&work.path("run"), false, SaveEvery::default())?;
        let values = values.check()?;
        train_run(&values, &data, None, Some(&folder), &|_| {}, &Interrupt::default())
    };
    train(small()).unwrap();
    let before = work.contents("run");
    let problem = train(Hyperparams { seed: 7, ..small() }).unwrap_err().to_string();
    assert!(problem.contains("holds another run (seed: 0 there, 7 here)"), "{problem}");
    assert_eq!(before, work.contents("run"));
    train(small()).unwrap();
}

#[test]
fn values_that_do_not_go_together_or_with_the_data_are_refused_before_training() {
    let work = Work::new();
    let data = Dataset::read(&work.path(DATA)).unwrap();
    let problem = |values: Hyperparams| {
        let (values, interrupt) = (values.check().unwrap(), Interrupt::default());
        let end = train_run(&values, &data, None, None, &|_| {}, &interrupt);
        end.unwrap_err().to_string()
    };
    let found = problem(Hyperparams { validation_size: 300.into(), ..small() });
    assert!(found.starts_with("values: validation_size: found 300, expected"), "{found}");
    let found = problem(Hyperparams { learning_rate: 0.5, weight_decay: 2.0, ..small() });
    assert!(found.starts_with("weight_decay: found learning_rate 0.5 with"), "{found}");
    for (value, place) in [("validation_size = 300", ":2: "), ("weight_decay = 5.0", ":2: ")] {
        let grid = Grid::from_toml(&format!("[values]\n{value}\n[axes]\nseed = [1, 2]")).unwrap();
        let results = ResultsFolder::open(&work.path(value), &grid, &data, false).unwrap();
        let (options, interrupt) = (GridOptions::default(), Interrupt::default());
        let end = train_grid(&grid, data.clone(), &results, &options, &|_| {}, &interrupt);
        let found = end.unwrap_err().to_string();
        assert!(found.starts_with(&format!("grid.toml{place}")), "{found}");
        assert!(work.contents(value).keys().all(|path| !path.ends_with("run.toml")));
    }
}
