//! Charts of a grid and of a model's errors, and the functions of paper fig. 2.

use ndarray::{Array1, Array2, ArrayView2};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::error::counted;
use crate::figures::canvas::{
    Area, COLOURS, Chart, Drawn, Figure, Format, GRID, INK, colour_of, decimals, draw_legend,
    render, text,
};
use crate::network::loss::softmax_rows;
use crate::network::mlp::Activation;
use crate::results::effects::{Effects, Factor, Placed};
use crate::statistics::{median, quantile};

/// Width and height of a panel where several stand side by side.
const PANEL: (u32, u32) = (480, 440);
/// Panels in a row.
const PER_ROW: usize = 3;
/// Room for a figure's title and a line below it.
pub(super) const HEAD: u32 = 84;
const MARGIN: i32 = 24;

/// A title and, smaller, what else a reader should know.
pub(super) fn head<B: DrawingBackend>(area: &Area<B>, title: &str, note: &str) -> Drawn<B> {
    area.fill(&WHITE)?;
    area.draw_text(title, &text(24, HPos::Left, VPos::Top), (MARGIN, 18))?;
    area.draw_text(note, &text(18, HPos::Left, VPos::Top), (MARGIN, 52))
}

/// What stands at a whole number of an axis of levels, nothing elsewhere.
pub(super) fn level_at(levels: &[String], at: f64) -> String {
    let nearest = at.round();
    let is_level = (at - nearest).abs() < 1e-6 && nearest >= 0.0;
    let level = is_level.then(|| levels.get(nearest as usize)).flatten();
    level.cloned().unwrap_or_default()
}

/// Test accuracy against each hyper-parameter: every run a point, the median of each value a bar.
pub fn main_effects(effects: &Effects, format: Format) -> Vec<u8> {
    render(&MainEffects { effects }, format)
}

struct MainEffects<'a> {
    effects: &'a Effects,
}

impl MainEffects<'_> {
    /// The range of accuracies shown, in percent, and how many runs lie below it: those that are
    /// so far off that the others could not be distinguished.
    fn range(&self) -> (f64, f64, usize) {
        let all = self.effects.accuracies(&[]);
        let at = |share| quantile(&all, share).map(|accuracy| 100.0 * accuracy);
        let Some(high) = at(1.0) else { return (0.0, 100.0, 0) };
        let quartiles = at(0.25).zip(at(0.75));
        let (first, third) = quartiles.expect("where there is a least, there are quartiles");
        let far_off = first - 3.0 * (third - first).max(0.1);
        let percent = all.iter().map(|accuracy| 100.0 * accuracy);
        let (below, shown): (Vec<f64>, Vec<f64>) = percent.partition(|percent| *percent < far_off);
        let low = shown.into_iter().fold(high, f64::min);
        let margin = 0.06 * (high - low).max(0.1);
        (low - margin, high + margin, below.len())
    }

    fn draw_factor<B: DrawingBackend>(&self, area: &Area<B>, factor: usize) -> Drawn<B> {
        let Factor { name, levels, scale } = &self.effects.factors[factor];
        // Levels of a range are told by their edges, half a level to the left.
        let left = if scale.is_some() { 0.0 } else { -0.5 };
        let edges: Option<Vec<String>> =
            scale.map(|scale| (0..=levels.len()).map(|bin| scale.edge(bin)).collect());
        let labels = edges.as_ref().unwrap_or(levels);
        let (low, high, _) = self.range();
        let digits = decimals(high - low);
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .x_label_area_size(54)
            .y_label_area_size(76)
            .build_cartesian_2d(left..levels.len() as f64 + left, low..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels((levels.len() + 1).min(12))
            .x_label_formatter(&|at| level_at(labels, *at))
            .x_desc(name)
            .y_desc("test accuracy (%)")
            .y_label_formatter(&|percent| format!("{percent:.digits$}"))
            .label_style(text(17, HPos::Left, VPos::Top))
            .axis_desc_style(text(19, HPos::Left, VPos::Top))
            .draw()?;
        for level in 0..levels.len() {
            self.draw_level(&mut chart, (factor, level), (left + 0.5, low))?;
        }
        Ok(())
    }

    fn draw_level<B: DrawingBackend>(
        &self,
        chart: &mut Chart<'_, B>,
        chosen: (usize, usize),
        (shift, low): (f64, f64),
    ) -> Drawn<B> {
        let accuracies = self.effects.accuracies(&[chosen]);
        let place = chosen.1 as f64 + shift;
        let points = self.effects.points(chosen).into_iter();
        let points = points.map(|(place, accuracy)| (place + shift, 100.0 * accuracy));
        let (shown, below): (Vec<_>, Vec<_>) = points.partition(|(_, percent)| *percent >= low);
        let faint = COLOURS[0].mix(0.45).filled();
        chart.draw_series(shown.into_iter().map(|at| Circle::new(at, 4, faint)))?;
        let lowest = below.into_iter().map(|(x, _)| {
            // Upside down: it points to where the run is.
            let triangle = vec![(-5, -9), (5, -9), (0, -1)];
            EmptyElement::at((x, low)) + Polygon::new(triangle, COLOURS[1])
        });
        chart.draw_series(lowest)?;
        if let Some(median) = median(&accuracies).filter(|median| 100.0 * median >= low) {
            let bar = vec![(place - 0.34, 100.0 * median), (place + 0.34, 100.0 * median)];
            chart.draw_series(LineSeries::new(bar, INK.stroke_width(4)))?;
        }
        Ok(())
    }
}

impl Figure for MainEffects<'_> {
    fn size(&self) -> (u32, u32) {
        let panels = self.effects.factors.len().max(1);
        let rows = panels.div_ceil(PER_ROW) as u32;
        // A single panel needs the room of two for its title.
        (panels.clamp(2, PER_ROW) as u32 * PANEL.0, HEAD + rows * PANEL.1)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let (_, _, below) = self.range();
        let (shown, all) = (self.effects.accuracies(&[]).len(), self.effects.runs.len());
        let mut note = "a point is a run, a bar the median".to_string();
        if shown < all {
            note += &format!("; {shown} of {all} runs trained to the end");
        }
        if below > 0 {
            note += &format!("; a triangle is a run that lies below the picture ({below} in all)");
        }
        head(area, "Test accuracy against each hyper-parameter", &note)?;
        let (_, panels) = area.split_vertically(HEAD);
        for factor in 0..self.effects.factors.len() {
            let (x, y) = ((factor % PER_ROW) as u32, (factor / PER_ROW) as u32);
            let panel = panels.clone().shrink((x * PANEL.0, y * PANEL.1), PANEL);
            self.draw_factor(&panel, factor)?;
        }
        Ok(())
    }
}

/// A table of coloured cells: a heat map, a confusion matrix.
struct Cells<'a> {
    title: String,
    note: String,
    width: u32, // of a cell
    rows: (&'a str, &'a [String]),
    columns: (&'a str, &'a [String]),
    /// For each cell its colour, from 0 to 1, and its text; nothing where there is nothing.
    content: Array2<Option<(f64, String)>>,
}

impl Cells<'_> {
    /// The least width of a cell, and its height.
    const CELL: (u32, u32) = (92, 56);

    /// Where the cells begin: to the right of the rows' names, below the title.
    fn corner(&self) -> (u32, u32) {
        let widest = self.rows.1.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        (MARGIN as u32 + 44 + 10 * widest as u32, HEAD)
    }

    /// The lower right end of the cells.
    fn end(&self) -> (u32, u32) {
        let (x, y) = self.corner();
        let (rows, columns) = (self.rows.1.len() as u32, self.columns.1.len() as u32);
        (x + columns * self.width, y + rows * Self::CELL.1)
    }
}

impl Figure for Cells<'_> {
    fn size(&self) -> (u32, u32) {
        let longest = self.title.chars().count().max(self.note.chars().count() * 3 / 4) as u32;
        let (x, y) = self.end();
        (x.max(12 * longest) + 2 * MARGIN as u32, y + 84)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        head(area, &self.title, &self.note)?;
        let ((left, top), (right, bottom)) = (self.corner(), self.end());
        let (width, height) = (self.width as i32, Self::CELL.1 as i32);
        let centred = |size| text(size, HPos::Center, VPos::Center);
        for ((row, column), cell) in self.content.indexed_iter() {
            let Some((share, label)) = cell else { continue };
            let at = (left as i32 + column as i32 * width, top as i32 + row as i32 * height);
            let [r, g, b] = colour_of((2.0 * share - 1.0) as f32);
            let box_ = [at, (at.0 + width - 2, at.1 + height - 2)];
            area.draw(&Rectangle::new(box_, RGBColor(r, g, b).filled()))?;
            // Cividis is dark below its middle.
            let ink = if *share < 0.5 { WHITE } else { BLACK };
            let style = centred(17).color(&ink);
            area.draw_text(label, &style, (at.0 + width / 2 - 1, at.1 + height / 2 - 1))?;
        }
        for (row, name) in self.rows.1.iter().enumerate() {
            let at = (left as i32 - 10, top as i32 + row as i32 * height + height / 2);
            area.draw_text(name, &text(17, HPos::Right, VPos::Center), at)?;
        }
        for (column, name) in self.columns.1.iter().enumerate() {
            let at = (left as i32 + column as i32 * width + width / 2, bottom as i32 + 16);
            area.draw_text(name, &centred(17), at)?;
        }
        let (middle_x, middle_y) = (left.midpoint(right) as i32, top.midpoint(bottom) as i32);
        area.draw_text(self.columns.0, &centred(19), (middle_x, bottom as i32 + 48))?;
        let upright = centred(19).transform(FontTransform::Rotate270);
        area.draw_text(self.rows.0, &upright, (MARGIN + 6, middle_y))
    }
}

/// The most levels that a factor of a heat map may have.
pub const MOST_LEVELS: usize = 40;

/// The median test accuracy of the runs that have each two values of two factors, given by index.
pub fn heat_map(effects: &Effects, (down, across): (usize, usize), format: Format) -> Vec<u8> {
    let (rows, columns) = (&effects.factors[down], &effects.factors[across]);
    let medians =
        Array2::from_shape_fn((rows.levels.len(), columns.levels.len()), |(row, column)| {
            median(&effects.accuracies(&[(down, row), (across, column)]))
        });
    let all: Vec<f64> = medians.iter().flatten().copied().collect();
    let (low, high) = (quantile(&all, 0.0).unwrap_or(0.0), quantile(&all, 1.0).unwrap_or(1.0));
    let share = |accuracy: f64| if high > low { (accuracy - low) / (high - low) } else { 0.5 };
    let cell = |accuracy: &Option<f64>| {
        accuracy.map(|accuracy| (share(accuracy), format!("{:.2}", 100.0 * accuracy)))
    };
    let is_in = |run: &&Placed| run.levels[down].is_some() && run.levels[across].is_some();
    let shown = effects.runs.iter().filter(is_in);
    let runs = shown.filter(|run| run.test_accuracy.is_some()).count();
    let cells = Cells {
        title: format!("Median test accuracy (%) by {} and {}", rows.name, columns.name),
        note: format!(
            "of {} that trained to the end; lighter is better, empty cells have no finished run",
            counted(runs, "run")
        ),
        width: Cells::CELL.0.max(if columns.scale.is_some() { 128 } else { 0 }),
        rows: (&rows.name, &rows.levels),
        columns: (&columns.name, &columns.levels),
        content: medians.map(cell),
    };
    render(&cells, format)
}

/// How many of each class (rows) are predicted as which class (columns): counts in the cells, shares of
/// the row as colours, on a root's scale so that few are seen too.
pub fn confusion_matrix(
    confusion: ArrayView2<'_, usize>, // (C, C)
    names: &[String],
    format: Format,
) -> Vec<u8> {
    let count: usize = confusion.sum();
    let correct: usize = confusion.diag().sum();
    let content = Array2::from_shape_fn(confusion.dim(), |(row, column)| {
        let (count, of) = (confusion[(row, column)], confusion.row(row).sum());
        Some(((count as f64 / of.max(1) as f64).sqrt(), count.to_string()))
    });
    let cells = Cells {
        title: "Confusion matrix".to_string(),
        note: format!("{correct} of {count} are classified correctly; lighter is more"),
        width: Cells::CELL.0,
        rows: ("true class", names),
        columns: ("predicted class", names),
        content,
    };
    render(&cells, format)
}

/// The activation functions, and softmax of two classes (paper fig. 2).
pub fn activations(format: Format) -> Vec<u8> {
    render(&Activations, format)
}

struct Activations;

impl Activations {
    /// Draws functions of a number from −4 to 4, each with its name, dashed if not the first.
    fn draw_functions<B: DrawingBackend>(
        area: &Area<B>,
        (title, axes): (&str, [&str; 2]),
        (range, legend_at): (std::ops::Range<f64>, SeriesLabelPosition),
        functions: Vec<(String, Vec<(f64, f64)>)>,
    ) -> Drawn<B> {
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(24, HPos::Left, VPos::Top))
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(72)
            .build_cartesian_2d(-4.0..4.0, range)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc(axes[0])
            .y_desc(axes[1])
            .label_style(text(18, HPos::Left, VPos::Top))
            .axis_desc_style(text(20, HPos::Left, VPos::Top))
            .draw()?;
        for (index, (name, points)) in functions.into_iter().enumerate() {
            let style = COLOURS[index].stroke_width(3);
            // Solid, then dashed ever shorter.
            let dash = (index > 0).then(|| 16 / index as i32);
            let legend = move |(x, y)| {
                let line = [(x, y), (x + 34, y)];
                DashedPathElement::new(line, dash.unwrap_or(34), dash.map_or(0, |_| 5), style)
            };
            let drawn = match dash {
                None => chart.draw_series(LineSeries::new(points, style))?,
                Some(dash) => chart.draw_series(DashedLineSeries::new(points, dash, 5, style))?,
            };
            drawn.label(name).legend(legend);
        }
        draw_legend(&mut chart, legend_at)
    }
}

impl Figure for Activations {
    fn size(&self) -> (u32, u32) {
        (1600, 640)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(800);
        let inputs: Vec<f32> = (-400..=400).map(|x| x as f32 / 100.0).collect();
        let line = |values: Vec<f32>| {
            inputs.iter().zip(values).map(|(&x, y)| (f64::from(x), f64::from(y))).collect()
        };
        let of = |activation: Activation| {
            let mut values = inputs.clone();
            activation.forward(1.0, &mut values, &vec![0.0; inputs.len()]);
            (activation.name().to_string(), line(values))
        };
        let functions = Activation::ALL.into_iter().map(of).collect();
        let named = ("Activations of the hidden layers", ["z", "activation(z)"]);
        let range = (-1.2..4.2, SeriesLabelPosition::UpperLeft);
        Self::draw_functions(&left, named, range, functions)?;
        let mut classes =
            Array2::from_shape_fn(
                (inputs.len(), 2),
                |(row, class)| {
                    if class == 0 { inputs[row] } else { 0.0 }
                },
            );
        softmax_rows(classes.view_mut(), Array1::zeros(2).view(), None, |_| {});
        let of = |class: usize| {
            (format!("of class {}", class + 1), line(classes.column(class).to_vec()))
        };
        let classes = vec![of(0), of(1)];
        let named = ("Softmax of two classes", ["z1 − z2", "probability"]);
        let range = (-0.05..1.05, SeriesLabelPosition::MiddleLeft);
        Self::draw_functions(&right, named, range, classes)
    }
}
