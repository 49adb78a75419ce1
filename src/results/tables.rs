//! One layout for all tables: on the terminal, as Markdown and as CSV.

use unicode_width::UnicodeWidthStr;

use crate::text::{in_csv, in_markdown, printable};

/// Sentences below a table, a line each for the terminal.
pub fn lines(sentences: &[String]) -> String {
    sentences.iter().map(|text| printable(text)).collect::<Vec<_>>().join("\n")
}

/// A table and what a reader should know of it, for the terminal.
pub fn with_notes(table: String, notes: &[String]) -> String {
    let parts = [table, lines(notes)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The same for a document, a paragraph for each note.
pub fn document<R: AsRef<[String]>>(header: &[String], rows: &[R], notes: &[String]) -> String {
    let notes = notes.iter().map(|note| in_markdown(note));
    let parts = std::iter::once(markdown(header, rows)).chain(notes);
    parts.collect::<Vec<_>>().join("\n\n") + "\n"
}

/// A clause as a sentence, with its full stop.
pub fn sentence(clause: &str) -> String {
    let (first, rest) = clause.split_at(clause.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

/// A table for the terminal: a line under the header and nothing else between the numbers.
/// Columns past the first are right-aligned; a header may have line breaks.
pub fn terminal<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> String {
    let (header, rows, widths) = aligned(header, rows, &|cell| printable(cell).into_owned());
    let rule = "─".repeat(widths.iter().map(|width| width + 2).sum::<usize>().saturating_sub(1));
    let lines = |rows: Vec<Vec<String>>| rows.into_iter().map(|cells| cells.join("  "));
    let all = lines(header).chain([rule]).chain(lines(rows));
    all.map(|line| line.trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// The same for a terminal of `width` columns, if it is known. What does not fit is left out: first columns
/// with one value in all rows, then those of the titles `least`, the least important first. Where that is
/// not enough, each row becomes lines of its own.
pub fn fitting<R: AsRef<[String]>>(
    header: &[String],
    rows: &[R],
    width: Option<usize>,
    least: &[&str],
) -> String {
    let name = |column: usize| header[column].replace('\n', " ");
    let columns_of = |columns: &[usize]| {
        let pick = |row: &[String]| columns.iter().map(|&at| row[at].clone()).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| pick(row.as_ref())).collect();
        terminal(&pick(header), &rows)
    };
    let fits =
        |text: &str| width.is_none_or(|width| text.lines().all(|line| line.width() <= width));
    let is_same = |&at: &usize| {
        let mut cells = rows.iter().map(|row| &row.as_ref()[at]);
        let first = cells.next();
        rows.len() > 1 && cells.all(|cell| Some(cell) == first)
    };
    let same = (1..header.len()).rev().filter(is_same);
    let named = least.iter().filter_map(|title| (1..header.len()).find(|&at| name(at) == *title));
    let mut columns: Vec<usize> = (0..header.len()).collect();
    let mut left_out: Vec<String> = Vec::new();
    let mut text = columns_of(&columns);
    for column in same.chain(named) {
        if fits(&text) {
            break;
        }
        if columns.contains(&column) {
            columns.retain(|other| *other != column);
            let value = Some(column).filter(is_same).and(rows.first());
            let value = value.map(|row| format!(" ({} in all rows)", row.as_ref()[column]));
            left_out.push(name(column) + &value.unwrap_or_default());
            text = columns_of(&columns);
        }
    }
    if !fits(&text) {
        let row = |row: &R| {
            let line = |(at, cell): (usize, &String)| {
                let indent = if at == 0 { "" } else { "  " };
                format!("{indent}{}  {}", name(at), printable(cell))
            };
            let filled = row.as_ref().iter().enumerate().filter(|(_, cell)| !cell.is_empty());
            filled.map(line).collect::<Vec<_>>().join("\n")
        };
        return rows.iter().map(row).collect::<Vec<_>>().join("\n");
    }
    if !left_out.is_empty() {
        left_out.reverse();
        text +=
            &format!("\n\nNot shown, because the terminal is too narrow: {}.", left_out.join(", "));
    }
    text
}

/// A Markdown table.
pub fn markdown<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> String {
    let (header, rows, widths) = aligned(header, rows, &in_markdown);
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
    let lines = |rows: Vec<Vec<String>>| rows.into_iter().map(|cells| cells.join(" | "));
    let header = lines(header).map(|line| format!("| {line} |"));
    let rows = lines(rows).map(|line| format!("| {line} |"));
    header.chain([format!("|{rule}|")]).chain(rows).collect::<Vec<_>>().join("\n")
}

/// The lines of the header, the rows, and the width of each column, to which all cells are padded.
type Aligned = (Vec<Vec<String>>, Vec<Vec<String>>, Vec<usize>);

/// Cells of rows are escaped; headers are rookie's own.
fn aligned<R: AsRef<[String]>>(
    header: &[String],
    rows: &[R],
    escape: &dyn Fn(&str) -> String,
) -> Aligned {
    let height = header.iter().map(|cell| cell.lines().count()).max().unwrap_or(0);
    let line = |n| header.iter().map(|cell| cell.lines().nth(n).unwrap_or_default()).collect();
    let header: Vec<Vec<&str>> = (0..height).map(line).collect();
    let escaped = |row: &R| row.as_ref().iter().map(|cell| escape(cell)).collect();
    let escaped: Vec<Vec<String>> = rows.iter().map(escaped).collect();
    let rows = escaped.iter().map(|row| row.iter().map(String::as_str).collect());
    let rows: Vec<Vec<&str>> = rows.collect();
    let mut widths = vec![0; header.first().map_or(0, Vec::len)];
    for cells in header.iter().chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.width().max(*width);
        }
    }
    let pad = |(column, (cell, width)): (usize, (&&str, &usize))| {
        let blanks = " ".repeat(width - cell.width());
        if column == 0 { format!("{cell}{blanks}") } else { format!("{blanks}{cell}") }
    };
    let padded = |cells: &Vec<&str>| cells.iter().zip(&widths).enumerate().map(pad).collect();
    let [header, rows] = [header, rows].map(|lines| lines.iter().map(padded).collect());
    (header, rows, widths)
}

/// Rows as CSV, the header first, which is written as it is.
pub fn csv<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> Vec<u8> {
    let into_memory = "writing into memory does not fail";
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header).expect(into_memory);
    for cells in rows {
        let cells = cells.as_ref().iter().map(|cell| in_csv(cell).into_owned());
        csv.write_record(cells).expect(into_memory);
    }
    csv.into_inner().expect(into_memory)
}

/// A fraction as a person reads it.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_numbers_to_the_right_and_leave_no_blanks_at_line_ends() {
        let header = ["Class", "Long\nheader"].map(String::from);
        let rows = [["a", "1"].map(String::from), ["bcd", "100"].map(String::from)];
        let expected = "Class    Long\n       header\n──────────────\na           1\nbcd       100";
        assert_eq!(terminal(&header, &rows), expected);
        let expected = "| Class |   Long |\n|       | header |\n|-------|--------|\n\
                        | a     |      1 |\n| bcd   |    100 |";
        assert_eq!(markdown(&header, &rows), expected);
    }
}
