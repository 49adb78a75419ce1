//! One look for all tables, on the terminal, as Markdown and as CSV. The only door to comfy-table.

use comfy_table::{CellAlignment, LineStyle, Table, presets};

use crate::text::{in_csv, in_markdown, printable};

/// A table for the terminal: a line under the header and nothing else between the numbers.
/// Columns past the first are right-aligned; a header may have line breaks.
pub fn terminal<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> String {
    let line = LineStyle::none().fill('─').junction('─');
    let mut table = filled(header, rows, |cell| printable(cell).into_owned());
    table.load_style(presets::NOTHING.header_separator(line));
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    let lines = table.to_string();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A Markdown table.
pub fn markdown<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> String {
    let mut table = filled(header, rows, in_markdown);
    table.load_style(presets::ASCII_MARKDOWN);
    table.to_string()
}

fn filled<R: AsRef<[String]>>(
    header: &[String],
    rows: &[R],
    escape: impl Fn(&str) -> String,
) -> Table {
    let mut table = Table::new();
    table.set_header(header);
    for row in rows {
        table.add_row(row.as_ref().iter().map(|cell| escape(cell)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Rows as CSV, the header first.
pub fn csv<R: AsRef<[String]>>(header: &[String], rows: &[R]) -> Vec<u8> {
    let into_memory = "writing into memory does not fail";
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header).expect(into_memory);
    for row in rows {
        csv.write_record(row.as_ref().iter().map(|cell| in_csv(cell).into_owned()))
            .expect(into_memory);
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
