//! What every figure is drawn on: pixels or SVG, letters, colours. Gives bytes and writes nothing.
//! The modules of figures/ are the only ones that use the plot crate.
//!
//! The same numbers give the same bytes: the font comes with the program. Colours are distinguishable by
//! colour-blind readers (Okabe and Ito; cividis), and lines also by their dashes, so that they are
//! distinguishable in print too.

use std::sync::Once;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ndarray::ArrayView2;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::text::in_xml;

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

    /// What stands at the beginning of every picture in it.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Png => "PNG\r\n\u{1a}\n",
            Self::Svg => "<svg",
        }
    }
}

const FONT: &str = "sans-serif";
pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Okabe and Ito's colours, those first that differ most in print.
pub(super) const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

pub(super) type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The legend of the series drawn so far.
pub(super) fn draw_legend<'a, 'b, B: DrawingBackend + 'a>(
    chart: &'b mut Chart<'a, B>,
    position: SeriesLabelPosition,
) -> Drawn<B>
where
    'a: 'b,
{
    chart
        .configure_series_labels()
        .position(position)
        .legend_area_size(44)
        .margin(12)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(text(18, HPos::Left, VPos::Top))
        .draw()
}

/// Pixels at a place of a figure.
pub(super) struct Picture {
    pub(super) at: (u32, u32),
    pub(super) size: (u32, u32),
    pub(super) rgb: Vec<u8>,
}

/// Something to be drawn.
pub(super) trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B>;

    /// What lies over the drawing.
    fn pictures(&self) -> Vec<Picture> {
        Vec::new()
    }
}

pub(super) fn render(figure: &impl Figure, format: Format) -> Vec<u8> {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        let font = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
        assert!(font.is_ok(), "the font that comes with the program is one");
    });
    let in_memory = "drawing into memory does not fail";
    let (width, height) = figure.size();
    match format {
        Format::Png => {
            let mut rgb = vec![255; width as usize * height as usize * 3];
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
            in_xml(svg).into_bytes()
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

pub(super) fn png_of(rgb: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut png| png.write_image_data(rgb));
    written.expect("writing into memory does not fail");
    bytes
}

/// How many decimals the ticks of an axis of this length need, so that no two say the same.
pub(super) fn decimals(length: f64) -> usize {
    (-(length / 11.0).log10()).ceil().clamp(0.0, 8.0) as usize
}

/// A whole number, or nothing.
pub(super) fn whole(number: f64) -> String {
    if (number - number.round()).abs() < 1e-6 { format!("{number:.0}") } else { String::new() }
}

pub(super) fn text(size: u32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK).pos(Pos::new(horizontal, vertical))
}

/// Cividis in three points, dark blue, grey and yellow, for −1 to 1: lighter is more, also in print.
pub(super) fn colour_of(share: f32) -> [u8; 3] {
    const POINTS: [[f32; 3]; 3] = [[0.0, 32.0, 77.0], [124.0, 123.0, 120.0], [255.0, 234.0, 70.0]];
    let at = (share.clamp(-1.0, 1.0) + 1.0).clamp(0.0, 2.0);
    let (from, part) = if at < 1.0 { (0, at) } else { (1, at - 1.0) };
    std::array::from_fn(|channel| {
        let (a, b) = (POINTS[from][channel], POINTS[from + 1][channel]);
        (a + (b - a) * part).round() as u8
    })
}

/// Values as pixels, each as a square of `zoom` pixels, in the colours that `colour` gives them.
pub(super) fn picture_of(
    tile: ArrayView2<'_, f32>,
    zoom: usize,
    colour: impl Fn(f32) -> [u8; 3],
    at: (u32, u32),
) -> Picture {
    let (height, width) = tile.dim();
    let mut rgb = Vec::with_capacity(height * width * zoom * zoom * 3);
    for y in 0..height * zoom {
        for x in 0..width * zoom {
            rgb.extend(colour(tile[(y / zoom, x / zoom)]));
        }
    }
    Picture { at, size: ((width * zoom) as u32, (height * zoom) as u32), rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lighter_is_more_so_that_values_are_told_apart_in_print() {
        let light = |share| colour_of(share).iter().map(|&c| u32::from(c)).sum::<u32>();
        assert!((-10..10).all(|at| light(at as f32 / 10.0) < light((at + 1) as f32 / 10.0)));
    }
}
