//! Grids and records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rookie::grid::space::Grid;
use rookie::train::outcome::Record;
use rookie::train::toml_file::TomlFile;

fuzz_target!(|text: &str| {
    let file = TomlFile::new("file.toml", text);
    if let Ok(record) = Record::parse(&file) {
        let written = record.to_toml();
        let again = Record::parse(&TomlFile::new("file.toml", &written[..])).unwrap();
        assert_eq!(again.to_toml(), written);
    }
    if let Ok(grid) = Grid::parse(&file) {
        let written = grid.to_toml();
        let again = Grid::parse(&TomlFile::new("file.toml", &written[..])).unwrap();
        assert_eq!(again.to_toml(), written);
    }
});
