//! One layout for all tables: on the terminal, as Markdown and as CSV.

use unicode_width::UnicodeWidthStr;

/// A clause as a sentence, with its full stop.
pub fn sentence(clause: &str) -> String {
    let (first, rest) = clause.split_at(clause.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

/// A table for the terminal: a line under the header and nothing else between the numbers.
/// Columns past the first are right-aligned; a header may have line breaks.
pub fn terminal<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> String {
    let (header, rows, widths) = aligned(header, rows);
    let rule = "─".repeat(widths.iter().map(|width| width + 2).sum::<usize>().saturating_sub(1));
    let lines = |rows: Vec<Vec<String>>| rows.into_iter().map(|cells| cells.join("  "));
    let all = lines(header).chain([rule]).chain(lines(rows));
    all.map(|line| line.trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// A Markdown table.
pub fn markdown<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> String {
    let (header, rows, widths) = aligned(header, rows);
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
    let lines = |rows: Vec<Vec<String>>| rows.into_iter().map(|cells| cells.join(" | "));
    let header = lines(header).map(|line| format!("| {line} |"));
    let rows = lines(rows).map(|line| format!("| {line} |"));
    header.chain([format!("|{rule}|")]).chain(rows).collect::<Vec<_>>().join("\n")
}

/// The lines of the header, the rows, and the width of each column, to which all cells are padded.
type Aligned = (Vec<Vec<String>>, Vec<Vec<String>>, Vec<usize>);

fn aligned<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> Aligned {
    let height = header.iter().map(|cell| cell.lines().count()).max().unwrap_or(0);
    let line = |n| header.iter().map(|cell| cell.lines().nth(n).unwrap_or_default()).collect();
    let header: Vec<Vec<&str>> = (0..height).map(line).collect();
    let rows = rows.iter().map(|row| row.as_ref().iter().map(String::as_str).collect());
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

/// Rows as CSV, the header first.
pub fn csv<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> Vec<u8> {
    let into_memory = "writing into memory does not fail";
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header).expect(into_memory);
    for row in rows {
        csv.write_record(row.as_ref()).expect(into_memory);
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
