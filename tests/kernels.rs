//! The kernels of OpenBLAS: chosen by the program where OpenBLAS's choice is too narrow, asked for
//! by users, refused where they cannot be had, and never mixed without a word.
#![cfg(target_arch = "x86_64")]

mod support;

use std::process::Stdio;

use support::{Ended, FLAGS, GRID, Work};

/// The variable that OpenBLAS reads.
const CORETYPE: &str = "OPENBLAS_CORETYPE";
/// For the tests: `first` takes what that names for OpenBLAS's own choice, `always` lets whatever
/// runs look like Prescott.
const NARROW: &str = "ROOKIE_NARROW_CORE";

/// Whether the program was built without what reads that variable, which it then prints.
fn lacks_hidden_option() -> bool {
    if !cfg!(debug_assertions) {
        eprintln!("skipped: without debug assertions, rookie does not read {NARROW}");
    }
    !cfg!(debug_assertions)
}

/// Runs rookie with some variables set, and with none of those that choose kernels otherwise.
fn rookie(work: &Work, variables: &[(&str, &str)], arguments: &str) -> Ended {
    let mut command = work.command(arguments);
    command.env_remove(CORETYPE).envs(variables.iter().copied());
    Ended::of(arguments, command)
}

fn provenance(work: &Work, run: &str, line: &str) -> String {
    let record = work.toml(format!("{run}/run.toml"));
    record["provenance"][line].as_str().unwrap().to_string()
}

/// Cores as wide as this processor, which any choice of the program is one of.
fn widest() -> &'static [&'static str] {
    if is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq") {
        &["SkylakeX", "Cooperlake"]
    } else {
        &["Haswell"]
    }
}

#[test]
fn where_openblas_chooses_narrow_kernels_the_program_starts_again_on_wide_ones_and_says_so() {
    if lacks_hidden_option() {
        return;
    }
    let work = Work::new();
    let narrow = [(CORETYPE, "Prescott"), (NARROW, "first")];
    rookie(&work, &narrow, "grid my.toml")
        .exits(0)
        .says("because its own choice for this processor, Prescott, does not use AVX");
    let run = "results/my/runs/lr0.1_decay0.5";
    let core = provenance(&work, run, "openblas_core");
    assert!(widest().contains(&&*core), "{core}");
    assert_eq!(provenance(&work, run, "openblas_core_chosen_by"), "rookie");
}

#[test]
fn a_library_that_takes_no_other_kernels_is_used_as_it_is_with_a_warning() {
    if lacks_hidden_option() {
        return;
    }
    let work = Work::new();
    rookie(&work, &[(NARROW, "always")], &format!("train {FLAGS} --out run"))
        .exits(0)
        .says("uses its Prescott kernels, which do not use this processor's AVX")
        .says("and accepts no others");
}

#[test]
fn a_users_variable_is_respected_without_a_word() {
    let work = Work::new();
    let ended =
        rookie(&work, &[(CORETYPE, "Nehalem")], &format!("train {FLAGS} --out run")).exits(0);
    let holds = !ended.stderr.contains("kernels");
    ended.check(holds, "standard error does not speak of kernels");
    assert_eq!(provenance(&work, "run", "openblas_core"), "Nehalem");
    assert_eq!(provenance(&work, "run", "openblas_core_chosen_by"), CORETYPE);
}

#[test]
fn kernels_asked_for_win_over_a_variable_and_over_a_grid_file() {
    let work = Work::new();
    work.write("nehalem.toml", format!("[machine]\nkernels = \"Nehalem\"\n{GRID}"));
    let cases = [
        ("my.toml --kernels prescott", "Nehalem", "Prescott", "--kernels"),
        ("nehalem.toml", "Prescott", "Nehalem", "the grid file"),
        ("nehalem.toml --kernels PRESCOTT", "Nehalem", "Prescott", "--kernels"),
        ("nehalem.toml --kernels auto", "Prescott", "Prescott", CORETYPE),
        ("my.toml --kernels prescott", "Prescott", "Prescott", "--kernels"),
    ];
    for (arguments, variable, core, by) in cases {
        let grid = format!("grid {arguments} --out out --fresh --yes");
        rookie(&work, &[(CORETYPE, variable)], &grid).exits(0);
        let run = "out/runs/lr0.1_decay0.5";
        assert_eq!(provenance(&work, run, "openblas_core"), core, "{arguments}");
        assert_eq!(provenance(&work, run, "openblas_core_chosen_by"), by, "{arguments}");
        // How it was trained here does not belong to the grid.
        assert!(!work.text("out/grid.toml").contains("kernels"));
    }
}

#[test]
fn kernels_that_cannot_be_had_are_refused_before_anything_is_written() {
    let work = Work::new();
    let before = work.contents(".");
    if !lacks_hidden_option() {
        rookie(&work, &[(NARROW, "always")], "grid my.toml --kernels nehalem").exits(2).says(
            "--kernels nehalem: found the Prescott kernels after starting again, expected Nehalem",
        );
    }
    rookie(&work, &[], "train --kernels foo").exits(2).says("possible values: auto, prescott");
    for (machine, problem) in [
        ("kernels = \"foo\"", "wrong.toml:2: found `foo`, expected one of auto, prescott"),
        ("kernels = 1", "wrong.toml:2: found 1, expected in quotes one of auto, prescott"),
        ("kernel = \"zen\"", "wrong.toml:2: unknown key `kernel`; did you mean `kernels`?"),
        ("jobs = 2", "wrong.toml:2: unknown key `jobs`; [machine] has `kernels` alone"),
    ] {
        work.write("wrong.toml", format!("[machine]\n{machine}\n{GRID}"));
        rookie(&work, &[], "grid wrong.toml").exits(2).says(problem);
        std::fs::remove_file(work.path("wrong.toml")).unwrap();
    }
    assert_eq!(work.contents("."), before);
}

#[test]
fn a_grid_says_where_its_results_are_of_two_kinds_of_kernels() {
    let work = Work::new();
    let prescott = |arguments: &str| rookie(&work, &[(CORETYPE, "Prescott")], arguments).exits(0);
    prescott("grid my.toml");
    // Nothing is left to train, so nothing is mixed.
    let ended = rookie(&work, &[], "grid my.toml --kernels nehalem").exits(0).says(
        "the Nehalem kernels (--kernels) are not used, because the finished runs, trained with \
         Prescott, are kept; --fresh trains them again",
    );
    let holds = !ended.stderr.contains("other kernels");
    ended.check(holds, "it does not speak of other kernels");
    std::fs::remove_dir_all(work.path("results/my/runs/lr0.1_decay0.5")).unwrap();
    let sentence = "earlier results here were trained with other kernels than Nehalem \
                    (5 with Prescott), so results may differ in the last digits; --kernels prescott \
                    trains with the same";
    rookie(&work, &[], "grid my.toml --kernels nehalem").exits(0).says(sentence);
    std::fs::remove_dir_all(work.path("results/my/runs/lr0.1_decay0.8")).unwrap();
    prescott("grid my.toml").says("other kernels than Prescott (1 with Nehalem)");
}

#[test]
fn shards_with_different_kernels_are_named_when_they_are_ranked() {
    let work = Work::new();
    let first = rookie(&work, &[], "grid my.toml --shard 0/2 --kernels prescott").exits(0);
    let holds = !first.stderr.contains("other kernels");
    first.check(holds, "one shard is not mixed");
    rookie(&work, &[], "grid my.toml --shard 1/2 --kernels nehalem")
        .exits(0)
        .says("the runs were trained with different kernels (")
        .says(" with Prescott), so");
}

#[test]
fn a_run_that_finished_with_other_kernels_says_that_those_asked_for_are_not_used() {
    let work = Work::new();
    let train = |kernels: &str| format!("train {FLAGS} --out run --kernels {kernels}");
    rookie(&work, &[], &train("prescott")).exits(0);
    rookie(&work, &[], &train("nehalem")).exits(0).says("the Nehalem kernels (--kernels) are not");
    let again = rookie(&work, &[], &train("prescott")).exits(0).says("holds this run already");
    let holds = !again.stderr.contains("not used");
    again.check(holds, "it was trained with those asked for");
}

#[test]
fn a_variable_that_openblas_does_not_know_is_named_by_commands_that_train() {
    let work = Work::new();
    let unknown = [(CORETYPE, "Haswel")];
    let sentence = "because it does not have those of OPENBLAS_CORETYPE=Haswel";
    rookie(&work, &unknown, &format!("train {FLAGS} --out run")).exits(0).says(sentence);
    rookie(&work, &unknown, "grid my.toml").exits(0).says(sentence);
    rookie(&work, &unknown, "bench --seconds 1 --jobs 1").exits(0).says(sentence);
}

#[test]
fn kernels_in_a_wrong_place_are_refused_with_the_right_one() {
    let work = Work::new();
    let cure = "unknown key `kernels`; name them with --kernels, or under [machine] in a grid file";
    let line = "kernels = \"haswell\"";
    let under = |section: &str| GRID.replace(section, &format!("{section}\n{line}"));
    for grid in [format!("{line}\n{GRID}"), under("[values]"), under("[axes]")] {
        work.write("wrong.toml", grid);
        rookie(&work, &[], "grid wrong.toml").exits(2).says(cure);
    }
    work.write("run.toml", line);
    rookie(&work, &[], "train run.toml").exits(2).says(cure);
    rookie(&work, &[], "grid my.toml --set kernels=haswell").exits(2).says(cure);
}

#[test]
fn a_grid_says_where_it_resumes_from_states_of_other_kernels() {
    let work = Work::new();
    let grid = "grid my.toml --epochs 3000 --jobs 1 --checkpoint-every 1";
    let mut command = work.command(&format!("{grid} --kernels prescott"));
    command.env_remove(CORETYPE);
    let mut running = support::Running::of(grid, command, Stdio::piped());
    work.wait_for_checkpoint("results/my/.state/stages");
    running.signal("TERM");
    running.end().exits(143);
    let mut command = work.command(&format!("{grid} --kernels nehalem"));
    command.env_remove(CORETYPE);
    let mut running = support::Running::of(grid, command, Stdio::piped());
    running.wait_until_it_catches_signals();
    running.signal("TERM");
    // On a busy machine it may have saved several.
    running.end().exits(143).says("other kernels than Nehalem (").says(" with Prescott)");
}

#[test]
fn a_dry_run_says_what_the_kernels_cost() {
    let work = Work::new();
    rookie(&work, &[], "grid my.toml --dry-run --jobs 1 --kernels prescott")
        .exits(0)
        .prints("kernels           Prescott  chosen by --kernels; 0.")
        .prints("× the speed of ");
    // A core that --kernels does not know is measured like any other.
    rookie(&work, &[(CORETYPE, "Core2")], "grid my.toml --dry-run --jobs 1")
        .exits(0)
        .prints("kernels              Core2  chosen by OPENBLAS_CORETYPE; 0.");
}

#[test]
fn kernels_with_vectors_as_wide_as_the_processor_s_are_not_compared() {
    let work = Work::new();
    let vectors = if is_x86_feature_detected!("avx512vl") { "skylakex" } else { "haswell" };
    if is_x86_feature_detected!("avx2") {
        let dry_run = format!("grid my.toml --dry-run --jobs 1 --kernels {vectors}");
        rookie(&work, &[], &dry_run).exits(0).prints("chosen by --kernels\n");
    }
}

#[test]
fn the_bench_names_the_kernels_and_what_they_use_of_a_core() {
    let work = Work::new();
    let bench = "bench --seconds 1 --jobs 1 --json --kernels prescott";
    let ended = rookie(&work, &[], bench).exits(0);
    let found: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found["openblas_core"], "Prescott");
    assert_eq!(found["openblas_core_chosen_by"], "--kernels");
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let share = found["sgemm_peak_fraction"].as_f64().unwrap();
        // How fast a busy machine is, no test can say.
        assert!(share > 0.0, "{found}");
        let advice = "of this core's peak with the Prescott kernels; compare with --kernels ";
        assert_eq!(ended.stderr.contains(advice), share < 0.5, "{}", ended.stderr);
        let busy_share = found["busy_share"].as_f64().unwrap();
        let is_said = ended.stderr.contains("the machine is busy");
        assert_eq!(is_said, busy_share > 0.1, "{busy_share} {}", ended.stderr);
    }
}
