//! Text from outside, such as names, records and arguments, made harmless where it is shown: every message
//! and every table passes through here.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character moves the cursor, changes the terminal, or turns the direction of writing round.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(|c| is_unprintable(c) && !is_kept(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) && !is_kept(c) {
            let _ = match c {
                '\n' | '\r' | '\t' => write!(escaped, "{}", c.escape_default()),
                c => write!(escaped, "{}", c.escape_unicode()),
            };
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// A text of one line as a terminal may show it: `\u{1b}[31m` for an escape sequence.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// The same for a text of several lines.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n')
}

/// A text in a Markdown document, in which it begins no cell, tag or entity.
pub fn in_markdown(text: &str) -> String {
    let text = printable(text).replace('&', "&amp;").replace('|', "\\|");
    // `p < 0.05` begins no tag.
    text.replace('<', "&lt;").replace("&lt; ", "< ")
}

/// A document in XML without the characters that XML 1.0 forbids, even escaped.
pub fn in_xml(text: String) -> String {
    let is_forbidden = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(is_forbidden) { text.replace(is_forbidden, "\u{fffd}") } else { text }
}

/// A cell of a CSV that no spreadsheet takes for a formula. Numbers stay, and different texts are different
/// cells: what begins with an apostrophe gets one too, and a backslash is doubled because escapes begin with one.
pub fn in_csv(cell: &str) -> Cow<'_, str> {
    let is_formula = cell.starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err();
    let needs_apostrophe = is_formula || cell.starts_with('\'');
    if !needs_apostrophe && !cell.contains(|c| c == '\\' || is_unprintable(c)) {
        return Cow::Borrowed(cell);
    }
    let apostrophe = if needs_apostrophe { "'" } else { "" };
    Cow::Owned(format!("{apostrophe}{}", printable(&cell.replace('\\', "\\\\"))))
}

/// Of several names, the one that a mistyped one most likely means, if it is like any.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &'a str| (strsim::jaro_winkler(name, candidate), candidate);
    let (likeness, candidate) = known.map(likeness).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness > 0.75).then_some(candidate)
}

/// A text from a file as a message quotes it: its first forty characters.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_text_round_is_escaped_and_letters_are_not() {
        assert_eq!(printable("λ = 0.1 ± 3 – “ok” ✓ 日本"), "λ = 0.1 ± 3 – “ok” ✓ 日本");
        let found = printable("a\u{1b}[31m\u{9b}2J\n\r\t\u{7f}\u{202e}\u{2066}b");
        let expected = "a\\u{1b}[31m\\u{9b}2J\\n\\r\\t\\u{7f}\\u{202e}\\u{2066}b";
        assert_eq!(found, expected);
        assert_eq!(printable_lines("a\n\u{8}b"), "a\n\\u{8}b");
    }

    #[test]
    fn cells_are_no_markup_and_no_formulas() {
        assert_eq!(in_markdown("a|<b>&\n < 1"), "a\\|&lt;b>&amp;\\n < 1");
        assert_eq!(
            in_xml("<b>\0\u{1}\u{1b}\u{fffe}\u{ffff}\t\n é</b>".into()),
            "<b>\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\t\n é</b>"
        );
        assert_eq!(in_csv("=1+1"), "'=1+1");
        assert_eq!(in_csv("@x\u{1b}"), "'@x\\u{1b}");
        for number in ["-0.5", "+1e-3", "-inf", "3", "a-b", ""] {
            assert_eq!(in_csv(number), number);
        }
    }

    #[test]
    fn different_texts_are_different_cells() {
        let texts = [
            "=x", "'=x", "''=x", "x", "'x", "p\nq", "p\\nq", "p\\\nq", "p\\\\nq", "p\\u{7}",
            "p\u{7}", "+5x", "'+5x", "5",
        ];
        let cells: std::collections::BTreeSet<_> = texts.iter().map(|text| in_csv(text)).collect();
        assert_eq!(cells.len(), texts.len(), "{cells:?}");
        assert!(cells.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{cells:?}");
    }
}
