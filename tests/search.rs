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
fn each_hidden_layer_may_have_a_range_or_a_list_of_widths() {
    let work = Work::new();
    let search = "grid my.toml --epochs 2 --set lr_decay=0.5 --learning-rate 0.1 --out found";
    let layers = "--hidden int_log_uniform(4,64),6/9";
    work.rookie(&format!("{search} {layers} --samples 12")).exits(0);
    let hidden = &work.toml("found/grid.toml")["axes"]["hidden"];
    assert_eq!(hidden.to_string(), "[{ int_log_uniform = [4, 64] }, [6, 9]]");
    let ranking = work.csv("found/ranking.csv");
    let widths = |column: &str| {
        let mut widths = ranking.numbers(column);
        widths.sort_by(f64::total_cmp);
        widths.dedup();
        widths
    };
    let (first, second) = (widths("hidden_1"), widths("hidden_2"));
    assert!(first.len() > 6 && first.iter().all(|width| (4.0..=64.0).contains(width)), "{first:?}");
    assert_eq!(second, [6.0, 9.0]);
    // Each layer has a coordinate of its own, and a file draws the same.
    let pairs = |folder: &str| {
        let ranking = work.csv(format!("{folder}/ranking.csv"));
        let (first, second) = (ranking.numbers("hidden_1"), ranking.numbers("hidden_2"));
        let mut pairs: Vec<(f64, f64)> = first.into_iter().zip(second).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs
    };
    let of_six = pairs("found").iter().filter(|(_, second)| *second == 6.0).count();
    assert!((4..=8).contains(&of_six), "{:?}", pairs("found"));
    let layers_in_file = "hidden = [{ int_log_uniform = [4, 64] }, [6, 9]]";
    work.write(
        "layers.toml",
        format!("[values]\nvalidation_size = 50\n[axes]\n{layers_in_file}\n"),
    );
    work.rookie("grid layers.toml --epochs 1 --samples 12 --out file").exits(0);
    assert_eq!(pairs("file"), pairs("found"));
    work.rookie(&format!("{search} {layers} --samples 16")).exits(0).says("12 of 15 runs");
    let grown = work.csv("found/ranking.csv");
    assert_eq!(grown.rows.len(), 15, "two of 16 are equal, and the first 12 are kept");
    work.rookie("report found").exits(0);
    work.rookie("plot grid found --format svg --heat-map hidden_1,hidden_2").exits(0);
    assert!(work.text("found/figures/heat_map_hidden_1_hidden_2.svg").contains("40–64"));
    for (flags, expected) in [
        ("--hidden int_log_uniform(4,64),6", "hidden has a range, and the grid has no samples"),
        (
            "--hidden uniform(4,64) --samples 3",
            "expected int_uniform or int_log_uniform for hidden",
        ),
        ("--hidden int_uniform(4,64),6/6 --samples 3", "occurs twice in hidden"),
        ("--hidden int_uniform(0,64) --samples 3", "found 0, expected hidden: up to 16 widths"),
    ] {
        work.rookie(&format!("grid my.toml {flags} --out no")).exits(2).says(expected);
    }
    work.write("whole.toml", "[axes]\nhidden = { int_uniform = [4, 64] }\n");
    let refused = work.rookie("grid whole.toml --samples 3").exits(2);
    refused
        .says("whole.toml:2: ")
        .says("expected a list of choices, or a range, for each hidden layer");
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
