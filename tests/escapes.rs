//! Text from outside cannot change the terminal, forge a line, a column or a tag, or become a formula.

mod support;

use std::fs;

use rookie::network::params::{Metadata, Params, Vectors};
use support::{Csv, Ended, FLAGS, Work};

/// Colours, clears, rings, turns text round, and forges a line of rookie's.
const EVIL: &str = "x\u{1b}[31m\u{9b}2J\u{7}\u{202e}\nrookie: all is well\r";
/// How it is shown.
const SHOWN: &str = "x\\u{1b}[31m\\u{9b}2J\\u{7}\\u{202e}\\nrookie: all is well\\r";

/// Fails unless the output is plain and shows the text escaped.
#[track_caller]
fn shows_escaped(ended: Ended) {
    let is_plain = |text: &str| {
        !text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}')
            && !text.lines().any(|line| line.starts_with("rookie: all is well"))
    };
    let plain = is_plain(&ended.stdout) && is_plain(&ended.stderr);
    let shown = ended.stdout.contains(SHOWN) || ended.stderr.contains(SHOWN);
    ended.check(plain, "it is plain").check(shown, format!("it shows `{SHOWN}`"));
}

/// rookie with these arguments, of which `EVIL` stands for that text.
fn with(work: &Work, arguments: &str) -> Ended {
    let mut command = work.command("");
    command.args(arguments.split(' ').map(|argument| argument.replace("EVIL", EVIL)));
    Ended::of(arguments, command)
}

#[test]
fn arguments_and_paths_are_shown_escaped() {
    let work = Work::trained();
    for arguments in [
        "EVIL",
        "--EVIL",
        "train --learning-rate EVIL",
        "train --set EVIL=1",
        "train --set learning_rate=EVIL",
        "train --data EVIL",
        "train EVIL",
        "train --init EVIL",
        "train --kernels EVIL",
        "grid EVIL",
        "grid my.toml --shard EVIL",
        "rank EVIL",
        "rank EVIL --by EVIL",
        "evaluate EVIL",
        "predict run/model.safetensors EVIL",
        "plot grid EVIL",
        "report EVIL",
        "compare run --reference EVIL",
    ] {
        shows_escaped(with(&work, arguments));
    }
    shows_escaped(with(&work, &format!("train {FLAGS} --out EVIL")));
    shows_escaped(with(&work, "grid my.toml --out gridEVIL"));
    shows_escaped(with(&work, "grid my.toml --out gridEVIL --fresh"));
}

#[test]
fn records_and_models_are_shown_escaped() {
    let work = Work::ranked();
    let run = "results/my/runs/lr0.1_decay0.5";
    let quoted = toml::Value::from(EVIL).to_string();
    let text = work.text(format!("{run}/run.toml"));
    let core = text.lines().find(|line| line.starts_with("openblas_core ")).unwrap();
    let of_kernels = text.replace(core, &format!("openblas_core = {quoted}"));
    work.write(format!("{run}/run.toml"), of_kernels);
    shows_escaped(work.rookie("rank results/my"));
    let (values, rest) = text.split_once("status = ").unwrap();
    let (_, provenance) = rest.split_once("[provenance]").unwrap();
    let failed = format!("status = \"failed\"\nreason = {quoted}\nseconds = 1.0\n[provenance]");
    work.write("failed/run.toml", format!("{values}{failed}{provenance}"));
    work.write("failed/curve.csv", work.bytes(format!("{run}/curve.csv")));
    let toml = work.path("failed/run.toml").display().to_string();
    shows_escaped(work.rookie(&format!("train {toml} --out failed")));
    work.write(format!("{run}/run.toml"), format!("\"x\\u001b\" = 1\n{text}"));
    work.rookie("rank results/my").says("unknown key `x\\u{1b}");

    let metadata = Metadata::from([("learning_rate".into(), EVIL.into())]);
    let model = Params::he_init(&[30, 3], 0).to_safetensors(&Vectors::new(), &metadata);
    work.write("model.safetensors", model);
    shows_escaped(work.rookie("evaluate model.safetensors"));
}

#[test]
fn names_are_no_markup_and_no_formulas() {
    let work = Work::ranked();
    for name in ["=1+1", "a|<b>", "@x"] {
        let folder = work.path(name);
        fs::rename(work.path("results/my"), &folder).unwrap();
        let arguments = format!("rank {name} results/none");
        fs::create_dir_all(work.path("results/none")).unwrap();
        fs::copy(folder.join("grid.toml"), work.path("results/none/grid.toml")).unwrap();
        let csv = work.rookie(&format!("{arguments} --format csv")).exits(0);
        let formula = |cell: &&str| cell.starts_with(['=', '@']);
        assert!(!Csv::parse(&csv.stdout).column("run").iter().any(formula), "{}", csv.stdout);
        let table = work.rookie(&format!("{arguments} --format markdown")).exits(0);
        let bars = table.stdout.lines().next().unwrap().matches('|').count();
        let mut rows = table.stdout.lines().take_while(|line| line.starts_with('|'));
        let same = rows.all(|row| row.replace("\\|", "").matches('|').count() == bars);
        let plain = same && !table.stdout.contains('<');
        table.check(plain, "every row has as many cells, and nothing is a tag");
        fs::rename(&folder, work.path("results/my")).unwrap();
    }
    // Labels and columns of the data become a header.
    let rows = (0..40).map(|row| format!("{row},{row},{}\n", ["\u{1b}[31mred", "\u{1}b"][row % 2]));
    work.write("odd.csv", "=1+1,a,y\n".to_string() + &rows.collect::<String>());
    let flags = "--label y --ignore =1+1 --hidden 4 --epochs 1";
    work.rookie(&format!("train --data odd.csv {flags} --out odd")).exits(0);
    let ended = work.rookie("predict odd/model.safetensors odd.csv --id =1+1").exits(0);
    let header = ended.stdout.lines().next().unwrap();
    assert_eq!(header, "'=1+1,prediction,p_\\u{1}b,p_\\u{1b}[31mred");
    work.rookie("plot errors odd --data odd.csv --out errors").exits(0);
    let svg = work.text("errors/confusion.svg");
    assert!(svg.contains("\u{fffd}[31mred") && !svg.contains(['\u{1}', '\u{1b}']));
    // A grid's name becomes that of a folder and a run.
    work.write("named.toml", "name = \"-1\"\n[axes]\nseed = [1]\n");
    work.rookie("grid named.toml").exits(2).says("named.toml:1: found the name `-1`");
}
