//! Batches that are too small to be standardised by themselves, and what to do about them.

use crate::data::batches::MAX_BATCH_SIZE;
use crate::error::counted;

/// Fewer images than this say too little of their features' means and variances to be standardised by
/// themselves.
pub const FEWEST: usize = 8;

/// How many of `images` are in the last batch.
fn last_batch(images: usize, batch_size: usize) -> usize {
    (images - 1) % batch_size + 1
}

/// A sentence about batches with fewer than [`FEWEST`] images where each batch is standardised by
/// itself: a single image becomes all zeros. `parts` are names and numbers of images. `None` where all
/// is well.
pub fn small_batches(batch_size: usize, parts: &[(&str, usize)]) -> Option<String> {
    let too_few = "too few to be standardised by themselves (a single image becomes all zeros)";
    if batch_size < FEWEST {
        let images = counted(batch_size, "image");
        return Some(format!("warning: batches of {images} are {too_few}"));
    }
    let small = parts.iter().filter(|(_, images)| last_batch(*images, batch_size) < FEWEST);
    let clause = |&(name, images): &(&str, usize)| {
        let images = counted(last_batch(images, batch_size), "image");
        format!("the last {name} batch has {images}")
    };
    let small: Vec<String> = small.map(clause).collect();
    (!small.is_empty())
        .then(|| format!("warning: in batches of {batch_size}, {}, {too_few}", small.join(" and ")))
}

/// What to do about [`small_batches`] in training: the nearest batch size that has none.
pub fn cure_of_small_batches(batch_size: usize, parts: &[(&str, usize)]) -> String {
    if let Some((name, images)) = parts.iter().find(|(_, images)| *images < FEWEST) {
        let images = counted(*images, "image");
        return format!("the {name} split has {images} and needs at least {FEWEST}");
    }
    let suits = |size: &usize| {
        (FEWEST..=MAX_BATCH_SIZE).contains(size)
            && parts.iter().all(|&(_, images)| last_batch(images, *size) >= FEWEST)
    };
    let nearest = (0..=MAX_BATCH_SIZE).find_map(|by| {
        let below = batch_size.checked_sub(by);
        [below, Some(batch_size + by)].into_iter().flatten().find(suits)
    });
    nearest.map_or_else(
        || format!("no batch size up to {MAX_BATCH_SIZE} avoids it"),
        |size| format!("--batch-size {size} avoids it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_batches_of_one_to_seven_images_are_told_with_a_size_that_avoids_them() {
        let fashion_mnist = [("training", 55_000), ("validation", 5000), ("test", 10_000)];
        assert_eq!(small_batches(512, &fashion_mnist), None);
        assert_eq!(small_batches(8, &[("test", 16)]), None);
        let found = small_batches(97, &fashion_mnist).unwrap();
        for phrase in ["the last test batch has 9", "the last validation"] {
            assert!(!found.contains(phrase), "{found}");
        }
        let parts = [("training", 601), ("validation", 107), ("test", 300)];
        let found = small_batches(100, &parts).unwrap();
        let both = "training batch has 1 image and the last validation batch has 7 images, too few";
        assert!(found.contains(both), "{found}");
        // A size that is small itself makes every batch small.
        let found = small_batches(5, &[("test", 300)]).unwrap();
        assert!(found.starts_with("warning: batches of 5 images are too few to be"), "{found}");
    }

    #[test]
    fn the_nearest_batch_size_that_avoids_small_batches_is_named_unless_a_split_is_too_small() {
        for (batch_size, parts, cure) in [
            (100, &[("training", 601), ("validation", 107), ("test", 300)][..], "--batch-size 97"),
            (5, &[("test", 300)], "--batch-size 10"),
            // Farther away than the size itself, but there.
            (9, &[("training", 55), ("validation", 19), ("test", 37)], "--batch-size 19"),
            // The nearest one above would be too large.
            (65_536, &[("test", 65_537)], "--batch-size 65529"),
            (100, &[("training", 601), ("validation", 1)], "the validation split has 1 image and"),
        ] {
            let found = cure_of_small_batches(batch_size, parts);
            assert!(found.starts_with(cure), "{batch_size} {parts:?}: {found}");
        }
    }
}
