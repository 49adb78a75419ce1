//! What pictures tell of a model: its weights (paper fig. 5 and 6) and where it is most wrong.

use ndarray::{Array2, ArrayView1};

use crate::data::labelled::Labelled;
use crate::error::{Result, counted};
use crate::figures::pca::principal_components;
use crate::figures::sheets::{Shades, Sheet, rectangle};
use crate::network::gemm::gemm;
use crate::results::evaluation::Mistake;
use crate::train::model::Model;

/// How many principal components there are in figure 6a of the paper.
const COMPONENTS: usize = 20;

/// The sheets of a model's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Every column of W1 as an image (fig. 5).
    pub first: Sheet,
    /// The principal components of W1's columns (fig. 6a).
    pub components: Sheet,
    /// Every column of the last layer as a rectangle (fig. 6b).
    pub last: Sheet,
    /// Every column of the product of all layers as an image (fig. 6c).
    pub product: Sheet,
}

/// Draws a model's weights; `names` are those of its classes, `shape` the height and width of its
/// images, which are taken for as near to a square as they can be where it is not known.
///
/// # Errors
/// Where the decomposition of W1 fails.
pub fn weights(model: &Model, names: &[String], shape: Option<(usize, usize)>) -> Result<Weights> {
    let image = |column: ArrayView1<'_, f32>| {
        let shaped = shape.and_then(|shape| Array2::from_shape_vec(shape, column.to_vec()).ok());
        shaped.unwrap_or_else(|| rectangle(column).0)
    };
    let square = |column: ArrayView1<'_, f32>| rectangle(column).0;
    let layers: Vec<&Array2<f32>> = model.params.layers.iter().map(|l| &l.weights).collect();
    let (first, last) = (layers[0], layers[layers.len() - 1]);
    let (depth, units) = (layers.len(), first.ncols());
    let sheet = |title: String, captions: &[String], tiles: Vec<Array2<f32>>| Sheet {
        title,
        captions: captions.to_vec(),
        tiles,
        columns: 5,
        zoom: 5,
        shades: Shades::Signed,
    };

    let of_units = sheet(
        match units {
            1 => "W1: what the one unit of the first layer looks for".to_string(),
            _ => format!("W1: what each of the {units} units of the first layer looks for"),
        },
        &[],
        first.columns().into_iter().map(image).collect(),
    );
    let per_row = (units as f64).sqrt().mul_add(1.25, 0.5).floor().max(1.0) as usize;
    let components = principal_components(first.view(), COMPONENTS)?;
    let shares = components.variance_shares.iter().enumerate();
    let captions: Vec<String> =
        shares.map(|(i, share)| format!("{}: {:.1} %", i + 1, 100.0 * share)).collect();
    let (tile, padded) = rectangle(last.column(0));
    let (height, width) = tile.dim();
    let padded = if padded { " (padded with zeros)" } else { "" };
    let product = layers[1..].iter().fold(first.clone(), |product, layer| {
        let mut next = Array2::zeros((product.nrows(), layer.ncols()));
        gemm(1.0, product.view(), layer.view(), 0.0, next.view_mut());
        next
    });
    let factors: Vec<String> = (1..=depth).map(|layer| format!("W{layer}")).collect();
    Ok(Weights {
        first: Sheet { columns: per_row, zoom: 2, ..of_units },
        components: sheet(
            "Principal components of W1's columns, with their share of its variance".into(),
            &captions,
            components.directions.rows().into_iter().map(image).collect(),
        ),
        last: Sheet {
            zoom: 7,
            ..sheet(
                format!(
                    "W{depth}: each class's {} weights as {height} × {width}{padded}",
                    last.nrows()
                ),
                names,
                last.columns().into_iter().map(square).collect(),
            )
        },
        product: Sheet {
            shades: Shades::SignedEach,
            ..sheet(
                format!("{}: effect of each pixel on each class", factors.join(" · ")),
                names,
                product.columns().into_iter().map(image).collect(),
            )
        },
    })
}

/// The images of the test set that a model took for another class, its most confident mistakes
/// first.
pub fn errors(images: &Labelled, mistakes: &[Mistake], names: &[String], top: usize) -> Sheet {
    let shown = &mistakes[..top.min(mistakes.len())];
    let caption = |mistake: &Mistake| {
        let Mistake { index, class, taken_for, probability } = *mistake;
        // Not rounded up: 100 % is what the model is certain of.
        let sure = (1e4 * probability).floor() / 100.0;
        format!("{index}: {}\nas {}, {sure:.2} %", names[class], names[taken_for])
    };
    let tile = |mistake: &Mistake| {
        let pixels = images.features.row(mistake.index);
        let shape = (images.height, images.width);
        Array2::from_shape_vec(shape, pixels).expect("an image has its height times its width")
    };
    Sheet {
        title: format!(
            "{} of {}, the most confident first: image (from 0) and class, predicted class, probability",
            shown.len(),
            counted(mistakes.len(), "mistake")
        ),
        captions: shown.iter().map(caption).collect(),
        tiles: shown.iter().map(tile).collect(),
        columns: 5,
        zoom: 5,
        shades: Shades::Grey,
    }
}
