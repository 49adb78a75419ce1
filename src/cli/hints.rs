//! What to do about an argument that a command does not have, where its parser cannot tell.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};

/// Arguments that users give to a command which does not have them, and what to do instead.
const INSTEAD: [(&str, &str, &str); 3] = [
    ("predict", "--out", "predictions go to standard output; write `> FILE`"),
    ("split", "--out", "the rows go to standard output; write `> FILE`"),
    ("train", "--folds", "`rookie grid` has --folds, for a run of each fold"),
];

/// The same error with a hint, if there is one for these arguments, the program's name first.
#[must_use]
pub fn with_hint(mut error: clap::Error, arguments: &[String]) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let command = arguments.get(1).map_or("", String::as_str);
    let known = INSTEAD.iter().find(|(of, flag, _)| *of == command && flag == wrong);
    let hint = known.map(|(.., hint)| (*hint).to_string()).or_else(|| one_dash(wrong, arguments));
    if let Some(hint) = hint {
        let hint = ContextValue::StyledStrs(vec![StyledStr::from(hint)]);
        error.insert(ContextKind::Suggested, hint);
    }
    error
}

/// Of `-label`, the parser takes `-l` alone.
fn one_dash(wrong: &str, arguments: &[String]) -> Option<String> {
    let is_meant = |it: &&String| {
        wrong.len() == 2 && it.len() > 2 && it.starts_with(wrong) && !it.starts_with("--")
    };
    arguments.iter().find(is_meant).map(|it| format!("write -{it}, with two dashes"))
}
