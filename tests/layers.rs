//! The floor plan is kept: `src/lib.rs` declares the rooms in the order in which data flows, and no
//! room imports one that stands below it. So there are no cycles either.

use std::fs;
use std::path::{Path, PathBuf};

fn source(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rooms in their order, as paths such as `data::idx`.
fn rooms() -> Vec<String> {
    let mut rooms = Vec::new();
    let mut wing = None;
    for line in source("lib.rs").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub mod ") {
            match (name.strip_suffix(" {"), name.strip_suffix(';'), &wing) {
                (Some(name), ..) => wing = Some(name.to_string()),
                (_, Some(name), Some(wing)) => rooms.push(format!("{wing}::{name}")),
                (_, Some(name), None) => rooms.push(name.to_string()),
                _ => panic!("src/lib.rs has a line that is no floor plan: {line}"),
            }
        } else if line == "}" {
            wing = None;
        }
    }
    rooms
}

fn file_of(room: &str) -> PathBuf {
    PathBuf::from(room.replace("::", "/")).with_extension("rs")
}

/// The rooms that a text names after `crate::`, comments left out.
fn imports(text: &str, rooms: &[String]) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        let named = rooms.iter().find(|room| {
            path.strip_prefix(room.as_str()).is_some_and(|rest| !rest.starts_with(is_word))
        });
        let shown: String = path.chars().take(30).collect();
        found.push(named.unwrap_or_else(|| panic!("crate::{shown} names no room")).clone());
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn no_room_imports_one_that_stands_below_it() {
    let rooms = rooms();
    assert!(rooms.len() > 20, "the floor plan could not be read: {rooms:?}");
    let mut wrong = Vec::new();
    for (place, room) in rooms.iter().enumerate() {
        let file = file_of(room);
        for import in imports(&source(&file), &rooms) {
            let below = rooms.iter().position(|other| *other == import).unwrap() > place;
            if below {
                wrong.push(format!(
                    "src/{} imports {import}, which stands below it",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_is_a_room() {
    let rooms: Vec<PathBuf> = rooms().iter().map(|room| file_of(room)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = path.strip_prefix(&root).unwrap();
            let known = rooms.iter().any(|room| room == file)
                || ["lib.rs", "main.rs"].iter().any(|name| file == Path::new(name));
            assert!(known, "src/{} is not in the floor plan of src/lib.rs", file.display());
        }
    }
}

#[test]
fn each_outside_thing_has_one_door() {
    // What may be named in one room only, or in several, as text that any use of it holds.
    let doors = [
        ("unsafe {", "network::gemm network::kernels"),
        ("allow(unsafe_code)", "network::gemm network::kernels"),
        ("cblas_sys", "network::gemm"),
        ("general_mat_mul", "network::gemm"),
        ("openblas_set", "network::gemm"),
        ("openblas_get", "network::gemm"),
        ("flate2", "data::gzip"),
        ("current_exe", "network::kernels"),
        ("process::Command", "network::kernels"),
        ("safetensors::", "network::params"),
        ("rayon", "grid::workers"),
        ("fs::write", "grid::disk"),
        ("fs::remove", "grid::disk grid::store"),
        ("fs::create_dir", "grid::disk grid::store"),
        ("fs::rename", "grid::disk grid::store"),
        ("File::create", "grid::disk"),
        ("OpenOptions", "data::file grid::disk"),
        ("fs::read(", "data::file"),
        ("File::open", "data::file grid::disk"),
        ("comfy_table", "report::tables"),
        ("ndarray_linalg", "report::pca"),
        ("plotters", "figures"),
        ("askama", "report::page"),
        ("signal_hook", "signals"),
        ("indicatif", "progress"),
    ];
    for room in rooms() {
        let text = source(file_of(&room));
        // Tests make files of their own.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> =
            code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        for (thing, door) in doors {
            let line = code.iter().position(|line| line.contains(thing));
            // A door is a room, or a wing with all its rooms.
            let is_door =
                door.split(' ').any(|door| room == door || room.starts_with(&format!("{door}::")));
            if let Some(line) = line.filter(|_| !is_door) {
                panic!("{}:{}: {thing} belongs to {door}", file_of(&room).display(), line + 1);
            }
        }
    }
}
