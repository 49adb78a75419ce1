//! Arrays of NumPy and archives of them, as NumPy writes them.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// An array of any type.
pub(crate) fn npy(descr: &str, is_fortran: bool, shape: &str, items: &[u8]) -> Vec<u8> {
    let order = if is_fortran { "True" } else { "False" };
    let header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
    let length = (header.len() + 11).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    file.extend(items);
    file
}

pub(crate) fn floats(shape: &str, items: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
    npy("'<f4'", false, shape, &bytes)
}

pub(crate) fn bytes(shape: &str, items: &[u8]) -> Vec<u8> {
    npy("'|u1'", false, shape, items)
}

pub(crate) fn archive(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for ((name, bytes), method) in
        members.iter().zip([CompressionMethod::Deflated, CompressionMethod::Stored].iter().cycle())
    {
        let options = SimpleFileOptions::default().compression_method(*method);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
