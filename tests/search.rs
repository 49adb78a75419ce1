//! A grid whose runs are samples of ranges, as a user sees it.

mod support;

use support::Work;

/// Samples of the small data set's grid, with a range given on the command line.
const SEARCH: &str =
    "grid my.toml --epochs 2 --set learning_rate=log_uniform(0.01,1) --lr-decay 0.5,0.8";

#[test]
fn samples_are_trained_ranked_drawn_and_read_back_from_the_folder() {
    let work = Work::new();
    work.rookie(&format!("{SEARCH} --samples 9 --seed 1,2 --out found")).exits(0);
    let grid = work.toml("found/grid.toml");
    let range = grid["axes"]["learning_rate"]["log_uniform"].as_array().unwrap();
    assert_eq!(range.iter().map(|end| end.as_float().unwrap()).collect::<Vec<_>>(), [0.01, 1.0]);
    assert_eq!(grid["samples"].as_integer(), Some(9));
    let ranking = work.csv("found/ranking.csv");
    assert_eq!(ranking.rows.len(), 18);
    let mut rates = ranking.numbers("learning_rate");
    assert!(rates.iter().all(|rate| (0.01..=1.0).contains(rate)), "{rates:?}");
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    assert_eq!(rates.len(), 9);
    assert_eq!(
        work.rookie("rank found --format csv").exits(0).stdout,
        work.text("found/ranking.csv")
    );
    work.rookie("report found").exits(0);
    let page = work.text("found/report.html");
    assert!(page.contains(r#""log":true"#) && page.contains("0.22–0.46"));
    work.rookie("plot grid found --format svg").exits(0).says("heat_map_learning_rate_lr_decay");
    assert!(work.text("found/figures/main_effects.svg").contains("0.022"));
    let map = work.text("found/figures/heat_map_learning_rate_lr_decay.svg");
    assert!(map.contains("0.22–0.46"), "parts of the range are rows");
    // A record whose values are not the sample's is left out, as in any grid.
    let run = format!("found/runs/{}/run.toml", ranking.column("run")[0]);
    work.write(&run, work.text(&run).replace("epochs = 2", "epochs = 3"));
    work.rookie("rank found").exits(1).says("holds other values than its grid (epochs: 2 there");
}

#[test]
fn equal_samples_are_told_and_trained_once() {
    let work = Work::new();
    let search = "grid my.toml --epochs 1 --set learning_rate=0.1,0.2 --samples 40";
    let told = "40 samples are 4 runs, because equal samples are one run";
    work.rookie(&format!("{search} --dry-run")).exits(0).says(told);
    work.rookie(search).exits(0).says(told);
    assert_eq!(work.csv("results/my/ranking.csv").rows.len(), 4);
}

#[test]
fn a_search_that_lacks_something_is_refused_before_anything_is_written() {
    let work = Work::new();
    let before = work.contents("");
    for (flags, expected) in [
        ("", "--set learning_rate: learning_rate has a range, and the grid has no samples"),
        ("--samples 0", "0 is not in 1..=1000000"),
        ("--samples 70000", "--samples: found 70000 samples, expected at most 65536"),
        ("--samples 3 --search-seed -1", "--search-seed"),
        ("--samples 3 --momentum uniform(0,1)", "--momentum: found 1, expected momentum: a number"),
    ] {
        work.rookie(&format!("{SEARCH} {flags}")).exits(2).says(expected);
    }
    let train = work.rookie("train --learning-rate uniform(0.1,1)").exits(2);
    train.says("--learning-rate: found a range, expected one value; `rookie grid` tries several");
    let ended = work.rookie("grid my.toml --search-seed 3").exits(2);
    ended.says("--search-seed: it has no effect, because the grid has no samples");
    assert_eq!(work.contents(""), before);
}
