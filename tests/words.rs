//! The program and its documents speak plain English: phrases that readers stumbled over stay out.

use std::fs;
use std::path::{Path, PathBuf};

/// Each with what to write instead.
const BANNED: [(&str, &str); 21] = [
    ("under way", "in progress"),
    ("in place of", "instead of"),
    ("told apart", "distinguished, differ significantly"),
    ("be told from", "differ significantly from"),
    ("tell apart", "distinguish"),
    ("goes on where it was", "resumes"),
    ("go on where it was", "resume"),
    ("gone on with", "resumed"),
    ("broken off", "interrupted"),
    ("saved state", "checkpoint"),
    ("manieth", "n-th"),
    ("only door", "only module that uses"),
    ("floor plan", "order of modules"),
    ("hold settings", "compare configurations"),
    ("held against", "compared with"),
    ("nobody to tell", "ignored"),
    ("as nobody", "because nobody"),
    ("honest choice", "validation"),
    ("is mended", "is fixed"),
    ("surest", "most confident"),
    ("lives through", "survives"),
];

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_under(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn phrases_that_readers_stumbled_over_stay_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md"];
    let mut files: Vec<PathBuf> = pages.iter().map(|page| root.join(page)).collect();
    for folder in ["docs", "src", "scripts", "examples", "assets/report"] {
        files_under(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.to_lowercase();
            for (phrase, instead) in BANNED {
                if text.contains(phrase) {
                    let path = path.strip_prefix(root).unwrap().display();
                    found.push(format!("{path}:{line}: `{phrase}`; write: {instead}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
