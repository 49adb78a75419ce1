//! Loss and accuracy of runs over their epochs (paper fig. 4).

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::figures::canvas::{
    Area, COLOURS, Drawn, Figure, Format, GRID, INK, decimals, draw_legend, render, text, whole,
};
use crate::statistics::quantile;
use crate::train::score::CurveRow;

/// Loss and accuracy of runs over their epochs (paper fig. 4): training solid, validation dashed,
/// a colour a run, and a dotted line where a learning rate steps down. Names are for the legend.
pub fn curves(runs: &[(String, Vec<CurveRow>)], format: Format) -> Vec<u8> {
    render(&Curves { runs }, format)
}

/// How many runs are distinguishable in one figure.
pub const MOST_RUNS: usize = COLOURS.len();
/// How many steps of learning rates are marked.
const MOST_STEPS: usize = 30;
/// What is so many times as large as nine tenths of all values is cut off, unless a run begins there.
const FAR_OFF: f64 = 5.0;

/// No run's colour.
const GREY: RGBColor = RGBColor(0x88, 0x88, 0x88);
/// Pixels of a figure of one run; the legend of several is below.
const HEIGHT: u32 = 640;
/// Pixels of a row of that legend, which has two columns.
const LEGEND_ROW: u32 = 28;

struct Curves<'a> {
    runs: &'a [(String, Vec<CurveRow>)],
}

/// One of the two quantities of a curve.
struct Quantity {
    caption: &'static str,
    axis: &'static str,
    train: fn(&CurveRow) -> f64,
    validation: fn(&CurveRow) -> Option<f64>,
    legend: SeriesLabelPosition,
}

impl Curves<'_> {
    /// Points of a line, without those that are no numbers.
    fn points(rows: &[CurveRow], value: impl Fn(&CurveRow) -> Option<f64>) -> Vec<(f64, f64)> {
        let point = |row: &CurveRow| Some((row.epoch as f64, value(row)?));
        let is_one = |&(_, value): &(f64, f64)| value.abs() <= f64::from(f32::MAX);
        rows.iter().filter_map(point).filter(is_one).collect()
    }

    fn draw_quantity<B: DrawingBackend>(&self, area: &Area<B>, quantity: &Quantity) -> Drawn<B> {
        let last = self.runs.iter().map(|(_, rows)| rows.len()).max().unwrap_or(0).max(2) as f64;
        let lines: Vec<[Vec<(f64, f64)>; 2]> = self
            .runs
            .iter()
            .map(|(_, rows)| {
                let train = Self::points(rows, |row| Some((quantity.train)(row)));
                [train, Self::points(rows, quantity.validation)]
            })
            .collect();
        let (low, high, is_cut) = range_of(&lines);
        let cut = if is_cut { ", cut at the top" } else { "" };
        let caption = format!("{}{cut}", quantity.caption);
        // A line without ups and downs has some room too, and ticks of few digits.
        let margin = (0.05 * (high - low)).max(1e-3 * high.abs().max(0.1));
        let digits = decimals((high - low).max(2.0 * margin));
        let mut chart = ChartBuilder::on(area)
            .caption(caption, text(26, HPos::Left, VPos::Top))
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(72)
            .build_cartesian_2d(1.0..last, low - margin..high + margin)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc("epoch")
            .y_desc(quantity.axis)
            .x_labels((last as usize).min(11))
            .x_label_formatter(&|epoch| whole(*epoch))
            .y_label_formatter(&|value| format!("{value:.digits$}"))
            .label_style(text(18, HPos::Left, VPos::Top))
            .axis_desc_style(text(20, HPos::Left, VPos::Top))
            .draw()?;
        let steps = self.learning_rate_steps();
        // A rate that falls all the time has no steps to be marked.
        for epoch in steps.iter().copied().filter(|_| steps.len() <= MOST_STEPS) {
            let line = [(epoch, low - margin), (epoch, high + margin)];
            chart.draw_series(DashedLineSeries::new(line, 2, 4, INK.mix(0.6).into()))?;
        }
        for (index, [train, validation]) in lines.into_iter().enumerate() {
            // One run has a colour for each of its lines, several one for each run.
            let of_run = COLOURS[index % COLOURS.len()];
            let colours = if self.runs.len() == 1 { [COLOURS[0], COLOURS[1]] } else { [of_run; 2] };
            let within = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
                points.into_iter().map(|(epoch, value)| (epoch, value.min(high + margin))).collect()
            };
            let (train, validation) = (within(train), within(validation));
            // A line of one point would not be seen.
            for (points, colour) in [(&train, colours[0]), (&validation, colours[1])] {
                let alone = points.iter().filter(|_| points.len() == 1);
                chart.draw_series(alone.map(|&at| Circle::new(at, 4, colour.filled())))?;
            }
            let solid = colours[0].stroke_width(2);
            chart
                .draw_series(LineSeries::new(train, solid))?
                .label("training")
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 34, y)], solid));
            let dashed = colours[1].stroke_width(2);
            chart
                .draw_series(DashedLineSeries::new(validation, 8, 5, dashed))?
                .label("validation")
                .legend(move |(x, y)| DashedPathElement::new([(x, y), (x + 34, y)], 8, 5, dashed));
        }
        if self.runs.len() > 1 {
            return Ok(());
        }
        draw_legend(&mut chart, quantity.legend.clone())
    }

    /// What is in the legend of several runs: names, colours, and whether a line is dashed.
    fn entries(&self) -> Vec<(&str, RGBColor, bool)> {
        let runs = self.runs.iter().zip(COLOURS.into_iter().cycle());
        let runs = runs.map(|((name, _), colour)| (&name[..], colour, false));
        [("training", GREY, false), ("validation", GREY, true)].into_iter().chain(runs).collect()
    }

    fn legend_height(&self) -> u32 {
        if self.runs.len() > 1 { LEGEND_ROW * (self.entries().len() as u32 + 1) / 2 } else { 0 }
    }

    fn draw_entries<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        for (index, (name, colour, is_dashed)) in self.entries().into_iter().enumerate() {
            let at = (index as i32 % 2 * 800 + 88, index as i32 / 2 * LEGEND_ROW as i32);
            let (line, style) = ([at, (at.0 + 34, at.1)], colour.stroke_width(2));
            if is_dashed {
                area.draw(&DashedPathElement::new(line, 8, 5, style))?;
            } else {
                area.draw(&PathElement::new(line, style))?;
            }
            let beside = (at.0 + 44, at.1);
            area.draw(&Text::new(name, beside, text(18, HPos::Left, VPos::Center)))?;
        }
        Ok(())
    }

    /// Where a learning rate differs from that of the epoch before, between the two.
    fn learning_rate_steps(&self) -> Vec<f64> {
        let steps = |(_, rows): &(String, Vec<CurveRow>)| -> Vec<f64> {
            let pairs =
                rows.windows(2).filter(|pair| pair[0].learning_rate != pair[1].learning_rate);
            pairs.map(|pair| pair[1].epoch as f64 - 0.5).collect()
        };
        let mut steps: Vec<f64> = self.runs.iter().flat_map(steps).collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        steps
    }
}

/// The lowest and the highest value to show, and whether higher ones are cut off: a run that is about to
/// diverge would press all others flat.
fn range_of(lines: &[[Vec<(f64, f64)>; 2]]) -> (f64, f64, bool) {
    let values: Vec<f64> = lines.iter().flatten().flatten().map(|&(_, value)| value).collect();
    let (low, high) = quantile(&values, 0.0).zip(quantile(&values, 1.0)).unwrap_or((0.0, 1.0));
    let first = lines.iter().flatten().filter_map(|line| line.first()).map(|&(_, value)| value);
    let cut = quantile(&values, 0.9).map_or(high, |most| first.fold(FAR_OFF * most, f64::max));
    (low, high.min(cut), high > cut)
}

impl Figure for Curves<'_> {
    fn size(&self) -> (u32, u32) {
        (1600, HEIGHT + self.legend_height())
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let (area, below) = area.split_vertically(HEIGHT);
        let (left, right) = area.split_horizontally(800);
        let loss = Quantity {
            caption: "Loss",
            axis: "mean cross-entropy (nats)",
            train: |row| row.train.loss,
            validation: |row| row.validation.map(|score| score.loss),
            legend: SeriesLabelPosition::UpperRight,
        };
        self.draw_quantity(&left, &loss)?;
        let accuracy = Quantity {
            caption: "Accuracy",
            axis: "correctly classified (%)",
            train: |row| 100.0 * row.train.accuracy,
            validation: |row| row.validation.map(|score| 100.0 * score.accuracy),
            legend: SeriesLabelPosition::LowerRight,
        };
        self.draw_quantity(&right, &accuracy)?;
        if self.runs.len() > 1 { self.draw_entries(&below) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::score::Score;

    fn rows(epochs: usize) -> Vec<CurveRow> {
        let score = |x: f64| Score { loss: 1.0 / x, accuracy: 1.0 - 0.5 / x };
        let row = |epoch: usize| CurveRow {
            epoch,
            learning_rate: if epoch <= epochs / 2 { 0.2 } else { 0.1 },
            train: score(epoch as f64),
            validation: epoch.is_multiple_of(5).then(|| score(epoch as f64 * 0.8)),
        };
        (1..=epochs).map(row).collect()
    }

    fn svg(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn curves_show_axes_lines_and_where_the_rate_steps_down() {
        let one = [("a".to_string(), rows(20))];
        let drawn = svg(curves(&one, Format::Svg));
        for text in ["Loss", "Accuracy", "epoch", "(nats)", "(%)", "training", "validation"] {
            assert!(drawn.contains(text), "{text}");
        }
        let two = [one[0].clone(), ("<b>".to_string(), rows(10))];
        let drawn_two = svg(curves(&two, Format::Svg));
        assert!(drawn_two.contains("&lt;b&gt;") && !drawn_two.contains("<b>"));
        assert_eq!(svg(curves(&one, Format::Svg)), drawn);
        // A run that diverged at once, and one of a single epoch.
        let score = Score { loss: f64::NAN, accuracy: 0.1 };
        let row = CurveRow { epoch: 1, learning_rate: 0.1, train: score, validation: None };
        curves(&[("a".to_string(), vec![row])], Format::Svg);
        let png = curves(&one, Format::Png);
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let about = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((about.width, about.height), (1600, 640));
        let Colour { r, g, b } = Colour::from(COLOURS[0]);
        assert!(pixels.chunks_exact(3).filter(|pixel| *pixel == [r, g, b]).count() > 200);
    }

    struct Colour {
        r: u8,
        g: u8,
        b: u8,
    }

    impl From<RGBColor> for Colour {
        fn from(RGBColor(r, g, b): RGBColor) -> Self {
            Self { r, g, b }
        }
    }
}
