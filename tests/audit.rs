//! An audit tells what stopping runs early would have chosen, from the curves of a grid, and changes nothing.

mod support;

use std::fs;

use support::{Csv, GRID, Work};

/// [`GRID`] with epochs enough for rungs, as `long.toml`.
fn long() -> Work {
    let work = Work::new();
    let text =
        GRID.replace("epochs = 6", "epochs = 12").replace("eval_every = 2", "eval_every = 1");
    work.write("long.toml", text);
    work.rookie("grid long.toml").exits(0);
    work
}

#[test]
fn an_audit_tells_costs_and_choices_of_rules_and_writes_nothing() {
    let work = long();
    let before = work.contents("");
    let ended =
        work.rookie("audit results/long --format csv --halving-rungs 2,5 --halving-keep 0.6");
    let csv = Csv::parse(&ended.exits(0).says_nothing().stdout);
    let rules = csv.column("rule");
    assert_eq!(rules[..3], ["full grid", "halving 2, 5 (keep 0.60)", "halving 1, 2 (keep 0.33)"]);
    assert!(rules.contains(&"ASHA 1, 2 (1 of 3, workers 4)"), "{rules:?}");
    assert!(rules.contains(&"median from 1 (workers 4)") && rules.contains(&"patience 10"));
    // Three rates whose two decays share the first four of twelve epochs. At epoch 2 all three candidates go
    // on, because they are so few; at epoch 5 there are six, two of which end.
    assert_eq!(csv.column("epochs")[..2], ["60", "46"]);
    assert_eq!(csv.column("finished")[..2], ["6", "4"]);
    let ranking = work.rookie("rank results/long --by validation --format csv").exits(0);
    let ranking = Csv::parse(&ranking.stdout);
    for (ours, theirs) in [
        ("run", ranking.column("run")[0]),
        ("validation_regret", "0.000000"),
        ("kept_of_best", "6"),
    ] {
        assert_eq!(csv.column(ours)[0], theirs);
    }
    let accuracy = |csv: &Csv, name: &str| csv.column(name)[0].parse::<f64>().unwrap();
    for name in ["validation_accuracy", "test_accuracy"] {
        assert!((accuracy(&csv, name) - accuracy(&ranking, name)).abs() < 1e-6, "{name}");
    }
    let ended =
        work.rookie("audit results/long").exits(0).prints("All 6 runs have ended. The full");
    let ended = ended.prints("grid trains 60 epochs").prints("is worse than that of the full grid");
    ended.prints("workers are simulated").prints("halving 1, 2 (keep 0.33)");
    work.rookie("audit results/long --format markdown").exits(0).prints("| full grid ");
    assert!(work.contents("") == before, "it writes nothing");
    work.rookie("audit results/long --figure a.svg").exits(0).says("wrote a.svg");
    assert!(work.text("a.svg").contains("patience 10"));
}

#[test]
fn of_an_unfinished_grid_the_finished_part_is_audited() {
    let work = long();
    fs::remove_file(work.path("results/long/runs/lr0.1_decay0.5/run.toml")).unwrap();
    let ended = work.rookie("audit results/long").exits(0).says("1 run of 6 not finished");
    ended.prints("5 of 6 runs have ended; the audit is of these.");
    let curve = "results/long/runs/lr0.1_decay0.8/curve.csv";
    work.write(curve, "no curve");
    let ended = work.rookie("audit results/long").exits(1).says(&format!("left out: {curve}"));
    ended.prints("4 of 6 runs have ended");
}

#[test]
fn of_a_halved_grid_what_was_stopped_is_not_guessed() {
    let work = long();
    let rates = "--learning-rate 0.3,0.2,0.1,0.05,0.02,0.01 --lr-decay 0.5";
    let grid = |flags: &str| work.rookie(&format!("grid long.toml {rates} {flags}")).exits(0);
    grid("--out full");
    grid("--out halved --halving");
    let rows = |folder: &str| work.rookie(&format!("audit {folder} --format csv")).exits(0).stdout;
    let (full, halved) = (Csv::parse(&rows("full")), Csv::parse(&rows("halved")));
    let row = |csv: &Csv, rule: &str| {
        let at = csv.column("rule").iter().position(|it| *it == rule).unwrap();
        csv.rows[at].clone()
    };
    let default = "halving 1, 2 (keep 0.33)";
    let [of_full, of_halved] = [&full, &halved].map(|csv| row(csv, default));
    for name in ["epochs", "finished", "validation_accuracy", "test_accuracy", "run"] {
        let at = full.header.iter().position(|it| it == name).unwrap();
        assert_eq!(of_full[at], of_halved[at], "{name}");
    }
    for unknown in ["full grid", "patience 20"] {
        assert!(row(&halved, unknown)[1..].iter().all(String::is_empty), "{unknown}");
        assert!(!row(&full, unknown)[1].is_empty());
    }
    let ended = work
        .rookie("audit halved")
        .exits(0)
        .prints("3 of 6 runs have finished. Halving stopped 3 runs");
    ended.prints("Regret is the number of points by which a choice is worse than that of the finished runs by validation");
}

#[test]
fn wrong_rungs_and_folders_are_refused() {
    let work = long();
    for (arguments, problem) in [
        ("results/long --halving-rungs 5,2", "--halving-rungs or --halving-keep: found rungs ["),
        ("results/long --halving-keep 1.5", "expected a share above 0 and below 1"),
        ("results/long --halving-rungs x", "--halving-rungs"),
        ("results/long --workers 0", "--workers"),
        ("results/long --figure a.txt", "expected a name that ends in .png or .svg"),
        ("data", "data"),
    ] {
        let before = work.contents("");
        work.rookie(&format!("audit {arguments}")).exits(2).says(problem);
        assert!(work.contents("") == before, "{arguments}");
    }
}
