//! Small pictures side by side: weights (paper fig. 5 and 6) and images.

use ndarray::{Array2, ArrayView1};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::figures::canvas::{
    Area, Drawn, Figure, Format, Picture, colour_of, picture_of, render, text,
};

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shades {
    /// Weights: one scale for all pictures, symmetric about zero, which stands below them.
    Signed,
    /// Weights whose sizes differ much from picture to picture: a scale for each, symmetric about
    /// zero, whose end stands in the picture's caption.
    SignedEach,
    /// Images: 0 is black and 255 is white.
    Grey,
}

/// Small pictures side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// What stands above.
    pub title: String,
    /// What each picture shows, in a line or several, or nothing if there are too many to name.
    pub captions: Vec<String>,
    /// The pictures, all of one size, a value a pixel.
    pub tiles: Vec<Array2<f32>>,
    /// How many stand in a row.
    pub columns: usize,
    /// How many pixels wide a value is drawn.
    pub zoom: usize,
    /// What colours a value has.
    pub shades: Shades,
}

impl Sheet {
    /// Draws the sheet.
    pub fn draw(&self, format: Format) -> Vec<u8> {
        render(self, format)
    }

    /// The captions as they are drawn.
    fn captions(&self) -> Vec<String> {
        let scaled = |(caption, tile): (&String, &Array2<f32>)| match self.shades {
            Shades::SignedEach => format!("{caption} ±{:.2}", largest([tile])),
            Shades::Signed | Shades::Grey => caption.clone(),
        };
        self.captions.iter().zip(&self.tiles).map(scaled).collect()
    }

    /// How many lines the captions have.
    fn caption_lines(&self) -> u32 {
        self.captions.iter().map(|caption| caption.lines().count() as u32).max().unwrap_or(0)
    }

    /// A tile with its caption and the gap to the next, in pixels.
    fn cell(&self) -> (u32, u32) {
        let (height, width) = self.tiles.first().map_or((1, 1), Array2::dim);
        let gap = if self.captions.is_empty() { 2 } else { 2 * AIR };
        // A caption needs its room however small the tile is.
        let captions = self.captions();
        let lines = captions.iter().flat_map(|caption| caption.lines());
        let longest = lines.map(|line| line.chars().count()).max().unwrap_or(0);
        let width = ((width * self.zoom) as u32).max(8 * longest as u32);
        (width + gap, (height * self.zoom) as u32 + gap + self.caption_lines() * LINE)
    }

    fn place(&self, index: usize) -> (u32, u32) {
        let (width, height) = self.cell();
        let (row, column) = (index / self.columns, index % self.columns);
        (MARGIN + column as u32 * width, HEAD + row as u32 * height)
    }
}

const MARGIN: u32 = 24;
const HEAD: u32 = 64;
const LINE: u32 = 22;
/// Between a picture and its caption, and from that to the next picture.
const AIR: u32 = 8;
const FOOT: u32 = 76;
const SCALE_WIDTH: u32 = 320;

impl Figure for Sheet {
    fn size(&self) -> (u32, u32) {
        let (width, height) = self.cell();
        let rows = self.tiles.len().div_ceil(self.columns) as u32;
        // The title and the scale need their room however small the tiles are.
        let title = self.title.chars().count() as u32 * 11;
        let width = (self.columns as u32 * width).max(title).max(SCALE_WIDTH);
        let foot = if self.shades == Shades::Grey { MARGIN } else { FOOT };
        (2 * MARGIN + width, HEAD + rows * height + foot)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let left = |size| text(size, HPos::Left, VPos::Top);
        area.draw_text(&self.title, &left(24), (MARGIN as i32, 20))?;
        for (index, caption) in self.captions().iter().enumerate() {
            let (x, y) = self.place(index);
            let below = y + self.cell().1 - self.caption_lines() * LINE - AIR;
            for (line, at) in caption.lines().zip((below..).step_by(LINE as usize)) {
                area.draw_text(line, &left(16), (x as i32, at as i32))?;
            }
        }
        if self.shades == Shades::Grey {
            return Ok(());
        }
        let (_, height) = self.size();
        let (y, largest) = ((height - FOOT + 44) as i32, largest(&self.tiles));
        for (share, at) in [(-1.0, HPos::Left), (0.0, HPos::Center), (1.0, HPos::Right)] {
            let x = MARGIN as i32 + (f32::midpoint(share, 1.0) * SCALE_WIDTH as f32) as i32;
            let label = match (share, self.shades) {
                (0.0, _) => "0".to_string(),
                (_, Shades::SignedEach) => if share < 0.0 { "−" } else { "+" }.to_string(),
                _ => format!("{:.3}", share * largest),
            };
            area.draw_text(&label, &text(16, at, VPos::Top), (x, y))?;
        }
        Ok(())
    }

    fn pictures(&self) -> Vec<Picture> {
        let of_all = largest(&self.tiles);
        let picture = |(index, tile): (usize, &Array2<f32>)| {
            let end = if self.shades == Shades::SignedEach { largest([tile]) } else { of_all };
            let colour = |value: f32| match self.shades {
                Shades::Grey => [value as u8; 3],
                _ => colour_of(if end > 0.0 { value / end } else { 0.0 }),
            };
            picture_of(tile.view(), self.zoom, colour, self.place(index))
        };
        let mut pictures: Vec<Picture> = self.tiles.iter().enumerate().map(picture).collect();
        if self.shades != Shades::Grey {
            let (_, height) = self.size();
            let share = |_, x: usize| 2.0 * x as f32 / (SCALE_WIDTH - 1) as f32 - 1.0;
            let scale = Array2::from_shape_fn((18, SCALE_WIDTH as usize), |(y, x)| share(y, x));
            pictures.push(picture_of(scale.view(), 1, colour_of, (MARGIN, height - FOOT + 20)));
        }
        pictures
    }
}

/// The largest size of a value, which the end of a scale stands for.
fn largest<'a>(tiles: impl IntoIterator<Item = &'a Array2<f32>>) -> f32 {
    let values = tiles.into_iter().flatten().filter(|value| value.is_finite());
    values.fold(0.0, |largest: f32, value| largest.max(value.abs()))
}

/// A list of numbers as rows, as near to a square as its length allows, and whether zeros were
/// added: to none whose length has a divisor that makes one side at most twice the other.
pub fn rectangle(values: ArrayView1<'_, f32>) -> (Array2<f32>, bool) {
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
    let tile = Array2::from_shape_fn((height, width), |(y, x)| {
        values.get(y * width + x).copied().unwrap_or(0.0)
    });
    (tile, height * width > count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

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
    fn weights_stand_on_one_scale_that_is_symmetric_about_zero() {
        let tile = |values: [f32; 4]| Array2::from_shape_vec((2, 2), values.to_vec()).unwrap();
        let sheet = Sheet {
            title: "two".into(),
            captions: vec!["T-shirt & top".into(), "b".into()],
            tiles: vec![tile([0.0, 1.0, -2.0, 2.0]), tile([0.0, 0.5, -0.5, 1.0])],
            columns: 2,
            zoom: 3,
            shades: Shades::Signed,
        };
        assert_eq!(largest(&sheet.tiles), 2.0);
        let each = Sheet { shades: Shades::SignedEach, ..sheet.clone() };
        assert_eq!(each.captions(), ["T-shirt & top ±2.00", "b ±1.00"]);
        assert_eq!(each.pictures()[1].rgb.last_chunk(), Some(&colour_of(1.0)));
        assert_eq!(sheet.pictures()[1].rgb.last_chunk(), Some(&colour_of(0.5)));
        let drawn = svg(sheet.draw(Format::Svg));
        assert!(drawn.contains("T-shirt &amp; top") && drawn.contains("2.000"), "{drawn}");
        assert_eq!(drawn.matches("<image").count(), 3);
        let picture = &sheet.pictures()[0];
        let pixel = |x: usize, y: usize| &picture.rgb[(y * 6 + x) * 3..][..3];
        assert_eq!(pixel(0, 0), colour_of(0.0));
        assert_eq!(pixel(5, 2), colour_of(0.5));
        assert_eq!(pixel(0, 5), colour_of(-1.0));
        assert_eq!(pixel(3, 3), colour_of(1.0));
        let images = Sheet { shades: Shades::Grey, captions: vec!["a\nb".into(); 2], ..sheet };
        let drawn = svg(images.draw(Format::Svg));
        assert!(drawn.matches("<image").count() == 2 && !drawn.contains("2.000"), "{drawn}");
    }
}
