//! Finds OpenBLAS, and bakes version, commit and compiler into the binary for provenance.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    // docs.rs builds the documentation alone, on machines without OpenBLAS.
    let is_needed = std::env::var_os("DOCS_RS").is_none();
    if is_needed
        && let Err(error) = pkg_config::Config::new().cargo_metadata(false).probe("openblas")
    {
        let reason = match error {
            pkg_config::Error::Command { .. } => "the program pkg-config is not installed",
            _ => "pkg-config does not know a library called openblas",
        };
        println!(
            "cargo::error=rookie needs OpenBLAS, but {reason}: install it with \
             `apt-get install pkg-config libopenblas-dev` (Debian, Ubuntu), \
             `dnf install pkgconf-pkg-config openblas-devel` (Fedora) or \
             `brew install pkgconf openblas` (macOS; then put its lib/pkgconfig into \
             PKG_CONFIG_PATH), then build again"
        );
        return;
    }
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let compiler = output_of(&compiler, &["--version"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=ROOKIE_COMPILER={compiler}");
    println!("cargo:rustc-env=ROOKIE_COMMIT={}", commit());
}

/// The commit that is built, `-dirty` when tracked files differ from it; `unknown` outside git.
fn commit() -> String {
    // A copy of the sources inside another repository is not at that one's commit.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(std::path::PathBuf::from);
    let top = output_of("git", &["rev-parse", "--show-toplevel"]).map(std::path::PathBuf::from);
    let canonical =
        |path: Option<std::path::PathBuf>| path.and_then(|path| path.canonicalize().ok());
    let Some(commit) = output_of("git", &["rev-parse", "--short=12", "HEAD"])
        .filter(|_| canonical(here).is_some_and(|here| canonical(top) == Some(here)))
    else {
        return "unknown".into();
    };
    // Rebuild when the commit moves: HEAD names a branch, whose file (or the packed list) moves.
    for name in ["HEAD", "packed-refs"]
        .into_iter()
        .map(String::from)
        .chain(output_of("git", &["symbolic-ref", "HEAD"]))
    {
        if let Some(path) = output_of("git", &["rev-parse", "--git-path", &name])
            && std::path::Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for path in ["src", "assets", "grids", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let changes = output_of("git", &["status", "--porcelain", "--untracked-files=no"]);
    if changes.is_some_and(|text| !text.is_empty()) { format!("{commit}-dirty") } else { commit }
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
