//! `src/lib.rs` declares the modules in the order in which data flows, and none imports a later one. So
//! there are no cycles either.

use std::fs;
use std::path::{Path, PathBuf};

fn source(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The modules in their order, as paths such as `data::idx`.
fn modules() -> Vec<String> {
    let mut modules = Vec::new();
    let mut parent = None;
    for line in source("lib.rs").lines().map(str::trim) {
        let declared = ["pub mod ", "pub(crate) mod "].iter().find_map(|it| line.strip_prefix(it));
        if let Some(name) = declared {
            match (name.strip_suffix(" {"), name.strip_suffix(';'), &parent) {
                (Some(name), ..) => parent = Some(name.to_string()),
                (_, Some(name), Some(parent)) => modules.push(format!("{parent}::{name}")),
                (_, Some(name), None) => modules.push(name.to_string()),
                _ => panic!("src/lib.rs declares a module in an unknown way: {line}"),
            }
        } else if line == "}" {
            parent = None;
        }
    }
    modules
}

fn file_of(module: &str) -> PathBuf {
    PathBuf::from(module.replace("::", "/")).with_extension("rs")
}

/// The modules that a text names after `crate::`, comments left out.
fn imports(text: &str, modules: &[String]) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        let named = modules.iter().find(|module| {
            path.strip_prefix(module.as_str()).is_some_and(|rest| !rest.starts_with(is_word))
        });
        let shown: String = path.chars().take(30).collect();
        found.push(named.unwrap_or_else(|| panic!("crate::{shown} names no module")).clone());
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn no_module_imports_a_later_one() {
    let modules = modules();
    assert!(modules.len() > 20, "src/lib.rs could not be read: {modules:?}");
    let mut wrong = Vec::new();
    for (place, module) in modules.iter().enumerate() {
        let file = file_of(module);
        for import in imports(&source(&file), &modules) {
            if modules.iter().position(|other| *other == import).unwrap() > place {
                wrong.push(format!("src/{} imports {import}, a later one", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_is_a_module() {
    let modules: Vec<PathBuf> = modules().iter().map(|module| file_of(module)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = path.strip_prefix(&root).unwrap();
            let known = modules.iter().any(|module| module == file)
                || ["lib.rs", "main.rs"].iter().any(|name| file == Path::new(name));
            assert!(known, "src/{} is not declared in src/lib.rs", file.display());
        }
    }
}
