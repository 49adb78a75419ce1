//! `rookie plot`: the paper's figures from finished runs and models.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1};

use crate::cli::{Picture, PlotArgs, PlotCurvesArgs, PlotOutput, PlotWeightsArgs};
use crate::commands::common::{Status, load};
use crate::error::{Error, Place, Result};
use crate::grid::store::{curve_of, make_folder, write_whole};
use crate::network::gemm::{gemm, openblas};
use crate::progress::say;
use crate::report::figures::{Format, Sheet, curves, rectangle};
use crate::report::pca::principal_components;
use crate::train::model::Model;
use crate::train::outcome::read_curve;

/// How many principal components there are in figure 6a of the paper.
const COMPONENTS: usize = 20;

/// Draws figures.
///
/// # Errors
/// Where what is to be drawn cannot be read, or the pictures not be written.
pub fn run(args: &PlotArgs) -> Result<Status> {
    match &args.what {
        Picture::Curves(args) => plot_curves(args),
        Picture::Weights(args) => plot_weights(args),
    }
}

/// Gives a figure's bytes.
type Draw<'a> = &'a dyn Fn(Format) -> Vec<u8>;

/// Writes each figure in each format asked for.
fn write(output: &PlotOutput, beside: &Path, figures: &[(&str, Draw<'_>)]) -> Result<Status> {
    let folder = output.out.clone().unwrap_or_else(|| beside.join("figures"));
    make_folder(&folder, "--out")?;
    let formats: Vec<Format> = output.formats().collect();
    for (name, draw) in figures {
        for &format in &formats {
            let path = folder.join(format!("{name}.{}", format.extension()));
            write_whole(&path, &draw(format))?;
            say(&format!("wrote {}", path.display()));
        }
    }
    Ok(Status::Done)
}

/// The folder that a file or folder stands in, `.` for a bare name.
fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")).into()
}

fn plot_curves(args: &PlotCurvesArgs) -> Result<Status> {
    let mut runs = Vec::new();
    for folder in &args.runs {
        let rows = read_curve(&curve_of(folder))?;
        let name = folder.canonicalize().ok();
        let name = name.as_deref().unwrap_or(folder).file_name().unwrap_or_default();
        runs.push((name.to_string_lossy().into_owned(), rows));
    }
    let beside = if runs.len() == 1 { args.runs[0].clone() } else { parent(&args.runs[0]) };
    write(&args.output, &beside, &[("curves", &|format| curves(&runs, format))])
}

fn plot_weights(args: &PlotWeightsArgs) -> Result<Status> {
    openblas()?;
    let model = Model::read(&args.model)?;
    let names = class_names(args, &model)?;
    let layers: Vec<&Array2<f32>> = model.params.layers.iter().map(|l| &l.weights).collect();
    let (first, last) = (layers[0], layers[layers.len() - 1]);
    let components = principal_components(first.view(), COMPONENTS)?;
    let product = layers[1..].iter().fold(first.clone(), |product, layer| {
        let mut next = Array2::zeros((product.nrows(), layer.ncols()));
        gemm(1.0, product.view(), layer.view(), 0.0, next.view_mut());
        next
    });
    let (depth, units) = (layers.len(), first.ncols());

    let sheet = |title: String, captions, columns: Vec<ArrayView1<'_, f32>>, per_row, zoom| Sheet {
        title,
        captions,
        tiles: columns.into_iter().map(|column| rectangle(column).0).collect(),
        columns: per_row,
        zoom,
    };
    let per_row = (units as f64).sqrt().mul_add(1.25, 0.5).floor().max(1.0) as usize;
    let columns = first.columns().into_iter().collect();
    let of_units = sheet(
        format!("W1: what each of the {units} units of the first layer looks for"),
        Vec::new(),
        columns,
        per_row,
        2,
    );
    let shares = components.variance_shares.iter();
    let captions =
        shares.enumerate().map(|(i, share)| format!("{}: {:.1} %", i + 1, 100.0 * share));
    let captions = captions.collect();
    let columns = components.directions.rows().into_iter().collect();
    let title = "Principal components of W1's columns, with their share of its variance";
    let of_components = sheet(title.into(), captions, columns, 5, 5);
    let columns = last.columns().into_iter().collect();
    let padded = if rectangle(last.column(0)).1 { " (padded with zeros)" } else { "" };
    let (height, width) = rectangle(last.column(0)).0.dim();
    let title =
        format!("W{depth}: each class's {} weights as {height} × {width}{padded}", last.nrows());
    let of_classes = sheet(title, names.clone(), columns, 5, 7);
    let columns = product.columns().into_iter().collect();
    let factors: Vec<String> = (1..=depth).map(|layer| format!("W{layer}")).collect();
    let title = format!("{}: what speaks for each class, pixel by pixel", factors.join(" · "));
    let of_product = sheet(title, names, columns, 5, 5);
    write(
        &args.output,
        &parent(&args.model),
        &[
            ("w1", &|format| of_units.draw(format)),
            ("w1_components", &|format| of_components.draw(format)),
            ("w_last", &|format| of_classes.draw(format)),
            ("w_product", &|format| of_product.draw(format)),
        ],
    )
}

/// What the classes show, by their number where no data set tells.
fn class_names(args: &PlotWeightsArgs, model: &Model) -> Result<Vec<String>> {
    let numbers = || (0..model.classes()).map(|class| class.to_string()).collect();
    let asked_for = args.data.data.is_some();
    match load(args.data.data.as_deref()) {
        Ok(dataset) if dataset.classes == model.classes() => {
            Ok((0..dataset.classes).map(|class| dataset.class_name(class)).collect())
        }
        Ok(dataset) if asked_for => Err(Error::unexpected(
            Place::flag("--data"),
            format!("{} classes", dataset.classes),
            format!("{}, as the model has", model.classes()),
        )),
        Err(error) if asked_for => Err(error),
        _ => Ok(numbers()),
    }
}
