//! What stops a program in the middle: a closed pipe, a signal, another program in its place.

mod support;

use std::io::{BufRead, BufReader, pipe};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{
    DATA, DataSet, Ended, FLAGS, Running, SMALL, Work, has_program, is_skipped, wait_until,
};

/// Two runs, of which the first ends at once and the second not while a test waits.
const ENDLESS: &str = "grid my.toml --jobs 1 --learning-rate 0.1 --lr-decay 0.5 \
                       --set epochs=1,1000000 --eval-every 1000000";

fn train(flags: &str) -> String {
    format!("train {FLAGS} {flags}")
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let work = Work::trained();
    work.rookie("grid my.toml").exits(0);
    for arguments in [
        "split --validation-size 50",
        "rank results/my",
        "rank results/my --format csv",
        "evaluate run/model.safetensors",
        "grid my.toml --dry-run --out other",
        "--help",
        "completions bash",
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        work.start_into(arguments, writer).end().exits(0).says_nothing();
    }
}

#[test]
fn a_reader_that_has_gone_does_not_change_how_the_work_came_out() {
    let work = Work::trained();
    let unread = |variable: (&str, &str), arguments: &str| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = work.command(arguments);
        command.env(variable.0, variable.1);
        Running::of(arguments, command, writer).end()
    };
    let panic_in = |run| ("ROOKIE_PANIC_IN", run);
    let name = "lr0.2_wd0.001_h16-12_decay0.5_batch32_ep6_eval4_val50";
    let failed = unread(panic_in(name), &train("--out failed")).exits(1);
    failed.says("the run failed; the same command tries again");
    unread(panic_in(""), &train("--out done")).exits(0).says("are in done");
    unread(panic_in("lr0.1_decay0.5"), "grid my.toml --no-sharing").exits(1).says("1 run failed");
    // What is written beside the output is written in any case.
    unread(panic_in(""), "evaluate run/model.safetensors --csv tables").exits(0);
    assert!(work.path("tables/confusion.csv").exists());
}

#[test]
fn a_pipe_that_breaks_while_the_program_writes_ends_it_quietly() {
    let work = Work::new();
    // More than a pipe holds.
    work.write_data(DATA, DataSet { train: 20_000, ..SMALL });
    let mut running = work.start("split");
    let mut output = BufReader::new(running.take_output());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    drop(output);
    running.end().exits(0).says_nothing();
    assert_eq!(line, "index,split,batch,position\n");
}

#[test]
fn a_signal_stops_a_grid_at_once_and_what_has_ended_is_kept() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
        let work = Work::new();
        let mut grid = work.start(ENDLESS);
        let ended = work.path("results/my/runs/lr0.1_decay0.5_ep1/run.toml");
        wait_until("the first run has ended", || ended.exists());
        // Into the second run, which must not go on to its end.
        std::thread::sleep(Duration::from_millis(100));
        grid.signal(signal);
        let sent = Instant::now();
        let grid = grid.end().check(sent.elapsed() < Duration::from_secs(5), "it ends soon");
        let grid = grid.exits(code).says("interrupted: 1 of 2 runs finished; ");
        let kept =
            "results/my keeps them and the checkpoints of the others; run the same command, ";
        grid.says(kept).says("without --fresh, to resume");
        assert_eq!(work.csv("results/my/ranking.csv").column("run"), ["lr0.1_decay0.5_ep1"]);
        work.rookie("rank results/my").exits(0).says("1 run of 2 not finished");
    }
}

#[test]
fn a_grid_that_was_interrupted_ends_with_the_same_bytes() {
    let work = Work::new();
    let grid = "grid my.toml --set epochs=8000";
    work.rookie(&format!("{grid} --out whole")).exits(0);
    let mut broken = work.start(&format!("{grid} --out broken --jobs 1"));
    let first = work.path("broken/runs/lr0.2_decay0.5/run.toml");
    wait_until("the first run has ended", || first.exists());
    broken.signal("INT");
    broken.end().exits(130);
    let kept = work.stamps("broken/runs/lr0.2_decay0.5");
    work.rookie(&format!("{grid} --out broken")).exits(0).says("of 6 runs finished before");
    assert_eq!(work.stamps("broken/runs/lr0.2_decay0.5"), kept);
    assert_eq!(work.reproducible("broken"), work.reproducible("whole"));
}

#[test]
fn an_interrupted_run_keeps_what_was_there_and_goes_on() {
    let work = Work::trained();
    // A finished run of so many epochs that it does not finish again while the test waits.
    work.write("run/run.toml", work.text("run/run.toml").replace("epochs = 6", "epochs = 1000000"));
    let endless = train("--fresh").replace("--epochs 6", "--epochs 1000000");
    // The weights that it starts from are still there when it goes on.
    for (arguments, out) in
        [(endless.clone(), "run"), (format!("{endless} --init run/model.safetensors"), "other")]
    {
        let arguments = &format!("{arguments} --out {out}")[..];
        let before = work.contents_if_any(out);
        let mut run = work.start(arguments);
        run.wait_until_it_catches_signals();
        run.signal("INT");
        let ended = run.end().exits(130).says("run the same command, without --fresh, to resume");
        let mut after = work.contents(out);
        after.retain(|path, _| !path.starts_with(".state"));
        let before = before.iter().filter(|(path, _)| !path.starts_with(".state"));
        ended.check(after.iter().eq(before), "it wrote a state and nothing else");
        let mut run = work.start(&arguments.replace(" --fresh", ""));
        run.wait_until_it_catches_signals();
        run.signal("INT");
        run.end().exits(130).says("resuming after epoch");
    }
}

#[test]
fn of_two_grids_in_one_folder_exactly_one_works() {
    let work = Work::new();
    let mut grids = [work.start(ENDLESS), work.start(ENDLESS)];
    wait_until("one is refused", || grids.iter_mut().any(Running::has_ended));
    let first_ended = grids[0].has_ended();
    let [first, second] = grids;
    let (refused, mut working) = if first_ended { (first, second) } else { (second, first) };
    refused.end().exits(2).says("results/my: ").says("--out");
    let run = work.path("results/my/runs/lr0.1_decay0.5_ep1/run.toml");
    wait_until("a run has ended", || run.exists());
    let late = work.rookie(ENDLESS).exits(2);
    late.says("results/my: another rookie is writing into this folder");
    working.signal("INT");
    working.end().exits(130);
}

#[test]
fn a_run_that_resumes_reads_its_checkpoint_once_to_check_it_and_once_to_go_on() {
    let work = Work::new();
    if is_skipped("strace", has_program("strace")) {
        return;
    }
    let train = train("--out run --checkpoint-every 1000")
        .replace("epochs 6", "epochs 9000")
        .replace("every 4", "every 100");
    let mut begun = work.start(&train);
    wait_until("a state is saved", || {
        work.path("run/.state/stages/run1_step0.checkpoint").exists()
    });
    begun.signal("TERM");
    begun.end().exits(143);
    let command = work.command(&train);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "trace", "-e", "trace=open,openat"]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.current_dir(work.path("")).env_remove("ROOKIE_DATA");
    Ended::of(&train, strace).exits(0).says("resuming after epoch");
    let trace = work.text("trace");
    let is_read = |line: &&str| line.contains("step0.checkpoint\"") && line.contains("O_RDONLY");
    let reads = trace.lines().filter(is_read).collect::<Vec<_>>();
    assert_eq!(reads.len(), 2, "{reads:#?}");
}
