//! Which training rows are for training and which for validation, drawn by a seed, and the order of epochs.

use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::counted;

/// How many rows are set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartSize {
    /// So many.
    Rows(usize),
    /// So many millionths of all, rounded.
    Share(u32),
}

impl PartSize {
    /// From a share above 0 and below 1 with up to six decimals, or a whole number of rows.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(rows) = text.parse() {
            return Some(Self::Rows(rows));
        }
        let share: f64 = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0)?;
        let millionths = (share * 1e6).round();
        let is_exact = (share * 1e6 - millionths).abs() < 1e-6 && (1.0..1e6).contains(&millionths);
        is_exact.then_some(Self::Share(millionths as u32))
    }

    /// How many of so many rows.
    pub fn of(self, rows: usize) -> usize {
        match self {
            Self::Rows(count) => count,
            Self::Share(millionths) => (rows as f64 * f64::from(millionths) / 1e6).round() as usize,
        }
    }
}

impl From<usize> for PartSize {
    fn from(rows: usize) -> Self {
        Self::Rows(rows)
    }
}

impl fmt::Display for PartSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(count) => write!(f, "{count}"),
            Self::Share(millionths) => write!(f, "{}", f64::from(*millionths) / 1e6),
        }
    }
}

/// What a draw keeps together and what it spreads.
#[derive(Debug, Clone, Copy)]
pub struct Drawing<'a> {
    /// The class of each row, where each part gets its share of each class; empty where rows are drawn
    /// whatever they are (paper 3.1).
    pub strata: &'a [u8],
    /// The group of each row, where none is divided; empty where each row is by itself.
    pub groups: &'a [u32],
}

impl Drawing<'_> {
    /// Draws a permutation of the rows and takes as many for the first part as are asked for, in its order;
    /// the others follow in the second. Of groups, those are taken that bring the first part nearer to the
    /// size that each class is due, so that its size is met as nearly as they allow.
    pub fn draw(
        self,
        rows: usize,
        first: usize,
        generator: &mut ChaCha8Rng,
    ) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(generator);
        let class = |row: usize| self.strata.get(row).map_or(0, |&class| usize::from(class));
        let mut due = shares(rows, first, class);
        let group = |row: usize| self.groups.get(row).map_or(row, |&group| group as usize);
        let groups = order.iter().map(|&row| group(row)).max().map_or(0, |last| last + 1);
        let mut members = vec![Vec::new(); groups];
        for &row in &order {
            members[group(row)].push(row);
        }
        let mut is_first: Vec<Option<bool>> = vec![None; groups];
        for &row in &order {
            let of_group = &members[group(row)];
            is_first[group(row)].get_or_insert_with(|| {
                let off = |due: &[i64]| due.iter().map(|left| left.abs()).sum::<i64>();
                let mut left = due.clone();
                for &row in of_group {
                    left[class(row)] -= 1;
                }
                let is_nearer = off(&left) < off(&due);
                if is_nearer {
                    due = left;
                }
                is_nearer
            });
        }
        order.into_iter().partition(|&row| is_first[group(row)] == Some(true))
    }
}

/// How many of `first` rows each class gets: its share, rounded down, and one more for those with the
/// largest remainders.
fn shares(rows: usize, first: usize, class: impl Fn(usize) -> usize) -> Vec<i64> {
    let mut counts = Vec::new();
    for class in (0..rows).map(class) {
        counts.resize(counts.len().max(class + 1), 0_u64);
        counts[class] += 1;
    }
    let due = |count: &u64| count * first as u64 / rows.max(1) as u64;
    let mut shares: Vec<u64> = counts.iter().map(due).collect();
    let left = first as u64 - shares.iter().sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    let remainder = |class: &usize| counts[*class] * first as u64 % rows.max(1) as u64;
    by_remainder.sort_by_key(|class| std::cmp::Reverse(remainder(class)));
    by_remainder.into_iter().take(left as usize).for_each(|class| shares[class] += 1);
    shares.into_iter().map(|share| share as i64).collect()
}

/// Which training rows are for training and which for validation, by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Training rows in the order in which they fill the mini-batches, the same every epoch.
    pub train: Vec<usize>,
    /// Validation rows in the order in which they were drawn.
    pub validation: Vec<usize>,
}

impl Split {
    /// The last rows for validation, the others in an order drawn by `data_seed`.
    pub fn with_last(rows: usize, validation: usize, data_seed: u64) -> Self {
        let mut train: Vec<usize> = (0..rows - validation).collect();
        train.shuffle(&mut ChaCha8Rng::seed_from_u64(data_seed));
        Self { train, validation: (rows - validation..rows).collect() }
    }

    /// Checks that a split leaves something to train on.
    ///
    /// # Errors
    /// A clause that says so where so many validation rows leave no training row, or there are none.
    pub fn check(rows: usize, validation: usize) -> Result<(), String> {
        if validation == 0 {
            let rows = counted(rows, "training row");
            return Err(format!("found a share that is none of the {rows}, expected one at least"));
        }
        if validation < rows {
            return Ok(());
        }
        Err(format!(
            "found {validation}, expected fewer than the {rows} training rows, so that \
             some are left to train on"
        ))
    }

    /// Draws one permutation of all rows: the first ones, as many as asked for, are the validation set, the
    /// others fill the mini-batches in their drawn order (paper 3.1, 3.2).
    ///
    /// # Errors
    /// As [`Split::check`].
    pub fn draw(
        rows: usize,
        validation: usize,
        data_seed: u64,
        drawing: Drawing<'_>,
    ) -> Result<Self, String> {
        Self::check(rows, validation)?;
        let mut generator = ChaCha8Rng::seed_from_u64(data_seed);
        let (validation, train) = drawing.draw(rows, validation, &mut generator);
        if train.is_empty() || validation.is_empty() {
            let (which, what) = ("validation rows", "groups that leave rows for both parts");
            return Err(format!(
                "found groups that cannot be divided into training and {which}, expected {what}"
            ));
        }
        Ok(Self { train, validation })
    }
}

/// The order in which an epoch (from 1) visits so many training rows where each epoch draws one:
/// the first as they come, every other by a stream of its own of `data_seed`'s generator, so that
/// no epoch's order depends on another's.
pub fn order_of_epoch(rows: usize, data_seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    if epoch > 1 {
        let mut generator = ChaCha8Rng::seed_from_u64(data_seed);
        generator.set_stream(epoch as u64);
        order.shuffle(&mut generator);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Drawing<'static> = Drawing { strata: &[], groups: &[] };

    #[test]
    fn the_stream_of_splits_never_changes() {
        let split = Split::draw(10, 3, 0, PLAIN).unwrap();
        assert_eq!(split.validation, [2, 8, 6]);
        assert_eq!(split.train, [1, 9, 5, 7, 4, 0, 3]);
        assert_ne!(Split::draw(10, 3, 1, PLAIN).unwrap(), Split::draw(10, 3, 0, PLAIN).unwrap());
    }

    #[test]
    fn the_orders_of_epochs_never_change() {
        assert_eq!(order_of_epoch(7, 0, 1), [0, 1, 2, 3, 4, 5, 6]);
        let later = [(0, 2), (0, 500), (1, 2)].map(|(seed, epoch)| order_of_epoch(7, seed, epoch));
        let expected = [[0, 1, 2, 6, 4, 3, 5], [2, 4, 0, 5, 6, 1, 3], [0, 1, 6, 4, 3, 5, 2]];
        assert_eq!(later, expected);
    }

    #[test]
    fn a_split_holds_every_row_once() {
        for (rows, validation) in [(2, 1), (100, 1), (100, 99)] {
            let split = Split::draw(rows, validation, 5, PLAIN).unwrap();
            assert_eq!(split.validation.len(), validation);
            let mut all = [split.validation, split.train].concat();
            all.sort_unstable();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }
        assert!(Split::draw(100, 100, 5, PLAIN).is_err());
        assert!(Split::draw(100, 0, 5, PLAIN).is_err());
    }

    #[test]
    fn each_part_gets_its_share_of_each_class() {
        let strata: Vec<u8> =
            (0..100).map(|row| u8::from(row % 10 == 0) + u8::from(row == 7)).collect();
        let drawing = Drawing { strata: &strata, groups: &[] };
        for seed in 0..5 {
            let split = Split::draw(100, 20, seed, drawing).unwrap();
            let of = |class| split.validation.iter().filter(|&&row| strata[row] == class).count();
            assert_eq!((split.validation.len(), of(1)), (20, 2), "of 89, 11 and 0 rows");
        }
    }

    #[test]
    fn no_group_is_divided_and_sizes_are_met_as_nearly_as_groups_allow() {
        let groups: Vec<u32> = (0..100).map(|row| row / 7).collect();
        let strata: Vec<u8> = (0..100).map(|row| (row % 2) as u8).collect();
        for strata in [&strata[..], &[]] {
            let drawing = Drawing { strata, groups: &groups };
            let split = Split::draw(100, 30, 3, drawing).unwrap();
            let in_validation = |group| split.validation.iter().any(|&row| groups[row] == group);
            assert!(split.train.iter().all(|&row| !in_validation(groups[row])));
            assert!((26..=34).contains(&split.validation.len()), "{}", split.validation.len());
        }
        let one = vec![3; 100];
        let problem = Split::draw(100, 30, 3, Drawing { strata: &[], groups: &one }).unwrap_err();
        assert!(problem.contains("groups that cannot be divided"), "{problem}");
    }

    #[test]
    fn sizes_are_rows_or_shares_and_come_back_from_their_text() {
        for (text, of_150) in [("30", 30), ("0.2", 30), ("0.333333", 50), ("0.000001", 0)] {
            let size = PartSize::parse(text).unwrap();
            assert_eq!((size.of(150), size.to_string().as_str()), (of_150, text));
        }
        for text in ["1.5", "-1", "1.0", "0.1234567", "", "nan", "0.0"] {
            assert_eq!(PartSize::parse(text), None, "{text}");
        }
    }
}
