//! Pictures from finished numbers, as bytes; writes nothing. The only door to the plot crate.
//!
//! The same numbers give the same bytes: the font comes with the program. Colours
//! are told apart by colour-blind readers (Okabe and Ito), and lines also by their dashes, so that
//! they are told apart in print too.

use std::sync::Once;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ndarray::ArrayView2;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::train::outcome::CurveRow;

/// What a figure is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pixels.
    Png,
    /// Lines and text; weights stay pixels within it.
    Svg,
}

impl Format {
    /// As a file's name ends.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }
}

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Okabe and Ito's colours, those first that differ most in print.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

type Area<B> = DrawingArea<B, Shift>;
type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Pixels at a place of a figure.
struct Picture {
    at: (u32, u32),
    size: (u32, u32),
    rgb: Vec<u8>,
}

/// Something to be drawn.
trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B>;

    /// What lies over the drawing.
    fn pictures(&self) -> Vec<Picture> {
        Vec::new()
    }
}

fn render(figure: &impl Figure, format: Format) -> Vec<u8> {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        let font = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
        assert!(font.is_ok(), "the font that comes with the program is one");
    });
    let in_memory = "drawing into memory does not fail";
    let (width, height) = figure.size();
    match format {
        Format::Png => {
            let mut rgb = vec![255; (width * height * 3) as usize];
            {
                let root = BitMapBackend::with_buffer(&mut rgb, (width, height));
                let root = root.into_drawing_area();
                figure.draw(&root).expect(in_memory);
                root.present().expect(in_memory);
            }
            for picture in figure.pictures() {
                blit(&mut rgb, width, &picture);
            }
            png_of(&rgb, (width, height))
        }
        Format::Svg => {
            let mut svg = String::new();
            {
                let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
                figure.draw(&root).expect(in_memory);
                root.present().expect(in_memory);
            }
            let end = svg.rfind("</svg>").expect("it ends so");
            for Picture { at: (x, y), size: (width, height), rgb } in figure.pictures() {
                let data = BASE64_STANDARD.encode(png_of(&rgb, (width, height)));
                svg.insert_str(
                    end,
                    &format!(
                        "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                         href=\"data:image/png;base64,{data}\"/>\n"
                    ),
                );
            }
            svg.into_bytes()
        }
    }
}

/// Copies a picture into the pixels of a figure of this width.
fn blit(rgb: &mut [u8], width: u32, picture: &Picture) {
    let (columns, at) = (picture.size.0 as usize * 3, picture.at);
    for (row, line) in picture.rgb.chunks_exact(columns).enumerate() {
        let start = ((at.1 as usize + row) * width as usize + at.0 as usize) * 3;
        rgb[start..start + columns].copy_from_slice(line);
    }
}

fn png_of(rgb: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut png| png.write_image_data(rgb));
    written.expect("writing into memory does not fail");
    bytes
}

fn text(size: u32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK).pos(Pos::new(horizontal, vertical))
}

/// Loss and accuracy of runs over their epochs (paper fig. 4): training solid, validation dashed,
/// a colour a run, and a dotted line where a learning rate steps down. Names are for the legend.
pub fn curves(runs: &[(String, Vec<CurveRow>)], format: Format) -> Vec<u8> {
    render(&Curves { runs }, format)
}

struct Curves<'a> {
    runs: &'a [(String, Vec<CurveRow>)],
}

/// One of the two quantities of a curve.
struct Quantity {
    caption: &'static str,
    axis: &'static str,
    train: fn(&CurveRow) -> f64,
    validation: fn(&CurveRow) -> Option<f64>,
    labels: fn(&f64) -> String,
    legend: SeriesLabelPosition,
}

impl Curves<'_> {
    /// Points of a line, without those that are no numbers.
    fn points(rows: &[CurveRow], value: impl Fn(&CurveRow) -> Option<f64>) -> Vec<(f64, f64)> {
        let point = |row: &CurveRow| Some((row.epoch as f64, value(row)?));
        rows.iter().filter_map(point).filter(|(_, value)| value.is_finite()).collect()
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
        let values = lines.iter().flatten().flatten().map(|&(_, value)| value);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = 0.05 * (high - low).max(1e-3);
        let mut chart = ChartBuilder::on(area)
            .caption(quantity.caption, text(26, HPos::Left, VPos::Top))
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
            .x_label_formatter(&|epoch| format!("{epoch:.0}"))
            .y_label_formatter(&quantity.labels)
            .label_style(text(18, HPos::Left, VPos::Top))
            .axis_desc_style(text(20, HPos::Left, VPos::Top))
            .draw()?;
        for epoch in self.learning_rate_steps() {
            let line = [(epoch, low - margin), (epoch, high + margin)];
            chart.draw_series(DashedLineSeries::new(line, 2, 4, INK.mix(0.6).into()))?;
        }
        for (index, ((name, _), [train, validation])) in self.runs.iter().zip(lines).enumerate() {
            // One run has a colour for each of its lines, several one for each run.
            let of_run = COLOURS[index % COLOURS.len()];
            let colours = if self.runs.len() == 1 { [COLOURS[0], COLOURS[1]] } else { [of_run; 2] };
            let named = |what: &str| match self.runs.len() {
                1 => what.to_string(),
                _ => format!("{name}, {what}"),
            };
            let solid = colours[0].stroke_width(2);
            chart
                .draw_series(LineSeries::new(train, solid))?
                .label(named("training"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 34, y)], solid));
            let dashed = colours[1].stroke_width(2);
            chart
                .draw_series(DashedLineSeries::new(validation, 8, 5, dashed))?
                .label(named("validation"))
                .legend(move |(x, y)| {
                    plotters::element::DashedPathElement::new([(x, y), (x + 34, y)], 8, 5, dashed)
                });
        }
        chart
            .configure_series_labels()
            .position(quantity.legend.clone())
            .legend_area_size(44)
            .margin(12)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(text(18, HPos::Left, VPos::Top))
            .draw()
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

impl Figure for Curves<'_> {
    fn size(&self) -> (u32, u32) {
        (1600, 640)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(800);
        let loss = Quantity {
            caption: "Loss",
            axis: "mean cross-entropy (nats)",
            train: |row| row.train.loss,
            validation: |row| row.validation.map(|score| score.loss),
            labels: |loss| format!("{loss:.2}"),
            legend: SeriesLabelPosition::UpperRight,
        };
        self.draw_quantity(&left, &loss)?;
        let accuracy = Quantity {
            caption: "Accuracy",
            axis: "correctly classified (%)",
            train: |row| 100.0 * row.train.accuracy,
            validation: |row| row.validation.map(|score| 100.0 * score.accuracy),
            labels: |percent| format!("{percent:.1}"),
            legend: SeriesLabelPosition::LowerRight,
        };
        self.draw_quantity(&right, &accuracy)
    }
}

/// Weights as small pictures side by side, on one scale that is symmetric about zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// What stands above.
    pub title: String,
    /// What each picture shows, or nothing if there are too many to name.
    pub captions: Vec<String>,
    /// The pictures, all of one size, a value a pixel.
    pub tiles: Vec<ndarray::Array2<f32>>,
    /// How many stand in a row.
    pub columns: usize,
    /// How many pixels wide a value is drawn.
    pub zoom: usize,
}

impl Sheet {
    /// Draws the sheet.
    pub fn draw(&self, format: Format) -> Vec<u8> {
        render(self, format)
    }

    /// The largest size of a value, which the ends of the scale stand for.
    fn largest(&self) -> f32 {
        let values = self.tiles.iter().flatten().filter(|value| value.is_finite());
        values.fold(0.0, |largest: f32, value| largest.max(value.abs()))
    }

    /// A tile with its caption and the gap to the next, in pixels.
    fn cell(&self) -> (u32, u32) {
        let (height, width) = self.tiles.first().map_or((1, 1), ndarray::Array2::dim);
        let gap = if self.captions.is_empty() { 2 } else { 12 };
        let caption = if self.captions.is_empty() { 0 } else { CAPTION };
        // A caption needs its room however small the tile is.
        let longest = self.captions.iter().map(|caption| caption.chars().count()).max();
        let width = ((width * self.zoom) as u32).max(8 * longest.unwrap_or(0) as u32);
        (width + gap, (height * self.zoom) as u32 + gap + caption)
    }

    fn place(&self, index: usize) -> (u32, u32) {
        let (width, height) = self.cell();
        let (row, column) = (index / self.columns, index % self.columns);
        (MARGIN + column as u32 * width, HEAD + row as u32 * height)
    }
}

const MARGIN: u32 = 24;
const HEAD: u32 = 64;
const CAPTION: u32 = 24;
const FOOT: u32 = 76;
const SCALE_WIDTH: u32 = 320;

/// Cividis in three points, dark blue, grey and yellow: lighter is more, also in print.
fn colour_of(share: f32) -> [u8; 3] {
    const POINTS: [[f32; 3]; 3] = [[0.0, 32.0, 77.0], [124.0, 123.0, 120.0], [255.0, 234.0, 70.0]];
    let at = (share.clamp(-1.0, 1.0) + 1.0).clamp(0.0, 2.0);
    let (from, part) = if at < 1.0 { (0, at) } else { (1, at - 1.0) };
    std::array::from_fn(|channel| {
        let (a, b) = (POINTS[from][channel], POINTS[from + 1][channel]);
        (a + (b - a) * part).round() as u8
    })
}

fn picture_of(tile: ArrayView2<'_, f32>, zoom: usize, largest: f32, at: (u32, u32)) -> Picture {
    let (height, width) = tile.dim();
    let mut rgb = Vec::with_capacity(height * width * zoom * zoom * 3);
    for y in 0..height * zoom {
        for x in 0..width * zoom {
            let value = tile[(y / zoom, x / zoom)];
            rgb.extend(colour_of(if largest > 0.0 { value / largest } else { 0.0 }));
        }
    }
    Picture { at, size: ((width * zoom) as u32, (height * zoom) as u32), rgb }
}

impl Figure for Sheet {
    fn size(&self) -> (u32, u32) {
        let (width, height) = self.cell();
        let rows = self.tiles.len().div_ceil(self.columns) as u32;
        // The title and the scale need their room however small the tiles are.
        let title = self.title.chars().count() as u32 * 11;
        let width = (self.columns as u32 * width).max(title).max(SCALE_WIDTH);
        (2 * MARGIN + width, HEAD + rows * height + FOOT)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let left = |size| text(size, HPos::Left, VPos::Top);
        area.draw_text(&self.title, &left(24), (MARGIN as i32, 20))?;
        for (index, caption) in self.captions.iter().enumerate() {
            let (x, y) = self.place(index);
            let below = y + self.cell().1 - CAPTION - 8;
            area.draw_text(caption, &left(16), (x as i32, below as i32))?;
        }
        let (_, height) = self.size();
        let (y, largest) = ((height - FOOT + 44) as i32, self.largest());
        for (share, at) in [(-1.0, HPos::Left), (0.0, HPos::Center), (1.0, HPos::Right)] {
            let x = MARGIN as i32 + (f32::midpoint(share, 1.0) * SCALE_WIDTH as f32) as i32;
            let label = if share == 0.0 { "0".into() } else { format!("{:.3}", share * largest) };
            area.draw_text(&label, &text(16, at, VPos::Top), (x, y))?;
        }
        Ok(())
    }

    fn pictures(&self) -> Vec<Picture> {
        let largest = self.largest();
        let tiles = self.tiles.iter().enumerate();
        let mut pictures: Vec<Picture> = tiles
            .map(|(index, tile)| picture_of(tile.view(), self.zoom, largest, self.place(index)))
            .collect();
        let (_, height) = self.size();
        let share = |_, x: usize| 2.0 * x as f32 / (SCALE_WIDTH - 1) as f32 - 1.0;
        let scale =
            ndarray::Array2::from_shape_fn((18, SCALE_WIDTH as usize), |(y, x)| share(y, x));
        pictures.push(picture_of(scale.view(), 1, 1.0, (MARGIN, height - FOOT + 20)));
        pictures
    }
}

/// A list of numbers as rows, as near to a square as its length allows, and whether zeros were
/// added: to none whose length has a divisor that makes one side at most twice the other.
pub fn rectangle(values: ndarray::ArrayView1<'_, f32>) -> (ndarray::Array2<f32>, bool) {
    let count = values.len();
    let root = count.isqrt();
    let divisor = (1..=root).rev().find(|divisor| count.is_multiple_of(*divisor));
    let divisor = divisor.expect("1 divides all").max(1);
    let (height, width) = if count / divisor <= 2 * divisor {
        (divisor, count / divisor)
    } else {
        let width = if root * root == count { root } else { root + 1 };
        (count.div_ceil(width), width)
    };
    let tile = ndarray::Array2::from_shape_fn((height, width), |(y, x)| {
        values.get(y * width + x).copied().unwrap_or(0.0)
    });
    (tile, height * width > count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::outcome::Score;
    use ndarray::{Array1, Array2};

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
    fn a_list_becomes_the_rectangle_that_is_nearest_to_a_square() {
        for (count, shape, padded) in [
            (784, (28, 28), false),
            (324, (18, 18), false),
            (256, (16, 16), false),
            (500, (20, 25), false),
            (2, (1, 2), false),
            (1, (1, 1), false),
            (7, (3, 3), true),
            (10, (3, 4), true),
        ] {
            let values = Array1::from_shape_fn(count, |i| i as f32 + 1.0);
            let (tile, was_padded) = rectangle(values.view());
            assert_eq!((tile.dim(), was_padded), (shape, padded), "{count}");
            assert!(tile.iter().take(count).eq(values.iter()));
            assert!(tile.iter().skip(count).all(|&value| value == 0.0));
        }
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
        assert!(drawn_two.contains("&lt;b&gt;, training") && !drawn_two.contains("<b>"));
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

    #[test]
    fn weights_stand_on_one_scale_that_is_symmetric_about_zero() {
        let tile = |values: [f32; 4]| Array2::from_shape_vec((2, 2), values.to_vec()).unwrap();
        let sheet = Sheet {
            title: "two".into(),
            captions: vec!["T-shirt & top".into(), "b".into()],
            tiles: vec![tile([0.0, 1.0, -2.0, 2.0]), tile([0.0, 0.5, -0.5, 1.0])],
            columns: 2,
            zoom: 3,
        };
        assert_eq!(sheet.largest(), 2.0);
        let drawn = svg(sheet.draw(Format::Svg));
        assert!(drawn.contains("T-shirt &amp; top") && drawn.contains("2.000"), "{drawn}");
        assert_eq!(drawn.matches("<image").count(), 3);
        let picture = &sheet.pictures()[0];
        let pixel = |x: usize, y: usize| &picture.rgb[(y * 6 + x) * 3..][..3];
        assert_eq!(pixel(0, 0), colour_of(0.0));
        assert_eq!(pixel(5, 2), colour_of(0.5));
        assert_eq!(pixel(0, 5), colour_of(-1.0));
        assert_eq!(pixel(3, 3), colour_of(1.0));
        // Lighter is more, so that signs are told apart in print.
        let light = |share| colour_of(share).iter().map(|&c| u32::from(c)).sum::<u32>();
        assert!((-10..10).all(|at| light(at as f32 / 10.0) < light((at + 1) as f32 / 10.0)));
    }
}
