//! `rookie export`: a model for programs other than rookie.

use std::path::{Path, PathBuf};

use crate::cli::reading::{ExportArgs, ExportFormat};
use crate::commands::common::{Status, parent_of};
use crate::error::{Error, Place, Result};
use crate::export::c::{c, c_memory, identifier};
use crate::export::exported::Exported;
use crate::export::npz::npz;
use crate::export::onnx::onnx;
use crate::grid::store::{make_folder, refuse_foreign_file, write_output};
use crate::network::params::Vectors;
use crate::progress::say;
use crate::train::model::Model;
use crate::train::predictor::{Member, Predictor};

/// Writes a model in another format.
///
/// # Errors
/// Where the model or the file are not as they must be.
pub fn run(args: &ExportArgs) -> Result<Status> {
    let predictor = Predictor::open(&args.model)?;
    let members = predictor.members.iter().map(exported).collect::<Result<Vec<_>>>()?;
    let out = file_of(args)?;
    refuse_foreign_file(&out, marks_of(args.to), "--out")?;
    let (bytes, note) = if args.to == ExportFormat::Onnx {
        let bytes = onnx(&members);
        (bytes.map_err(|it| Error::input(Place::file(&args.model), it))?, String::new())
    } else if let [(model, _)] = &members[..] {
        of_one(args.to, model, &predictor.members[0].model, &out)
    } else {
        let found = "an ensemble";
        return Err(Error::unexpected(Place::file(&args.model), found, "a model")
            .hint("export it with --to onnx, or one of its members"));
    };
    make_folder(parent_of(&out), "--out")?;
    write_output(&out, &bytes)?;
    say(&format!("wrote {} ({}{note})", out.display(), size(bytes.len())));
    Ok(Status::Done)
}

fn exported(member: &Member) -> Result<(Exported<'_>, u32)> {
    let exported = Exported::of(&member.model).ok_or_else(|| {
        let problem = "has no training moments (version 0.1 wrote none), so that its inputs depend \
                       on whole batches";
        Error::input(Place::file(&member.path), problem)
            .hint("train it again, or give it as --init to a run with a small learning rate")
    })?;
    Ok((exported, member.weight))
}

/// The bytes of a file with one model, and what else there is to say of them.
fn of_one(
    format: ExportFormat,
    exported: &Exported<'_>,
    model: &Model,
    out: &Path,
) -> (Vec<u8>, String) {
    match format {
        ExportFormat::Onnx => unreachable!("which takes several models"),
        ExportFormat::Npz => (npz(exported), String::new()),
        ExportFormat::Folded => {
            let params = model.folded().expect("moments, because there is an affine map");
            (params.to_safetensors(&Vectors::new(), &exported.about()), String::new())
        }
        ExportFormat::C => {
            let (constants, stack) = c_memory(exported);
            let note =
                format!("; compiled {} of constants, {} of stack", size(constants), size(stack));
            let stem = out.file_stem().unwrap_or_default().to_string_lossy();
            (c(exported, &identifier(&stem)).into_bytes(), note)
        }
    }
}

/// What stands in every file of a format, by which an earlier export is known. A model has no version.
fn marks_of(format: ExportFormat) -> &'static [&'static str] {
    match format {
        ExportFormat::Onnx => &["\x12\x06rookie"],
        ExportFormat::Npz => &["feature_scale.npy", "activation.npy", "w1.npy"],
        ExportFormat::Folded => &["\"rookie\":\""],
        ExportFormat::C => &["/* A classifier, written by rookie"],
    }
}

/// The file to write: the one asked for, else one beside the model.
fn file_of(args: &ExportArgs) -> Result<PathBuf> {
    let ending = args.to.ending();
    let Some(out) = &args.out else { return Ok(args.model.with_extension(ending)) };
    let last = ending.rsplit('.').next().unwrap_or_default();
    if out.extension().is_none_or(|end| end != last) {
        let found = format!("`{}`", out.display());
        let expected = format!("a name that ends in .{last}");
        return Err(Error::unexpected(Place::flag("--out"), found, expected));
    }
    Ok(out.clone())
}

/// A number of bytes for people.
fn size(bytes: usize) -> String {
    match bytes as f64 {
        bytes if bytes < 1e3 => format!("{bytes} bytes"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes => format!("{:.1} MB", bytes / 1e6),
    }
}
