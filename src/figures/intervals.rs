//! Charts of accuracies with their intervals: of single runs, and of configurations.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::figures::canvas::{
    Area, COLOURS, Drawn, Figure, Format, GRID, INK, decimals, render, text,
};
use crate::figures::charts::{HEAD, head, level_at};
use crate::results::columns::title;
use crate::results::comparison::Comparison;
use crate::results::configuration::Configuration;

/// A row of [`intervals`].
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// The run or the configuration.
    pub name: String,
    /// Its test accuracy or the mean of its runs, a fraction.
    pub accuracy: f64,
    /// The ends of its 95 % interval, or of its standard deviation.
    pub ends: (f64, f64),
    /// Whether the validation set would have chosen it.
    pub chosen: bool,
}

/// What each row of [`intervals`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// A run with its 95 % interval.
    Runs,
    /// The mean of a configuration with the standard deviation over its folds and seeds.
    Configurations,
}

/// Accuracies with their intervals, the first on top.
pub fn intervals(rows: &[Interval], of: Rows, format: Format) -> Vec<u8> {
    let (one, what, ends) = match of {
        Rows::Runs => ("run", "Test accuracy", "with 95 % intervals"),
        Rows::Configurations => {
            ("configuration", "Mean test accuracy", "± standard deviation over folds and seeds")
        }
    };
    let best = if rows.len() == 1 { one.into() } else { rows.len().to_string() };
    let title = format!("{what} of the best {best}, {ends}");
    let subtitle = if rows.iter().any(|row| row.chosen) {
        format!("the square is the {one} that validation accuracy would have chosen")
    } else {
        format!("the {one} that validation accuracy would have chosen is not among them")
    };
    let row = |row: &Interval| {
        let shape = if row.chosen { Shape::Square } else { Shape::Circle };
        let marks = vec![(shape, row.accuracy)];
        Whisker { name: row.name.clone(), ends: Some(row.ends), marks }
    };
    let rows = rows.iter().map(row).collect();
    render(&Whiskers { title, subtitle, rows }, format)
}

/// Configurations with their 95 % intervals, the first on top: the mean, every run, and what was published
/// of it.
pub fn configurations(comparison: &Comparison, format: Format) -> Vec<u8> {
    let varying = comparison.varying();
    let row = |of: &Configuration| {
        let cells: Vec<&str> = varying.iter().map(|&column| &of.cells[column][..]).collect();
        let (lost, all) = of.lost();
        let lost = match (lost, of.failed) {
            (0, failed) if failed > 0 && all == 0 => format!(" ({failed} of {failed} failed)"),
            (0, _) => String::new(),
            _ => format!(" ({lost} of {all} lost)"),
        };
        let runs = of.tests().into_iter().map(|accuracy| (Shape::Ring, accuracy));
        let mean = (!of.kept.is_empty()).then(|| (Shape::Circle, of.test().0));
        let published = of.published.map(|published| (Shape::Diamond, published.test));
        // Runs last but one, so that the mean hides none.
        let marks = mean.into_iter().chain(runs).chain(published).collect();
        Whisker { name: cells.join(" · ") + &lost, ends: of.interval(), marks }
    };
    let columns = varying.iter().map(|&column| title(&comparison.names[column], " "));
    let columns: Vec<String> = columns.collect();
    let rows: Vec<Whisker> = comparison.configurations.iter().map(row).collect();
    let has = |shape| rows.iter().any(|row| row.marks.iter().any(|mark| mark.0 == shape));
    let mut subtitle = String::from("point: mean of the runs, ring: a run");
    if has(Shape::Diamond) {
        subtitle += ", diamond: published";
    }
    if rows.iter().any(|row| row.ends.is_none()) {
        subtitle += "; a row without a point has no run that counts";
    }
    let title = match &columns[..] {
        [] => "Test accuracy with 95 % intervals".to_string(),
        columns => format!("Test accuracy by {}, with 95 % intervals", columns.join(" · ")),
    };
    render(&Whiskers { title, subtitle, rows }, format)
}

/// How an accuracy is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Circle,
    Square,
    Ring,
    Diamond,
}

/// A row of [`Whiskers`]: an interval, and marks on it; all fractions.
struct Whisker {
    name: String,
    /// None where no run counts.
    ends: Option<(f64, f64)>,
    marks: Vec<(Shape, f64)>,
}

/// Intervals among each other, the first on top.
struct Whiskers {
    title: String,
    subtitle: String,
    rows: Vec<Whisker>,
}

impl Whiskers {
    /// The room that the longest name needs.
    fn names_width(&self) -> u32 {
        let widest = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        30 + 9 * widest as u32
    }
}

impl Figure for Whiskers {
    fn size(&self) -> (u32, u32) {
        (
            1200 + self.names_width().saturating_sub(360),
            HEAD + 80 + 44 * self.rows.len().max(2) as u32,
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        head(area, &self.title, &self.subtitle)?;
        let area = area.split_vertically(HEAD).1;
        let count = self.rows.len() as f64;
        let marks = self.rows.iter().flat_map(|row| row.marks.iter().map(|mark| mark.1));
        let ends = self.rows.iter().filter_map(|row| row.ends);
        let all = ends.flat_map(<[f64; 2]>::from).chain(marks);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| {
            (low.min(100.0 * end), high.max(100.0 * end))
        });
        let (low, high) = if low < high { (low, high) } else { (0.0, 100.0) };
        let margin = 0.05 * (high - low);
        let digits = decimals(high - low);
        let names: Vec<String> = self.rows.iter().rev().map(|row| row.name.clone()).collect();
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .x_label_area_size(54)
            .y_label_area_size(self.names_width())
            .build_cartesian_2d(low - margin..high + margin, -0.5..count - 0.5)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc("test accuracy (%)")
            .x_label_formatter(&|percent| format!("{percent:.digits$}"))
            .y_labels(names.len() + 1)
            .y_label_formatter(&|at| level_at(&names, *at))
            .label_style(text(17, HPos::Left, VPos::Top))
            .axis_desc_style(text(19, HPos::Left, VPos::Top))
            .draw()?;
        for (place, row) in self.rows.iter().rev().enumerate() {
            let at = |accuracy: f64| (100.0 * accuracy, place as f64);
            let is_chosen = row.marks.iter().any(|mark| mark.0 == Shape::Square);
            let colour = if is_chosen { COLOURS[1] } else { COLOURS[0] };
            let whisker = row.ends.map(|(low, high)| [at(low), at(high)]);
            chart.draw_series(LineSeries::new(
                whisker.into_iter().flatten(),
                colour.stroke_width(3),
            ))?;
            for &(shape, accuracy) in &row.marks {
                let middle = EmptyElement::at(at(accuracy));
                match shape {
                    Shape::Circle => {
                        let circle = Circle::new((0, 0), 7, colour.filled());
                        chart.draw_series(std::iter::once(middle + circle))?;
                    }
                    Shape::Square => {
                        let square = Rectangle::new([(-7, -7), (7, 7)], colour.filled());
                        chart.draw_series(std::iter::once(middle + square))?;
                    }
                    Shape::Ring => {
                        let (inside, around) = (WHITE.filled(), colour.stroke_width(2));
                        let ring = middle
                            + Circle::new((0, 0), 5, inside)
                            + Circle::new((0, 0), 5, around);
                        chart.draw_series(std::iter::once(ring))?;
                    }
                    Shape::Diamond => {
                        let corners = vec![(0, -9), (9, 0), (0, 9), (-9, 0)];
                        let diamond = middle + Polygon::new(corners, COLOURS[1].filled());
                        chart.draw_series(std::iter::once(diamond))?;
                    }
                }
            }
        }
        Ok(())
    }
}
