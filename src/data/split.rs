//! Which training rows are for training and which for validation, drawn by a seed, and the order of epochs.

use std::cmp::Reverse;
use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::counted;

/// The most folds that rows are divided into.
pub const MAX_FOLDS: u16 = 1000;

/// How many rows are set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartSize {
    /// So many.
    Rows(usize),
    /// So many millionths of all, rounded.
    Share(u32),
    /// One of so many folds of equal size, from 1. Fold 0 stands for all of them: in a model, that none was
    /// set aside.
    Fold {
        /// Which one.
        fold: u16,
        /// Of how many, from 2 to [`MAX_FOLDS`].
        folds: u16,
    },
}

impl PartSize {
    /// Whether it stands for all folds: nothing is set aside.
    pub fn is_all_folds(self) -> bool {
        matches!(self, Self::Fold { fold: 0, .. })
    }

    /// From a share above 0 and below 1 with up to six decimals, a whole number of rows, `fold2of5`, or `5 folds`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((fold, folds)) = text.strip_prefix("fold").and_then(|it| it.split_once("of")) {
            let fold = fold.parse().ok().filter(|fold| *fold > 0)?;
            return Some(Self::Fold { fold, folds: folds.parse().ok()? });
        }
        if let Some(folds) = text.strip_suffix(" folds") {
            return Some(Self::Fold { fold: 0, folds: folds.parse().ok()? });
        }
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
            Self::Fold { fold: 0, .. } => 0,
            Self::Fold { fold, folds } => {
                let (fold, folds) = (usize::from(fold), usize::from(folds));
                rows / folds + usize::from(fold <= rows % folds)
            }
        }
    }

    /// Which fold it is, and of how many; `None` if it is none.
    pub fn fold(self) -> Option<(u16, u16)> {
        match self {
            Self::Fold { fold, folds } => Some((fold, folds)),
            Self::Rows(_) | Self::Share(_) => None,
        }
    }

    /// The same for every fold of a division.
    #[must_use]
    pub fn of_all_folds(self) -> Self {
        self.fold().map_or(self, |(_, folds)| Self::Fold { fold: 0, folds })
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
            Self::Fold { fold: 0, folds } => write!(f, "{folds} folds"),
            Self::Fold { fold, folds } => write!(f, "fold{fold}of{folds}"),
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
        let (order, members) = self.shuffled(rows, generator);
        let (class, group) = (|row| self.class(row), |row| self.group(row));
        let mut due = shares(rows, first, class);
        let mut is_first: Vec<Option<bool>> = vec![None; members.len()];
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

    fn class(&self, row: usize) -> usize {
        self.strata.get(row).map_or(0, |&class| usize::from(class))
    }

    fn group(&self, row: usize) -> usize {
        self.groups.get(row).map_or(row, |&group| group as usize)
    }

    /// A permutation of the rows, and the rows of each group in its order.
    fn shuffled(&self, rows: usize, generator: &mut ChaCha8Rng) -> (Vec<usize>, Vec<Vec<usize>>) {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(generator);
        let groups = order.iter().map(|&row| self.group(row)).max().map_or(0, |last| last + 1);
        let mut members = vec![Vec::new(); groups];
        for &row in &order {
            members[self.group(row)].push(row);
        }
        (order, members)
    }

    /// Draws a permutation of the rows, and the fold, from 0, of the row at each index. The largest groups come
    /// first, and each goes to the fold that has the fewest rows of its classes, of equal ones to the
    /// smallest. So folds of single rows differ by one row at most, and by one row of each class.
    fn folds(
        &self,
        rows: usize,
        folds: usize,
        generator: &mut ChaCha8Rng,
    ) -> (Vec<usize>, Vec<usize>) {
        let (order, mut members) = self.shuffled(rows, generator);
        members.retain(|group| !group.is_empty());
        // In the order of the draw, which that of the groups' numbers is not.
        let mut place = vec![0; rows];
        order.iter().enumerate().for_each(|(at, &row)| place[row] = at);
        members.sort_by_key(|of| (Reverse(of.len()), self.class(of[0]), place[of[0]]));
        let classes = 1 + (0..rows).map(|row| self.class(row)).max().unwrap_or(0);
        let (mut counts, mut sizes) = (vec![vec![0; classes]; folds], vec![0; folds]);
        let mut fold_of = vec![0; rows];
        for group in members {
            let of_classes =
                |fold: usize| group.iter().map(|&row| counts[fold][self.class(row)]).sum::<usize>();
            let fold = (0..folds).min_by_key(|&fold| (of_classes(fold), sizes[fold]));
            let fold = fold.expect("there are folds");
            sizes[fold] += group.len();
            for row in group {
                counts[fold][self.class(row)] += 1;
                fold_of[row] = fold;
            }
        }
        (order, fold_of)
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
    by_remainder.sort_by_key(|class| Reverse(remainder(class)));
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
            return Err(format!(
                "found a share that is less than one of the {rows}, expected at least one"
            ));
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

    /// Draws one permutation of all rows and divides it into so many folds; one of them, from 1, is the
    /// validation set. Both parts are in the order of the permutation. Without a fold, 0, all rows are for
    /// training.
    ///
    /// # Errors
    /// A clause that says so where there are too few rows or groups.
    pub fn fold(
        rows: usize,
        (fold, folds): (u16, u16),
        data_seed: u64,
        drawing: Drawing<'_>,
    ) -> Result<Self, String> {
        Self::check_folds(rows, folds)?;
        let (fold, folds) = (usize::from(fold), usize::from(folds));
        let mut generator = ChaCha8Rng::seed_from_u64(data_seed);
        let (order, fold_of) = drawing.folds(rows, folds, &mut generator);
        if (0..folds).any(|fold| !fold_of.contains(&fold)) {
            return Err(format!(
                "found groups for fewer than {folds} folds, expected one for each"
            ));
        }
        let (validation, train) = order.into_iter().partition(|&row| fold_of[row] + 1 == fold);
        Ok(Self { train, validation })
    }

    /// Checks that each fold has a row.
    ///
    /// # Errors
    /// A clause that says so where there are fewer rows.
    pub fn check_folds(rows: usize, folds: u16) -> Result<(), String> {
        if usize::from(folds) <= rows {
            return Ok(());
        }
        let rows = counted(rows, "training row");
        Err(format!("found {folds} folds of {rows}, expected at most as many folds as rows"))
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

    /// The validation rows of each fold.
    fn folds(rows: usize, folds: u16, drawing: Drawing<'_>) -> Vec<Vec<usize>> {
        let fold = |fold| {
            let split = Split::fold(rows, (fold, folds), 3, drawing).unwrap();
            let mut all = [&split.validation[..], &split.train].concat();
            all.sort_unstable();
            assert_eq!(all, (0..rows).collect::<Vec<_>>(), "fold {fold}");
            split.validation
        };
        (1..=folds).map(fold).collect()
    }

    #[test]
    fn folds_have_every_row_once_and_differ_by_one_row_of_each_class() {
        let strata: Vec<u8> = (0..103).map(|row| [0, 0, 0, 1, 0, 2, 1][row % 7]).collect();
        for (count, strata) in [(2, &strata[..]), (5, &strata), (10, &strata), (103, &[]), (7, &[])]
        {
            let folds = folds(103, count, Drawing { strata, groups: &[] });
            let mut all = folds.concat();
            all.sort_unstable();
            assert_eq!(all, (0..103).collect::<Vec<_>>());
            for (fold, rows) in (1..).zip(&folds) {
                assert_eq!(rows.len(), PartSize::Fold { fold, folds: count }.of(103));
            }
            for class in strata {
                let of =
                    |rows: &Vec<usize>| rows.iter().filter(|&&it| strata[it] == *class).count();
                let counts: Vec<usize> = folds.iter().map(of).collect();
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
        let problem = Split::fold(4, (1, 5), 0, PLAIN).unwrap_err();
        assert_eq!(
            problem,
            "found 5 folds of 4 training rows, expected at most as many folds as rows"
        );
    }

    #[test]
    fn folds_are_drawn_by_the_seed_and_their_stream_never_changes() {
        let split = Split::fold(10, (2, 3), 0, PLAIN).unwrap();
        assert_eq!((split.validation, split.train), (vec![8, 9, 4], vec![2, 6, 1, 5, 7, 0, 3]));
        let other = Split::fold(10, (2, 3), 1, PLAIN).unwrap();
        assert_ne!(other, Split::fold(10, (2, 3), 0, PLAIN).unwrap());
        let all = Split::fold(10, (0, 3), 0, PLAIN).unwrap();
        assert_eq!((all.train.len(), all.validation.len()), (10, 0));
    }

    #[test]
    fn folds_divide_no_group_and_are_of_like_size() {
        let groups: Vec<u32> =
            (0..100).map(|row| [0, 4, 4, 9, 1 + row / 7][row as usize % 5]).collect();
        let strata: Vec<u8> = (0..100).map(|row| (row % 2) as u8).collect();
        for strata in [&strata[..], &[]] {
            let folds = folds(100, 3, Drawing { strata, groups: &groups });
            let of = |rows: &Vec<usize>| rows.iter().map(|&it| groups[it]).collect::<Vec<_>>();
            for (at, rows) in folds.iter().enumerate() {
                let others = folds.iter().enumerate().filter(|(other, _)| *other != at);
                let others: Vec<u32> = others.flat_map(|(_, rows)| of(rows)).collect();
                assert!(of(rows).iter().all(|group| !others.contains(group)));
                assert!((28..=42).contains(&rows.len()), "{}", rows.len());
            }
        }
        let two: Vec<u32> = (0..100).map(|row| 3 * (row % 2)).collect();
        let problem = Split::fold(100, (1, 3), 0, Drawing { strata: &[], groups: &two });
        assert!(problem.unwrap_err().contains("groups for fewer than 3 folds"));
    }

    #[test]
    fn sizes_are_rows_or_shares_and_come_back_from_their_text() {
        for (text, of_150) in [("30", 30), ("0.2", 30), ("0.333333", 50), ("0.000001", 0)] {
            let size = PartSize::parse(text).unwrap();
            assert_eq!((size.of(150), size.to_string().as_str()), (of_150, text));
        }
        let fold = PartSize::Fold { fold: 2, folds: 5 };
        assert_eq!(
            (PartSize::parse("fold2of5"), fold.to_string().as_str()),
            (Some(fold), "fold2of5")
        );
        for text in ["1.5", "-1", "1.0", "0.1234567", "", "nan", "0.0", "fold2", "foldof", "2of5"] {
            assert_eq!(PartSize::parse(text), None, "{text}");
        }
    }
}
