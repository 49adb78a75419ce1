//! A batch of images as operands of products in bf16.

use ndarray::ArrayView2;

use crate::bf16::instructions::Instructions;
use crate::bf16::room::{Buffer, Room};
use crate::bf16::tiles::{Block, EDGE, Tiles, blocks};

/// Images (N, D) as left operands, by image and by feature. What N and D lack to multiples of 32 is
/// zero.
#[derive(Debug, Clone)]
pub struct PackedImages {
    images: usize,
    features: usize,
    by_image: Buffer<Tiles>,   // (blocks of images, blocks of features)
    by_feature: Buffer<Tiles>, // (blocks of features, blocks of images)
}

impl PackedImages {
    /// Room for up to so many images.
    pub fn with_room(images: usize, features: usize, room: &mut Room) -> Self {
        let mut tiles = || room.filled(Tiles::ZERO, blocks(images) * blocks(features));
        Self { images: 0, features, by_image: tiles(), by_feature: tiles() }
    }

    /// Takes images (N, D) instead of those that it had.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn pack(&mut self, x: ArrayView2<'_, f32>, instructions: Instructions) {
        self.images = x.nrows();
        let (of_images, of_features) = (blocks(self.images), blocks(self.features));
        let has_room = of_images * of_features <= self.by_image.len();
        assert!(has_room && x.ncols() == self.features, "room for {:?}", x.dim());
        let x = x.to_slice().expect("rows one after the other");
        let mut block = Block::ZERO;
        for row in 0..of_images {
            // Beyond the last image there are none to copy.
            if (row + 1) * EDGE > self.images {
                block = Block::ZERO;
            }
            for column in 0..of_features {
                block.copy_from(x, self.features, (row * EDGE, column * EDGE));
                instructions.pack_lefts(
                    &block,
                    &mut self.by_image[row * of_features + column],
                    &mut self.by_feature[column * of_images + row],
                );
            }
        }
    }

    /// N.
    pub fn images(&self) -> usize {
        self.images
    }

    /// D.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Left operands (blocks of images, blocks of features).
    pub fn by_image(&self) -> &[Tiles] {
        &self.by_image[..blocks(self.images) * blocks(self.features)]
    }

    /// Left operands (blocks of features, blocks of images).
    pub fn by_feature(&self) -> &[Tiles] {
        &self.by_feature[..blocks(self.images) * blocks(self.features)]
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::bf16::kernels::tests::testable;

    #[test]
    fn images_are_packed_by_image_and_by_feature_and_what_pads_them_is_zero() {
        for instructions in testable() {
            let mut packed = PackedImages::with_room(70, 40, &mut Room::default());
            packed.pack(Array2::from_elem((70, 40), f32::NAN).view(), instructions);
            for (images, features) in [(70, 40), (33, 40), (1, 40)] {
                // Whole numbers up to 256 are exact.
                let number = |i: usize, j: usize| ((i * 7 + j * 3) % 256) as f32 + 1.0;
                let x = Array2::from_shape_fn((images, features), |(i, j)| number(i, j));
                packed.pack(x.view(), instructions);
                let (of_images, of_features) = (blocks(images), blocks(features));
                let mut block = Block::ZERO;
                for (image, feature) in (0..of_images * EDGE)
                    .flat_map(|image| (0..of_features * EDGE).map(move |feature| (image, feature)))
                {
                    let expected = x.get((image, feature)).copied().unwrap_or(0.0);
                    let (row, column) = (image / EDGE, feature / EDGE);
                    let (i, j) = (image % EDGE, feature % EDGE);
                    packed.by_image()[row * of_features + column].unpack(&mut block);
                    assert_eq!(block.0[i * EDGE + j], expected, "image {image}, {feature}");
                    packed.by_feature()[column * of_images + row].unpack(&mut block);
                    assert_eq!(block.0[j * EDGE + i], expected, "feature {feature}, {image}");
                }
            }
        }
    }
}
