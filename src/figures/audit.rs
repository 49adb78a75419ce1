//! What rules that stop runs cost and lose: regret over the share of the epochs.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::figures::canvas::{
    Area, COLOURS, Drawn, Figure, Format, GRID, INK, decimals, render, text,
};
use crate::figures::charts::{HEAD, head};
use crate::results::audit_text::Point;
use crate::results::audited::Rule;

/// Width and height of the chart without its list of rules.
const CHART: (u32, u32) = (820, 560);
/// The room for the list of rules beside it.
const LIST: u32 = 360;

/// Each rule as a point for its regret in validation and a ring for that in test, over its share of epochs.
pub fn regret(points: &[Point], format: Format) -> Vec<u8> {
    render(&Regret { points }, format)
}

struct Regret<'a> {
    points: &'a [Point],
}

fn colour_of(rule: &Rule) -> RGBColor {
    match rule {
        Rule::Full => INK,
        Rule::Halving(_) => COLOURS[0],
        Rule::Median { .. } => COLOURS[1],
        Rule::Asha { .. } => COLOURS[2],
        Rule::Patience(_) => COLOURS[3],
    }
}

impl Figure for Regret<'_> {
    fn size(&self) -> (u32, u32) {
        (CHART.0 + LIST, HEAD + CHART.1.max(40 + 30 * self.points.len() as u32))
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let note = "point: validation accuracy, ring: test accuracy; left and low is good";
        head(area, "Regret against the share of the full grid's epochs", note)?;
        let (area, list) = area.split_vertically(HEAD).1.split_horizontally(CHART.0);
        let regrets = self.points.iter().flat_map(|it| [Some(it.validation), it.test]).flatten();
        let (low, high) = regrets.fold((0.0_f64, 0.0_f64), |(low, high), it| {
            (low.min(100.0 * it), high.max(100.0 * it))
        });
        let margin = 0.08 * (high - low).max(0.1);
        let digits = decimals(high - low + 2.0 * margin);
        let most = self.points.iter().map(|it| it.share).fold(0.0, f64::max).max(0.2);
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .x_label_area_size(54)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..1.05 * most, low - margin..high + margin)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc("share of the epochs")
            .x_label_formatter(&|share| format!("{share:.2}"))
            .y_desc("regret (points)")
            .y_label_formatter(&|regret| format!("{regret:.digits$}"))
            .label_style(text(17, HPos::Left, VPos::Top))
            .axis_desc_style(text(19, HPos::Left, VPos::Top))
            .draw()?;
        chart
            .draw_series(LineSeries::new([(0.0, 0.0), (1.05 * most, 0.0)], INK.stroke_width(1)))?;
        for (number, point) in (1..).zip(self.points) {
            let colour = colour_of(&point.rule);
            let at = |regret: f64| (point.share, 100.0 * regret);
            if let Some(test) = point.test {
                let line = [at(point.validation), at(test)];
                chart.draw_series(LineSeries::new(line, colour.mix(0.5).stroke_width(1)))?;
                let ring = EmptyElement::at(at(test))
                    + Circle::new((0, 0), 5, WHITE.filled())
                    + Circle::new((0, 0), 5, colour.stroke_width(2));
                chart.draw_series(std::iter::once(ring))?;
            }
            let label = text(16, HPos::Left, VPos::Bottom);
            let dot = EmptyElement::at(at(point.validation))
                + Circle::new((0, 0), 6, colour.filled())
                + Text::new(number.to_string(), (8, -4), label);
            chart.draw_series(std::iter::once(dot))?;
        }
        for (row, point) in (0..).zip(self.points) {
            let (colour, y) = (colour_of(&point.rule), 30 + 30 * row);
            list.draw(&Circle::new((16, y), 6, colour.filled()))?;
            let name = format!("{} {}", row + 1, point.rule.name());
            list.draw_text(&name, &text(17, HPos::Left, VPos::Center), (32, y))?;
        }
        Ok(())
    }
}
