//! Arrays of NumPy: what is read from archives and files, and what is said about others.

#[path = "support/arrays.rs"]
mod arrays;
mod support;

use std::fs;
use std::path::Path;

use arrays::{archive, bytes, floats, npy};
use rookie::data::arrays::{Array, Arrays, Features};
use rookie::data::npz;
use rookie::data::options::DataOptions;
use rookie::data::source;
use rookie::data::table::Columns;

fn read(members: &[(&str, Vec<u8>)]) -> Result<Arrays, String> {
    from_bytes(&archive(members))
}

fn from_bytes(bytes: &[u8]) -> Result<Arrays, String> {
    npz::from_bytes(Path::new("t.npz"), bytes).map_err(|error| error.to_string())
}

/// Columns and cells of a matrix, as text.
fn matrix(array: &Array) -> (usize, String) {
    let Features::Matrix { columns, cells } = &array.features else { panic!("no matrix") };
    let cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
    (*columns, cells.join(" "))
}

#[test]
fn archives_of_keras_and_medmnist_have_images_and_labels() {
    let images = |count: usize| bytes(&format!("({count}, 2, 3)"), &vec![7; 6 * count]);
    let keras = read(&[
        ("x_test", images(1)),
        ("y_test", bytes("(1,)", &[9])),
        ("more", bytes("(1,)", &[9])),
        ("X_train", images(2)),
        ("y_train", bytes("(2,)", &[3, 1])),
    ])
    .unwrap();
    let pixels = Features::Images { height: 2, width: 3, pixels: vec![7; 12] };
    assert_eq!((keras.train.features, keras.train.rows), (pixels, 2));
    assert_eq!(keras.validation, None);
    assert_eq!(keras.unused, ["more"]);
    assert_eq!(keras.train.labels.names, ["1", "3", "9"]);
    let test = keras.test.unwrap();
    assert_eq!((keras.train.labels.codes, test.labels.codes), (vec![1, 0], vec![2]));
    assert_eq!(test.labels.names, ["1", "3", "9"]);
    assert_eq!(keras.train.hashes[0].0, Path::new("t.npz/X_train.npy"));
    assert_ne!(keras.train.hashes[0].1, test.hashes[0].1);

    let grey = |count: usize| bytes(&format!("({count}, 2, 3, 1)"), &vec![7; 6 * count]);
    let labels = |count: usize| bytes(&format!("({count}, 1)"), &vec![1; count]);
    let medmnist = read(&[
        ("train_images", grey(3)),
        ("train_labels", labels(3)),
        ("val_images", grey(1)),
        ("val_labels", labels(1)),
        ("test_images", grey(2)),
        ("test_labels", labels(2)),
    ])
    .unwrap();
    let rows = [&Some(medmnist.train), &medmnist.validation, &medmnist.test]
        .map(|part| part.as_ref().unwrap().rows);
    assert_eq!(rows, [3, 1, 2]);
}

#[test]
fn every_type_of_number_is_read_in_both_byte_orders() {
    // 1 and −2, or 1 and 3 without a sign.
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("'|b1'", vec![1, 0], "1 0"),
        ("'|u1'", vec![1, 200], "1 200"),
        ("'|i1'", vec![1, 254], "1 -2"),
        ("'<u2'", vec![1, 0, 0, 3], "1 768"),
        ("'>u2'", vec![0, 1, 3, 0], "1 768"),
        ("'<i2'", vec![1, 0, 254, 255], "1 -2"),
        ("'>i4'", vec![0, 0, 0, 1, 255, 255, 255, 254], "1 -2"),
        ("'<u4'", [1_u32, 3_000_000_000].map(u32::to_le_bytes).concat(), "1 3000000000"),
        ("'<i8'", [1_i64, -2].map(i64::to_le_bytes).concat(), "1 -2"),
        ("'<u8'", [1_u64, 3].map(u64::to_le_bytes).concat(), "1 3"),
        ("'<f2'", vec![0, 0x3c, 0, 0xc0], "1 -2"),
        ("'<f4'", [1.5_f32, f32::NAN].map(f32::to_le_bytes).concat(), "1.5 NaN"),
        ("'>f4'", [1.5_f32, -2.0].map(f32::to_be_bytes).concat(), "1.5 -2"),
        ("'<f8'", [1.5_f64, -2.0].map(f64::to_le_bytes).concat(), "1.5 -2"),
    ];
    for (descr, items, expected) in cases {
        let x = npy(descr, false, "(1, 2)", &items);
        let arrays = read(&[("X", x), ("y", bytes("(1,)", &[0]))]).unwrap();
        assert_eq!(matrix(&arrays.train), (2, expected.to_string()), "{descr}");
    }
}

#[test]
fn the_order_of_fortran_and_of_c_give_the_same_array() {
    let c = floats("(2, 3)", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let items: Vec<u8> = [0.0_f32, 3.0, 1.0, 4.0, 2.0, 5.0].map(f32::to_le_bytes).concat();
    let fortran = npy("'<f4'", true, "(2, 3)", &items);
    let read = |x: Vec<u8>| read(&[("data", x), ("target", bytes("(2,)", &[0, 1]))]).unwrap().train;
    assert_eq!(read(c.clone()).features, read(fortran).features);
    let table = read(c).into_table().unwrap();
    assert_eq!((table.rows, &table.columns[2].name[..]), (2, "x2"));
    // Colours and floats are no images of bytes, and are flattened.
    let images = npy("'|u1'", true, "(2, 1, 2)", &[0, 2, 1, 3]);
    let expected = Features::Images { height: 1, width: 2, pixels: vec![0, 1, 2, 3] };
    assert_eq!(read(images).features, expected);
    let signed = npy("'|i1'", false, "(2, 1, 2)", &[0, 2, 1, 3]);
    assert_eq!(matrix(&read(signed)), (2, "0 2 1 3".to_string()));
    let colour = bytes("(2, 1, 1, 3)", &[1, 2, 3, 4, 5, 6]);
    assert_eq!(matrix(&read(colour)), (3, "1 2 3 4 5 6".to_string()));
    assert_eq!(matrix(&read(floats("(2,)", &[1.0, 2.0]))), (1, "1 2".to_string()));
}

#[test]
fn labels_are_integers_bools_or_texts() {
    let unicode = |texts: [&str; 3], bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
        let of = |text: &str| {
            let mut codes: Vec<u32> = text.chars().map(u32::from).collect();
            codes.resize(4, 0);
            codes.into_iter().flat_map(bytes).collect::<Vec<u8>>()
        };
        texts.into_iter().flat_map(of).collect()
    };
    let texts = ["rot", "blau", "rot "];
    let cases: [(&str, Vec<u8>, &str, [u32; 3]); 7] = [
        ("'<i8'", [10_i64, -1, 9].map(i64::to_le_bytes).concat(), "-1 9 10", [2, 0, 1]),
        ("'|i1'", vec![5, 255, 5], "-1 5", [1, 0, 1]),
        ("'|b1'", vec![1, 0, 1], "False True", [1, 0, 1]),
        ("'<f4'", [2.0_f32, 10.0, 2.0].map(f32::to_le_bytes).concat(), "2 10", [0, 1, 0]),
        ("'<U4'", unicode(texts, u32::to_le_bytes), "blau rot", [1, 0, 1]),
        ("'>U4'", unicode(texts, u32::to_be_bytes), "blau rot", [1, 0, 1]),
        ("'|S3'", b"b\0\0abcb \0".to_vec(), "abc b", [1, 0, 1]),
    ];
    for (descr, items, names, codes) in cases {
        let y = npy(descr, false, "(3,)", &items);
        let labels = read(&[("x", floats("(3, 1)", &[0.0; 3])), ("y", y)]).unwrap().train.labels;
        assert_eq!(
            (labels.names.join(" "), &labels.codes[..]),
            (names.into(), &codes[..]),
            "{descr}"
        );
    }
}

#[test]
fn a_pair_of_files_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let [x, y] = ["x.npy", "y.npy"].map(|name| folder.path().join(name));
    fs::write(&x, floats("(2, 2)", &[1.0, 2.0, 3.0, 4.0])).unwrap();
    fs::write(&y, bytes("(2,)", &[5, 4])).unwrap();
    let array = npz::read_pair(&x, &y).unwrap();
    assert_eq!(matrix(&array), (2, "1 2 3 4".to_string()));
    assert_eq!(
        (array.labels.names, array.labels.codes),
        (vec!["4".into(), "5".into()], vec![1, 0])
    );
    assert_eq!([&array.hashes[0].0, &array.hashes[1].0], [&x, &y]);
    fs::write(&y, bytes("(3,)", &[5, 4, 5])).unwrap();
    let refused = npz::read_pair(&x, &y).unwrap_err().to_string();
    assert!(refused.ends_with("y.npy: found 3 labels, expected 2, one for each row"), "{refused}");
}

/// Members of an archive, and what is said about it.
type Refused<'a> = (Vec<(&'a str, Vec<u8>)>, &'a str);

fn check(cases: Vec<Refused<'_>>) {
    for (members, expected) in cases {
        let found = read(&members).unwrap_err();
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn arrays_that_lack_their_partner_or_hold_no_labels_are_refused_with_the_reason() {
    let x = || floats("(2, 1)", &[0.0; 2]);
    let y = || bytes("(2,)", &[0, 1]);
    let one = |descr: &str, items: &[u8]| npy(descr, false, "(2,)", items);
    check(vec![
        (
            vec![("a", x()), ("b", y())],
            "t.npz: found the arrays `a`, `b`, expected x_train and y_train,",
        ),
        (vec![("x", x())], "t.npz: found the array `x` without `y`, expected both"),
        (
            vec![("x_train", x()), ("y_train", y()), ("y_test", y())],
            "t.npz: found the array `y_test` without `x_test`, expected both",
        ),
        (
            vec![("x", x()), ("y", bytes("(3,)", &[0; 3]))],
            "t.npz/y.npy: found 3 labels, expected 2, one",
        ),
        (
            vec![("x", x()), ("y", bytes("(2, 2)", &[0, 1, 1, 0]))],
            "t.npz/y.npy: found labels of the shape (2, 2), expected one for each row; if they are one-hot",
        ),
        (
            vec![("x", x()), ("y", one("'|O'", b"\x80\x04."))],
            "t.npz/y.npy: found pickled objects, expected an array of \
             numbers or strings; save it without pickled objects: np.savez_compressed(\"new.npz\"",
        ),
    ]);
    let many: Vec<u8> = (0..257_u16).flat_map(u16::to_le_bytes).collect();
    let y = npy("'<u2'", false, "(257,)", &many);
    let found = read(&[("x", floats("(257,)", &[0.0; 257])), ("y", y)]).unwrap_err();
    assert_eq!(found, "t.npz/y.npy: found 257 classes, expected at most 256");
}

#[test]
fn arrays_of_other_types_are_refused_with_the_reason() {
    let x = || floats("(2, 1)", &[0.0; 2]);
    let y = || bytes("(2,)", &[0, 1]);
    let one = |descr: &str, items: &[u8]| npy(descr, false, "(2,)", items);
    check(vec![
        (
            vec![("x", one("[('a', '<f4')]", &[0; 8])), ("y", y())],
            "t.npz/x.npy: found records, expected an array of numbers or strings; save it as",
        ),
        (
            vec![("x", one("'<c8'", &[0; 16])), ("y", y())],
            "t.npz/x.npy: found items of type c8, expected u1",
        ),
        (
            vec![("x", one("'<U1'", &[0; 8])), ("y", y())],
            "t.npz/x.npy: found items of type U4, expected u1",
        ),
        (
            vec![("x", x()), ("y", one("'<M8'", &[0; 16]))],
            "t.npz/y.npy: found dates or durations, expected",
        ),
        (
            vec![("x", x()), ("y", one("'|S1'", b"a\0"))],
            "t.npz/y.npy: found no class in row 1, expected",
        ),
        (
            vec![("x", x()), ("y", one("'|S1'", b"a\xff"))],
            "t.npz/y.npy: found no class in row 1, expected",
        ),
        (
            vec![("x", x()), ("y", floats("(2,)", &[1.0, f32::NAN]))],
            "t.npz/y.npy: found no class in row 1, expected",
        ),
        (
            vec![("x", x()), ("y", one("'<U2000'", &[0; 16_000]))],
            "t.npz/y.npy: found texts of 8000 bytes, expected at most 4096",
        ),
        (
            vec![("x", x()), ("y", floats("(2,)", &[1.0, 0.5]))],
            "t.npz/y.npy: found 0.5 in row 1, expected classes: integers or names; regression is not",
        ),
        (
            vec![("x", floats("(2, 2)", &[0.0, 0.0, 0.0, f32::INFINITY])), ("y", y())],
            "t.npz/x.npy: found inf in row 1, column x1, expected numbers of at most 1e30 in size",
        ),
        (
            vec![
                ("x", npy("'<f8'", false, "(1,)", &1e99_f64.to_le_bytes())),
                ("y", bytes("(1,)", &[0])),
            ],
            "t.npz/x.npy: found inf in row 0, column x0, expected numbers of at most 1e30 in size",
        ),
    ]);
}

#[test]
fn arrays_of_shapes_that_cannot_be_are_refused_with_the_reason() {
    let x = || floats("(2, 1)", &[0.0; 2]);
    let mut other_order = x();
    let at = other_order.windows(5).position(|part| part == b"False").unwrap();
    other_order[at..at + 5].copy_from_slice(b"Maybe");
    let y = || bytes("(2,)", &[0, 1]);
    check(vec![
        (
            vec![("x", floats("()", &[1.0])), ("y", y())],
            "t.npz/x.npy: found a single number, expected an",
        ),
        (
            vec![("x", floats("(0, 3)", &[])), ("y", y())],
            "t.npz/x.npy: found the shape (0, 3), expected at",
        ),
        (
            vec![("x", floats("(3, 1)", &[0.0; 2])), ("y", y())],
            "t.npz/x.npy: found 8 bytes of items, expected 12",
        ),
        (
            vec![("x", floats("(4294967296, 4294967296, 4)", &[0.0])), ("y", y())],
            "t.npz/x.npy: found the shape (4294967296, 4294967296, 4), expected at most 8 GiB",
        ),
        (
            vec![("x", floats("(4294967296,)", &[])), ("y", y())],
            "t.npz/x.npy: found the shape (4294967296,), e",
        ),
        (
            vec![("x", bytes("(4294967295, 4294967297)", &[])), ("y", y())],
            "t.npz/x.npy: found the shape (4294967295, 4294967297), expected at most 8 GiB",
        ),
        (
            vec![("x", bytes(&format!("({})", vec!["1"; 33].join(", ")), &[1])), ("y", y())],
            "t.npz/x.npy: found 33 dimensions, expected at most 32",
        ),
        (vec![("x", other_order), ("y", y())], "t.npz/x.npy: found the header {'descr'"),
        (
            vec![("x", b"PK and much more".to_vec()), ("y", y())],
            "t.npz/x.npy: found other bytes, expected an array of N",
        ),
        (
            vec![
                ("x_train", x()),
                ("y_train", y()),
                ("x_test", floats("(1, 2)", &[0.0; 2])),
                ("y_test", bytes("(1,)", &[0])),
            ],
            "t.npz/x_test.npy: found 2 columns, expected 1 column, as in the training set",
        ),
    ]);
}

#[test]
fn headers_of_version_2_are_read() {
    let plain = floats("(2, 1)", &[1.0, 2.0]);
    let length = [plain[8], plain[9], 0, 0];
    let version_2 = [b"\x93NUMPY\x02\x00", &length[..], &plain[10..]].concat();
    let array = read(&[("x", version_2), ("y", bytes("(2,)", &[0, 1]))]).unwrap().train;
    assert_eq!(matrix(&array), (1, "1 2".to_string()));
}

#[test]
fn an_array_that_is_longer_than_its_archive_says_is_refused() {
    let x = floats("(2, 1)", &[1.0, 2.0]);
    let longer = [&x[..], b"more"].concat();
    let [size, longer_size] = [&x, &longer].map(|it| (it.len() as u32).to_le_bytes());
    let mut archive = archive(&[("x", longer), ("y", bytes("(2,)", &[0, 1]))]);
    for at in 0..archive.len() - 4 {
        if archive[at..at + 4] == longer_size {
            archive[at..at + 4].copy_from_slice(&size);
        }
    }
    let found = from_bytes(&archive).unwrap_err();
    assert!(found.starts_with("t.npz/x.npy: corrupt: File is larger than its"), "{found}");
}

#[test]
fn flags_for_columns_are_refused_with_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.npz");
    fs::write(
        &path,
        archive(&[("x", floats("(2, 1)", &[1.5, 2.0])), ("y", bytes("(2,)", &[0, 1]))]),
    )
    .unwrap();
    let columns = Columns { ignore: vec!["x0".into()], ..Columns::default() };
    let options = DataOptions { columns, ..DataOptions::default() };
    let found = source::open(&path, &options).unwrap_err().to_string();
    assert!(found.contains("t.npz: is an array without names of columns, for which"), "{found}");
}

#[test]
fn damaged_archives_are_refused() {
    let whole = archive(&[("x", floats("(2, 1)", &[0.0; 2])), ("y", bytes("(2,)", &[0, 1]))]);
    assert!(from_bytes(&whole).is_ok());
    for end in 0..whole.len() {
        let found = from_bytes(&whole[..end]).unwrap_err();
        assert!(found.starts_with("t.npz: cannot be read as a zip archive: "), "{found}");
    }
    // The labels are stored as they are: a changed one does not fit to the checksum.
    let header = whole.windows(6).rposition(|part| part == b"\x93NUMPY").unwrap();
    let mut changed = whole.clone();
    changed[header + 128] = 1;
    let found = from_bytes(&changed).unwrap_err();
    assert!(found.starts_with("t.npz/y.npy: corrupt: "), "{found}");
}

#[test]
fn arrays_that_look_like_other_parts_of_the_data_are_refused_and_others_are_named() {
    let x = || floats("(4, 1)", &[0.5, 1.5, 2.5, 3.5]);
    let y = || bytes("(4,)", &[0, 1, 0, 1]);
    for (others, found) in [
        (["test_images", "test_labels"], "`test_images`, `test_labels`"),
        (["X_valid", "y_valid"], "`X_valid`, `y_valid`"),
        (["X", "y"], "`X`, `y`"),
        (["holdout-features", "ids"], "`holdout-features`"),
    ] {
        let found =
            format!("t.npz: found the arrays {found} beside `x_train` and `y_train`, expected ");
        let members = [("x_train", x()), ("y_train", y()), (others[0], x()), (others[1], y())];
        let refused = read(&members).unwrap_err();
        let found = if others[1] == "ids" { found.replace("arrays", "array") } else { found };
        assert!(refused.starts_with(&found), "{refused}\n{found}");
        assert!(refused.ends_with("; rename them, or save the archive without them"), "{refused}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.npz");
    let members = [("x_train", x()), ("y_train", y()), ("ids", y()), ("test_ids", y())];
    fs::write(&path, archive(&members)).unwrap();
    let dataset = source::open(&path, &DataOptions::default()).unwrap();
    let expected = format!(
        "warning: {} has arrays that are not read: `ids`, `test_ids`; x_train, y_train, x_val, y_val, \
         x_test, y_test are read",
        path.display()
    );
    assert_eq!(dataset.warnings, [expected]);
}

#[test]
fn headers_are_compared_before_a_member_is_unpacked_and_no_archive_unpacks_to_gigabytes() {
    let zeros = |rows: usize| bytes(&format!("({rows}, 2)"), &vec![0; 2 * rows]);
    let x = zeros(20_000_000);
    let y = |rows: usize| bytes(&format!("({rows},)"), &vec![1; rows]);
    let begun = std::time::Instant::now();
    let whole = archive(&[("x", x.clone()), ("y", y(2))]);
    let packing = begun.elapsed();
    assert_eq!(
        read(&[("x", zeros(3)), ("y", y(2))]).unwrap_err(),
        "t.npz/y.npy: found 2 labels, expected 3, one for each row"
    );
    let begun = std::time::Instant::now();
    let refused = from_bytes(&whole).unwrap_err();
    assert_eq!(refused, "t.npz/y.npy: found 2 labels, expected 20000000, one for each row");
    assert!(begun.elapsed() < packing / 10, "nothing is unpacked");
    // The labels are stored as they are in the other tests; here all is deflated.
    let packed = archive(&[("x", x), ("other", vec![]), ("y", y(20_000_000))]);
    let refused = from_bytes(&packed).unwrap_err();
    assert!(refused.starts_with("t.npz: found arrays that unpack to 60000"), "{refused}");
    let end = "expected at most 100 times its size; save it with np.savez, if they are that plain";
    assert!(refused.ends_with(end), "{refused}");
    // One-hot labels are refused before the features are unpacked, which are damaged here.
    let mut damaged = archive(&[("y", bytes("(2, 2)", &[0; 4])), ("x", zeros(2))]);
    let at = damaged.windows(6).rposition(|part| part == b"\x93NUMPY").unwrap();
    damaged[at + 128] = 9;
    let refused = from_bytes(&damaged).unwrap_err();
    assert!(refused.starts_with("t.npz/y.npy: found labels of the shape (2, 2)"), "{refused}");
}

#[test]
fn what_an_array_or_archive_is_instead_is_said_with_its_own_cure() {
    let y = || bytes("(2,)", &[0, 1]);
    let one = |descr: &str, items: &[u8]| npy(descr, false, "(2,)", items);
    let plain = "expected an array of numbers or strings; save it as ";
    let refused = read(&[]).unwrap_err();
    assert!(
        refused.starts_with("t.npz: found no array, expected x_train and y_train,"),
        "{refused}"
    );
    for (x, expected) in [
        (one("[('a', '<f4')]", &[0; 8]), format!("found records, {plain}")),
        (one("'|V4'", &[0; 8]), format!("found records, {plain}")),
        (one("'<M8[ns]'", &[0; 16]), format!("found dates or durations, {plain}")),
        (one("'<m8[D]'", &[0; 16]), format!("found dates or durations, {plain}")),
        (
            npy("'<f4'", false, "(-2, 3)", &[0; 8]),
            "found the shape (-2, 3), expected no negative size; fetch the file again".into(),
        ),
        (
            one("'|O'", b"\x80\x04."),
            "found pickled objects, expected an array of numbers or strings; save it ".into(),
        ),
        (
            bytes(&format!("({})", vec!["1"; 255].join(", ")), &[1]),
            "found 255 dimensions, expected at most 32".into(),
        ),
    ] {
        let refused = read(&[("x", x), ("y", y())]).unwrap_err();
        assert!(refused.starts_with(&format!("t.npz/x.npy: {expected}")), "{refused}\n{expected}");
    }
    // A method of packing that is none of NumPy's.
    let mut lzma = archive(&[("x", floats("(2, 1)", &[0.0; 2])), ("y", y())]);
    for at in 0..lzma.len() - 12 {
        let offset = match &lzma[at..at + 4] {
            b"PK\x03\x04" => 8,
            b"PK\x01\x02" => 10,
            _ => continue,
        };
        lzma[at + offset] = 14;
    }
    let refused = from_bytes(&lzma).unwrap_err();
    assert_eq!(
        refused,
        "t.npz/x.npy: found another method of compression, expected deflate, or none; save it anew with \
         np.savez or np.savez_compressed"
    );
}
