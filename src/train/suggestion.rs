//! What a mistyped name most likely means.

/// Of several names, the one that a mistyped one most likely means, if it is like any.
pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let likeness = |candidate: &'static str| (strsim::jaro_winkler(name, candidate), candidate);
    let (likeness, candidate) = known.map(likeness).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness > 0.75).then_some(candidate)
}

/// `did you mean …?`, or where to find the known names.
pub fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None => "`rookie train --help` lists the keys".to_string(),
    }
}
