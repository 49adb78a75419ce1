//! Tables on a terminal fit its width; elsewhere they are whole.

mod support;

use std::process::{Command, Stdio};

use support::{Work, has_program, is_skipped};

/// What a command prints on a terminal of so many columns.
fn on_terminal(work: &Work, columns: usize, arguments: &str) -> String {
    let program = assert_cmd::cargo::cargo_bin!("rookie").display().to_string();
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{program} {arguments} 2>/dev/null"), "/dev/null"]);
    command.current_dir(work.path("")).env_remove("ROOKIE_DATA").stdin(Stdio::null());
    let output = command.env("COLUMNS", columns.to_string()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

/// The lines of tables: sentences wrap by themselves.
fn table_lines(text: &str) -> impl Iterator<Item = &str> {
    let is_sentence = |line: &str| {
        line.ends_with('.')
            || ["interval", "standardised", "Confusion"].iter().any(|it| line.contains(it))
    };
    text.lines().filter(move |line| !is_sentence(line))
}

#[test]
fn tables_fit_a_terminal_of_40_and_of_80_columns() {
    if is_skipped("script", has_program("script")) {
        return;
    }
    let work = Work::new();
    work.rookie("grid my.toml --seed 1,2").exits(0);
    let model = "results/my/runs/lr0.2_decay0.5_seed1/model.safetensors";
    for arguments in ["rank results/my", "compare results/my", &format!("evaluate {model}")] {
        let whole = work.rookie(arguments).exits(0).stdout;
        for columns in [40, 80] {
            let text = on_terminal(&work, columns, arguments);
            let is_wide = |line: &&str| line.chars().count() > columns;
            let wide: Vec<&str> = table_lines(&text).filter(is_wide).collect();
            assert!(wide.is_empty(), "{arguments} in {columns} columns:\n{wide:#?}\n{text}");
            for word in ["accuracy", "100.00"] {
                assert_eq!(whole.contains(word), text.contains(word), "{word}: {text}");
            }
        }
        assert_eq!(on_terminal(&work, 500, arguments), whole);
    }
    let narrow = on_terminal(&work, 80, "rank results/my");
    assert!(narrow.contains("Not shown, because the terminal is too narrow: "), "{narrow}");
    assert!(narrow.contains("(0.001 in all rows)"), "{narrow}");
}

/// Whether no line of a paragraph ends although the next word would have fitted.
fn is_wrapped_once(paragraph: &str, width: usize) -> bool {
    let lines: Vec<&str> = paragraph.lines().collect();
    let fits = |pair: &[&str]| {
        let word = pair[1].split(' ').next().unwrap_or_default();
        pair[0].chars().count() + 1 + word.chars().count() <= width
    };
    lines.windows(2).all(|pair| !fits(pair))
}

#[test]
fn help_is_wrapped_once_and_each_example_is_a_line() {
    let work = Work::new();
    let commands = [
        "", "grid", "train", "rank", "compare", "evaluate", "predict", "split", "plot", "report",
        "bench",
    ];
    for (columns, width) in [("80", 80), ("120", 120)] {
        for command in commands {
            let help = work.rookie_with(("COLUMNS", columns), &format!("{command} --help"));
            let help = help.exits(0).stdout;
            let (options, rest) = help.split_once("\nExamples:\n").expect("examples");
            let mut paragraphs = rest.split("\n\n");
            for example in paragraphs.next().unwrap().lines() {
                assert!(example.starts_with("  rookie "), "{command}, {columns}: {example}");
            }
            for paragraph in paragraphs {
                assert!(is_wrapped_once(paragraph, width), "{command}, {columns}:\n{paragraph}");
            }
            let is_grid = command == "grid";
            assert!(is_grid || !options.contains("grid file"), "{command} has no grid file");
        }
    }
}
