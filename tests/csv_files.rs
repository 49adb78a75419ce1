//! CSV and TSV files: what is read from well-formed ones, and what is said about others.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use rookie::data::csv_file;
use rookie::data::options::DataOptions;
use rookie::data::preprocess::Missing;
use rookie::data::source;
use rookie::data::split::PartSize;
use rookie::data::table::{Column, ColumnKind, Columns, Delimiter, LabelColumn, Table};
use support::{Work, gzip};

fn read_with(text: impl AsRef<[u8]>, columns: &Columns) -> Result<Table, String> {
    let table = csv_file::from_bytes(Path::new("t.csv"), text.as_ref(), columns);
    table.map_err(|error| error.to_string())
}

fn read(text: impl AsRef<[u8]>) -> Table {
    read_with(text, &Columns::default()).unwrap()
}

fn named(label: &str) -> Columns {
    Columns { label: LabelColumn::Named(label.into()), ..Columns::default() }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn category(name: &str, texts: &[&str]) -> Column {
    Column { name: name.into(), kind: ColumnKind::Category(strings(texts)) }
}

fn number(name: &str) -> Column {
    Column { name: name.into(), kind: ColumnKind::Number }
}

/// Cells as text, so that missing values compare equal.
fn cells(table: &Table) -> String {
    let cells: Vec<String> = table.cells.iter().map(ToString::to_string).collect();
    cells.join(" ")
}

#[test]
fn a_table_has_numbers_categories_labels_groups_and_names_of_rows() {
    let text = "id,size,colour,label,house,ok\n\
                a,1.5,red,yes,x,true\n\
                ,NA,blue,no,y,False\n\
                c,-2,?,yes,x,NO\n";
    let id = Some("id".to_string());
    let columns = Columns { group: Some("house".into()), id, ..Columns::default() };
    let table = read_with(text, &columns).unwrap();
    let expected = [number("size"), category("colour", &["blue", "red"]), number("ok")];
    assert_eq!(table.columns, expected);
    assert_eq!(cells(&table), "1.5 1 1 NaN 0 0 -2 NaN 0");
    assert_eq!((table.rows, table.missing()), (3, vec![1, 1, 0]));
    let labels = table.labels.unwrap();
    assert_eq!((labels.names, labels.codes), (strings(&["no", "yes"]), vec![1, 0, 1]));
    assert_eq!(table.label_column.unwrap(), "label");
    assert_eq!(table.groups.unwrap(), [0, 1, 0]);
    assert_eq!(table.ids.unwrap(), ["a", "", "c"]);
    assert_eq!(table.delimiter, Some(Delimiter::Comma));
}

#[test]
fn the_same_table_is_read_from_every_way_of_writing_it() {
    let plain = read("a,b,y\n1,x,0\n2,\"u,v\",1\n");
    assert_eq!(plain.columns[1], category("b", &["u,v", "x"]));
    for (text, delimiter) in [
        ("\u{feff}a,b,y\r\n1,x,0\r\n2,\"u,v\",1", Delimiter::Comma),
        ("\u{feff}\"a\",b,y\n1,x,0\n2,\"u,v\",1\n", Delimiter::Comma),
        ("\n\n a , b , Y \n\n 1 , x , 0 \n\r\n2,\"u,v\",1.0\n\n", Delimiter::Comma),
        ("a;b;y\n1;x;0\n2;u,v;1\n", Delimiter::Semicolon),
        ("a\tb\ty\n1\tx\t0\n2\tu,v\t1\n", Delimiter::Tab),
        ("\"a\",\"b\",\"y\"\n\"1\",\"x\",\"0\"\n\"2\",\"u,v\",\"1\"\n", Delimiter::Comma),
    ] {
        for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
            let table = read(bytes);
            assert_eq!(table.delimiter, Some(delimiter), "{text}");
            assert_eq!((&table.columns, &table.cells), (&plain.columns, &plain.cells), "{text}");
            assert_eq!(table.labels, plain.labels, "{text}");
        }
    }
    // A last cell of several lines is closed, however many blank lines follow.
    let lines = read(format!("a,y\n1,w\n2,\"u\nv\"\n{}", "\n".repeat(200_000)));
    assert_eq!(lines.labels.unwrap().names, ["u\nv", "w"]);
    let of_packed = read(gzip(b"a,y\n1,0\n")).sha256;
    assert_eq!(of_packed, read("a,y\n1,0\n").sha256);
    assert_ne!(of_packed, read("a,y\n1,1\n").sha256);
}

#[test]
fn the_delimiter_is_the_one_outside_quotes_that_the_header_row_has_most_of() {
    let header = |text: &str| read_with(text, &named("y")).unwrap().delimiter.unwrap();
    assert_eq!(header("\"a,b,\"\"c,\";y\n1;2\n"), Delimiter::Semicolon);
    assert_eq!(header("size, cm;y\n1;2\n"), Delimiter::Semicolon);
    assert_eq!(header("5\" pipe,y\n1,2\n"), Delimiter::Comma);
    assert_eq!(header("\"a;\n;b\",c,y\n1,2,3\n"), Delimiter::Comma);
}

#[test]
fn columns_can_be_ignored_and_numbers_can_be_categories() {
    let columns =
        Columns { ignore: strings(&["name"]), categorical: strings(&["code"]), ..named("kind") };
    let table = read_with("name,code,kind\nx,10,1\ny,9,3\nz,,1\nw,9.0,1\n", &columns).unwrap();
    assert_eq!(table.columns, [category("code", &["10", "9"])]);
    // One number is one category, however it is written.
    assert_eq!((cells(&table), &table.unused), ("0 1 NaN 1".into(), &strings(&["name"])));
    let none = Columns { label: LabelColumn::None, ..Columns::default() };
    let table = read_with("label,a\n1,2\n", &none).unwrap();
    assert_eq!((table.columns.len(), table.labels, table.label_column), (2, None, None));
}

#[test]
fn rows_without_missing_values_are_told() {
    let id = Some("id".to_string());
    let columns = Columns { group: Some("g".into()), id, ..Columns::default() };
    let text = "id,g,size,y\np,u,,0\nq,v,2,1\nr,v,?,1\ns,u,4,0\n";
    let table = read_with(text, &columns).unwrap();
    assert_eq!(table.whole_rows(), [1, 3]);
}

#[test]
fn a_models_columns_are_found_by_name_and_unknown_categories_are_counted() {
    let wanted = vec![category("colour", &["blue", "red"]), number("size"), number("class")];
    let columns = Columns { wanted: Some(wanted.clone()), ..named("y") };
    let text = "more,size,class,colour,y\nu,1,7,red,a\nv,yes,8,green,b\nw,,9,,a\n";
    let table = read_with(text, &columns).unwrap();
    assert_eq!(table.columns, wanted);
    assert_eq!(cells(&table), "1 1 7 2 1 8 NaN NaN 9");
    assert_eq!((&table.unknown[..], &table.unused[..]), (&[1, 0, 0][..], &strings(&["more"])[..]));
    // A feature of the model is not guessed to be the labels.
    let guessing = Columns { label: LabelColumn::Guess, ..columns.clone() };
    assert_eq!(read_with(text, &guessing).unwrap().label_column.unwrap(), "y");
    let lacking = read_with("size,y\n1,a\n", &columns).unwrap_err();
    let expected = "t.csv: found no columns `colour`, `class`, which the model needs; \
                    the columns are `size`, `y`";
    assert_eq!(lacking, expected);
    let twice = Columns { label: LabelColumn::Named("class".into()), ..columns.clone() };
    let twice = read_with(text, &twice).unwrap_err();
    let expected = "t.csv: both --label and the model name the column `class`; a column has one";
    assert!(twice.starts_with(expected), "{twice}");
    let text = read_with("colour,size,class,y\nred,tall,1,a\n", &columns).unwrap_err();
    let expected =
        "t.csv:2: column `size`: found `tall`, expected a number, as in the model's training";
    assert_eq!(text, expected);
}

#[test]
fn ten_thousand_columns_are_read() {
    let names: Vec<String> = (0..10_000).map(|column| format!("c{column}")).collect();
    let row = vec!["3"; 10_000].join(",");
    let table = read(format!("{},y\n{row},1\n{row},0\n", names.join(",")));
    assert_eq!((table.columns.len(), table.cells.len()), (10_000, 20_000));
    assert!(table.cells.iter().all(|cell| *cell == 3.0));
}

/// A text, and what is said about it.
type Refused<'a> = (&'a [u8], &'a str);

#[test]
fn files_that_are_no_tables_are_refused_with_the_reason() {
    let cases: &[Refused<'_>] = &[
        (b"", "t.csv: found an empty file, expected a table with a header row"),
        (b"\xef\xbb\xbf\r\n", "t.csv: found an empty file, expected a table with a header row"),
        (b"\xff\xfea\0", "t.csv: found UTF-16, expected a table as UTF-8 text; save it as UTF-8"),
        (b"PK\x03\x04", "t.csv: found a zip archive, expected a table as UTF-8 text; save a"),
        (b"\x1f\x8bxx", "t.csv: corrupt gzip: "),
        (b"a,y\n", "t.csv: found no row after the header row, expected at least one"),
        (b"a,y", "t.csv: found no row after the header row, expected at least one"),
        (
            b"1,2\n3,4\n",
            "t.csv: found numbers in the first row, `1`, `2`, expected a header row; add",
        ),
        (b"5.1,3.5,setosa\n4,3,x\n", "t.csv: found numbers in the first row"),
        (b"a,,y\n1,2,3\n", "t.csv: found no name for column 2 in the header row, expected a name"),
        (b"a,y,a\n1,2,3\n", "t.csv: found the name `a` for the columns 1 and 3, expected another"),
        (b"y\n1\n", "t.csv: found no feature among the columns `y`, expected at least one"),
        (b"a,b,y\n1,2,3\n1,2\n", "t.csv:3: found 2 cells, expected 3, as in the header row"),
        (b"a,b,y\n1,2,3,4\n", "t.csv:2: found 4 cells, expected 3, as in the header row"),
        (b"a,y\n1,2\n1,\"2\n3,4\n5,6\n7", "t.csv:3: a quotation mark is left open"),
        (
            b"a,b,y\n1,\"2\n3,4\n5,6,7\n",
            "t.csv:2: found 2 cells, expected 3, as in the header row; a",
        ),
        (b"a,y\n1,2\n\0,3\n", "t.csv:3: found a zero byte, expected text; save it as UTF-8"),
        (b"a,y\n1,\xe9\n", "t.csv:2: found bytes that are not UTF-8, expected text"),
        (b"a,\xe9\n1,2\n", "t.csv:1: found bytes that are not UTF-8, expected text"),
    ];
    let endless = [b"\"", &vec![b'a'; 17 << 20][..]].concat();
    let expected =
        "t.csv: found a longer header row, expected at most 16 MiB; a quotation mark may";
    for &(text, expected) in cases.iter().chain(&[(&endless[..], expected)]) {
        let found = read_with(text, &Columns::default()).unwrap_err();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn cells_that_a_column_cannot_have_are_refused_with_line_and_column() {
    let mistake = format!("a,y\n{}12x,0\n", "1,0\n".repeat(40));
    let blank = format!("a,y\n1,0\n{}1,\n", "\n".repeat(200_000));
    for (text, expected) in [
        (
            "a,y\n1,0\n,\n",
            "t.csv:3: column `y`: found an empty cell, expected a class; remove rows",
        ),
        ("a,y\n1,NA\n", "t.csv:2: column `y`: found `NA`, expected a class"),
        (&blank, "t.csv:200003: column `y`: found an empty cell"),
        (
            "a,y\n1,2\ninf,3\n-inf,3\n",
            "t.csv:3: column `a`: found `inf`, expected a number of at most 1e30",
        ),
        ("a,y\n1e99,2\n", "t.csv:2: column `a`: found `1e99`, expected a number of at most 1e30"),
        (
            "a;y\n1;0\n3,14;1\n1,5;1\n",
            "t.csv:3: column `a`: found `3,14`, expected a plain number such as 1234.5; write",
        ),
        (
            "a,y\n\"1,234\",0\n",
            "t.csv:2: column `a`: found `1,234`, expected a plain number such as",
        ),
        (
            "a,y\n1,0\n5.1%,1\n",
            "t.csv:3: column `a`: found `5.1%`, expected a plain number such as",
        ),
        ("a,y\n$5,0\n\"€ 1,000\",1\n", "t.csv:2: column `a`: found `$5`, expected a plain number"),
        (
            &mistake,
            "t.csv:42: column `a`: found `12x`, expected a number, as in 40 other cells of the \
             column; empty the cell, or use --categorical a for a column of strings",
        ),
        ("a,y\nyes,0\n2,1\n", "t.csv:2: column `a`: found `yes`, expected a number, as in other"),
        (
            "a,y\n1,0\n2,0.5\n",
            "t.csv:3: column `y`: found `0.5`, expected classes: integers or names; regr",
        ),
        // The line is the file's: blank lines, carriage returns and quoted line ends count.
        ("a,y\r\n\r\n1,0\r\n\r\n,\r\n", "t.csv:5: column `y`"),
        ("a,b,y\n\"x\n\n\",1,0\n\"x\n\",inf,0\n", "t.csv:6: column `b`: found `inf`"),
        ("\u{feff}\na,b,y\n\"x\n\",\"x\n\",\n", "t.csv:5: column `y`"),
    ] {
        let found = read_with(text, &Columns::default()).unwrap_err();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    let names = read("a;y\n1,5;0\nred;1\n");
    assert_eq!(names.columns, [category("a", &["1,5", "red"])]);
    assert_eq!(read("a;y\n1,;0\n").columns, [category("a", &["1,"])]);
    let few = format!("a,y\n{}x,0\n", "1,0\n".repeat(19));
    assert_eq!(read(few).columns, [category("a", &["1", "x"])]);
}

#[test]
fn columns_that_cannot_be_told_are_refused_with_those_that_are_there() {
    let text = "species,target,size\na,1,2\n";
    let label = |name: &str| named(name);
    let names = |names: &[&str]| strings(names);
    let base = || label("species");
    for (columns, expected) in [
        (
            Columns::default(),
            "t.csv: found several columns that may be the labels, `species`, `target`, exp",
        ),
        (
            label("speceis"),
            "t.csv: found no column `speceis`, which --label names; did you mean `species`?",
        ),
        (
            label("zzz"),
            "t.csv: found no column `zzz`, which --label names; the columns are `species`, `t",
        ),
        (
            Columns { ignore: names(&["sizes"]), ..base() },
            "t.csv: found no column `sizes`, which --ignore",
        ),
        (
            Columns { categorical: names(&["q"]), ..base() },
            "t.csv: found no column `q`, which --categor",
        ),
        (
            Columns { group: Some("q".into()), ..base() },
            "t.csv: found no column `q`, which --group names",
        ),
        (
            Columns { id: Some("q".into()), ..base() },
            "t.csv: found no column `q`, which --id names",
        ),
        (
            Columns { ignore: names(&["species"]), ..base() },
            "t.csv: both --ignore and --label name the column `species`; a column has one purpose",
        ),
        (
            Columns { categorical: names(&["species"]), ..base() },
            "t.csv: both --label and --categorical name the column `species`",
        ),
        (
            Columns { ignore: names(&["size", "size"]), ..base() },
            "t.csv: --ignore names the column `size` tw",
        ),
    ] {
        let found = read_with(text, &columns).unwrap_err();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    let names: Vec<String> = (0..785).map(|column| format!("pixel{column}")).collect();
    let text = format!("{}\n{}\n", names.join(","), vec!["0"; 785].join(","));
    let found = read_with(text, &Columns::default()).unwrap_err();
    let expected =
        "t.csv: found no column that is named like labels, expected exactly one of label, class,";
    assert!(found.starts_with(expected), "{found}");
    assert!(found.ends_with("`pixel18`, `pixel19`, … (785 in all)"), "{found}");
    let guessed = read("Class,size\n1,2\n");
    assert_eq!(guessed.label_column.unwrap(), "Class");
    let ignored = Columns { ignore: strings(&["target"]), ..Columns::default() };
    let guessed = read_with("species,target,size\na,1,2\n", &ignored).unwrap();
    assert_eq!(guessed.label_column.unwrap(), "species");
}

#[test]
fn too_many_classes_and_too_many_categories_are_refused() {
    let text = |count: usize, row: fn(usize) -> String| {
        let rows: Vec<String> = (0..count).map(row).collect();
        format!("a,y\n{}\n", rows.join("\n"))
    };
    let classes = read_with(text(257, |row| format!("1,{row}")), &Columns::default());
    let expected = "t.csv: found 257 classes in column `y`, expected at most 256; if these are no labels, \
                    name the right column with --label; the columns are `a`, `y`";
    assert_eq!(classes.unwrap_err(), expected);
    let categories = read_with(text(10_001, |row| format!("n{row},1")), &Columns::default());
    let expected = "t.csv:10002: column `a`: found another text, expected at most 10000 different texts; \
                    leave it out with --ignore a";
    assert_eq!(categories.unwrap_err(), expected);
    let group = Columns { group: Some("g".into()), ..Columns::default() };
    let missing = read_with("g,a,y\n1,1,1\n?,1,1\n", &group).unwrap_err();
    assert!(missing.starts_with("t.csv:3: column `g`: found `?`, expected a group"), "{missing}");
}

#[test]
fn a_long_cell_is_shortened_in_a_message() {
    let found = read_with(format!("a,y\n1,{}\n2,0.5\n", "9".repeat(4000)), &Columns::default());
    let found = found.unwrap_err();
    assert!(found.len() < 200, "{found}");
}

/// A table as a file.
fn written(work: &Work, text: &str) -> PathBuf {
    work.write("t.csv", text);
    work.path("t.csv")
}

#[test]
fn a_table_that_cannot_be_divided_is_refused_with_the_reason() {
    let work = Work::new();
    let default = DataOptions::default;
    let size = |size: PartSize| DataOptions { test_size: size, ..default() };
    for (text, options, expected) in [
        ("a,y\n1,0\n2,1\n", size(PartSize::Rows(2)), "test_size: found 2, expected fewer than"),
        ("a,y\n1,5\n2,5\n", default(), "t.csv: found the label `5` in every row, expected two"),
        (
            "a,y\n1,0\n,1\n?,0\n",
            DataOptions { missing: Missing::DropRow, ..size(PartSize::Rows(1)) },
            "test_size: found 1, expected fewer than",
        ),
        (
            "a,y\n,0\n,1\n",
            DataOptions { missing: Missing::DropRow, ..default() },
            "t.csv: found a missing value in every row, expected rows without one",
        ),
        (
            "a,y\n1,0\n",
            DataOptions { labels: Some("y.npy".into()), ..default() },
            "t.csv: is a table, whose labels are a column, for which --labels cannot be used",
        ),
    ] {
        let found = source::open(&written(&work, text), &options).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}\n{expected}");
    }
}

#[test]
fn a_group_is_in_one_part_alone() {
    let rows: Vec<String> =
        (0..60).map(|row| format!("{row}.5,{},g{}", row % 2, row % 13)).collect();
    let work = Work::new();
    let text = format!("a,y,house\n{}\n", rows.join("\n"));
    let columns = Columns { group: Some("house".into()), ..Columns::default() };
    let options = DataOptions { columns, ..DataOptions::default() };
    let dataset = source::open(&written(&work, &text), &options).unwrap();
    let split = dataset.split(PartSize::Share(200_000), 0).unwrap();
    let group = |row: Vec<f32>| row[0] as usize % 13;
    let of_train = |rows: &[usize]| -> Vec<usize> {
        rows.iter().map(|&row| group(dataset.train.features.row(row))).collect()
    };
    let test = (0..dataset.test.len()).map(|row| group(dataset.test.features.row(row))).collect();
    let parts = [of_train(&split.train), of_train(&split.validation), test];
    for group in 0..13 {
        let parts = parts.iter().filter(|part| part.contains(&group)).count();
        assert_eq!(parts, 1, "group {group}");
    }
}

#[test]
fn one_group_is_one_however_its_integer_is_written_and_columns_are_ignored_in_any_order() {
    let columns = Columns { group: Some("g".into()), ..named("y") };
    let table = read_with("a,b,g,y\n1,2,1,0\n1,2,1.0,1\n3,4,01,0\n1,2,x,1\n", &columns).unwrap();
    assert_eq!(table.groups, Some(vec![0, 0, 1, 2]));
    let json = |ignore: &[&str]| {
        let columns = Columns { ignore: strings(ignore), ..Columns::default() };
        DataOptions { columns, ..DataOptions::default() }.to_json()
    };
    assert_eq!(json(&["a", "b"]), json(&["b", "a"]));
}

#[test]
fn drawn_test_rows_are_announced_and_given_ones_are_not() {
    let work = Work::new();
    let rows: Vec<String> =
        (0..60).map(|row| format!("{},{}", row % 2 * 9 + row, row % 2)).collect();
    let path = written(&work, &format!("a,y\n{}\n", rows.join("\n")));
    fs::copy(&path, work.path("test.csv")).unwrap();
    let train = "train --hidden 4 --epochs 1 --data t.csv";
    work.rookie(&format!("{train} --out drawn")).exits(0).says("the test rows are drawn from it");
    let ended = work.rookie(&format!("{train} --test test.csv --out given")).exits(0);
    let is_told = ended.stderr.contains("drawn");
    ended.says("60 training rows and 60 test").check(!is_told, "nothing is drawn");
}

#[test]
fn a_decimal_comma_is_told_as_such() {
    let text = "a,y\n\"89,5\",0\n\"1,25\",1\n\"-3,5\",1\n";
    let found = read_with(text, &Columns::default()).unwrap_err();
    let expected = "t.csv:2: column `a`: found `89,5`, expected a plain number such as 1234.5; write \
                    decimal points instead of decimal commas";
    assert_eq!(found, expected);
}
