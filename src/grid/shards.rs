//! A grid in parts, for as many processes or machines: which run belongs to which shard.
//!
//! Runs that share a prefix are a family and stay together as long as there are no more shards than
//! families; the heaviest family goes to the shard with the least to do until all are given out, so
//! that two shards differ by no more than the work of one family. Beyond that, families are split,
//! the heaviest first, and each part trains the prefix that it needs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use crate::error::{Error, Place, Result};
use crate::grid::stages::{Stage, StageTree};

/// The most shards a grid may have: one a run.
const MAX_SHARDS: usize = 1_000_000;

/// One of several parts of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 0.
    pub index: usize,
    /// Of how many, from 1.
    pub count: usize,
}

impl fmt::Display for Shard {
    /// As on the command line; [`Shard::parse`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Reads `K/N`, where K counts from 0 as array jobs do.
    ///
    /// # Errors
    /// Where it is none, or K is not below N.
    pub fn parse(text: &str) -> Result<Self> {
        let place = || Place::Option("shard");
        let numbers = text.split_once('/').and_then(|(index, count)| {
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| text.parse::<usize>().ok()).flatten()
            };
            Some((number(index)?, number(count)?))
        });
        let Some((index, count)) = numbers else {
            let expected = "K/N, shard K of N with K from 0, such as 0/4";
            return Err(Error::unexpected(place(), format!("`{text}`"), expected));
        };
        if count == 0 || count > MAX_SHARDS {
            let expected = format!("1 to {MAX_SHARDS}");
            return Err(Error::unexpected(place(), format!("{count} shards"), expected));
        }
        if index >= count {
            let found = format!("shard {index} of {count}");
            let expected = format!("0 to {}, as shards count from 0", count - 1);
            return Err(Error::unexpected(place(), found, expected));
        }
        Ok(Self { index, count })
    }
}

/// Work in the order of its amount: the bits of numbers from 0 on are ordered as they are.
type Amount = u64;

/// The shard of each of `runs` runs, whose tree this is. What an epoch of a stage costs is in any
/// unit. The same tree and costs give the same shards on any machine.
pub fn assign(
    tree: &StageTree,
    runs: usize,
    count: usize,
    epoch_cost: &dyn Fn(&Stage) -> f64,
) -> Vec<usize> {
    let cost = |stage: &Stage| epoch_cost(stage) * stage.epochs() as f64;
    let mut families: Vec<Family> = Vec::new();
    let mut paths = vec![0.0; tree.stages.len()]; // from the root to the end of each stage
    let mut family_of = vec![0; tree.stages.len()];
    for (index, stage) in tree.stages.iter().enumerate() {
        let before = stage.parent.map_or(0.0, |parent| paths[parent]);
        paths[index] = before + cost(stage);
        family_of[index] = stage.parent.map_or(families.len(), |parent| family_of[parent]);
        if stage.parent.is_none() {
            families.push(Family::default());
        }
        let family = &mut families[family_of[index]];
        family.work += cost(stage);
        family.runs.extend(stage.ends.iter().map(|&run| (run, paths[index])));
    }
    let mut shard_of = vec![0; runs];
    for (part, shard) in deal(split(families, count), count) {
        part.runs.iter().for_each(|&(run, _)| shard_of[run] = shard);
    }
    shard_of
}

/// Runs that stay together.
#[derive(Debug, Clone, Default)]
struct Family {
    /// What all of them cost together, what they share counted once.
    work: f64,
    /// Each run, with what it would cost by itself, neighbours sharing most.
    runs: Vec<(usize, f64)>,
}

/// Splits the heaviest families until there are as many parts as shards, or as runs.
fn split(families: Vec<Family>, count: usize) -> Vec<Family> {
    if count <= families.len() {
        return families;
    }
    let mut parts = vec![1; families.len()];
    let share = |family: usize, parts: usize| (families[family].work / parts as f64).to_bits();
    let mut heaviest: BinaryHeap<(Amount, Reverse<usize>)> = (0..families.len())
        .filter(|&family| families[family].runs.len() > 1)
        .map(|family| (share(family, 1), Reverse(family)))
        .collect();
    for _ in families.len()..count {
        let Some((_, Reverse(family))) = heaviest.pop() else { break };
        parts[family] += 1;
        if parts[family] < families[family].runs.len() {
            heaviest.push((share(family, parts[family]), Reverse(family)));
        }
    }
    families.into_iter().zip(parts).flat_map(|(family, parts)| cut(family, parts)).collect()
}

/// Cuts a family into parts of neighbours, whose numbers of runs differ by one at most.
fn cut(family: Family, parts: usize) -> Vec<Family> {
    if parts == 1 {
        return vec![family];
    }
    let runs = &family.runs;
    let ends = (0..=parts).map(|part| part * runs.len() / parts).collect::<Vec<_>>();
    let part = |ends: &[usize]| {
        let runs = runs[ends[0]..ends[1]].to_vec();
        Family { work: runs.iter().map(|(_, cost)| cost).sum(), runs }
    };
    ends.windows(2).map(part).collect()
}

/// Gives each part, the heaviest first, to the shard that has the least to do so far.
fn deal(mut parts: Vec<Family>, count: usize) -> Vec<(Family, usize)> {
    // A stable sort: equals stay in the grid's order.
    parts.sort_by(|a, b| b.work.total_cmp(&a.work));
    let mut least: BinaryHeap<Reverse<(Amount, usize)>> =
        (0..count).map(|shard| Reverse((0, shard))).collect();
    parts
        .into_iter()
        .map(|part| {
            let Reverse((load, shard)) = least.pop().expect("there is a shard");
            let load = f64::from_bits(load) + part.work;
            least.push(Reverse((load.to_bits(), shard)));
            (part, shard)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::space::values_of as runs;
    use crate::train::checked::Checked;

    fn assigned(runs: &[Checked], count: usize) -> Vec<usize> {
        assign(&StageTree::shared(runs), runs.len(), count, &|_| 1.0)
    }

    /// What each shard trains, in epochs.
    fn work(runs: &[Checked], shard_of: &[usize], count: usize) -> Vec<usize> {
        let of = |shard: usize| {
            let its = runs.iter().zip(shard_of).filter(|&(_, &of)| of == shard);
            StageTree::shared(&its.map(|(run, _)| run).collect::<Vec<_>>()).epochs()
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn shards_divide_all_runs_and_keep_families_together_while_there_are_enough() {
        let runs = runs("table1", &[]);
        // 72 families of three decays each: 200 epochs in common and 300 of each run's own.
        let family = |run: usize| {
            let values = &runs[run];
            (values.learning_rate.to_bits(), values.weight_decay.to_bits(), values.hidden.clone())
        };
        for count in [1, 2, 3, 5, 7, 16, 71, 72] {
            let shard_of = assigned(&runs, count);
            for a in 0..runs.len() {
                for b in 0..a {
                    assert!(family(a) != family(b) || shard_of[a] == shard_of[b], "{count}");
                }
            }
            let work = work(&runs, &shard_of, count);
            assert_eq!(work.iter().sum::<usize>(), 79_200, "nothing is trained twice");
            let (least, most) = (work.iter().min().unwrap(), work.iter().max().unwrap());
            assert!(most - least <= 1100, "{count}: {work:?}");
        }
    }

    #[test]
    fn more_shards_than_families_split_the_heaviest_and_end_sooner() {
        let runs = runs("table1", &[]);
        for (count, longest) in [(73, 1100), (144, 800), (215, 800), (216, 500), (300, 500)] {
            let shard_of = assigned(&runs, count);
            let work = work(&runs, &shard_of, count);
            assert_eq!(work.iter().max(), Some(&longest), "{count}");
            let busy = work.iter().filter(|&&epochs| epochs > 0).count();
            assert_eq!(busy, count.min(216), "no shard is left without work");
        }
    }

    #[test]
    fn shards_weigh_runs_by_what_their_epochs_cost() {
        let values = ["learning_rate=0.1,0.2,0.3,0.4", "lr_decay=0.5", "hidden=8"];
        let runs = runs("table2", &[&values[..], &["epochs=10"]].concat());
        let tree = StageTree::shared(&runs);
        let cost = |stage: &Stage| if stage.run == 0 { 3.0 } else { 1.0 };
        let shard_of = assign(&tree, runs.len(), 2, &cost);
        let alone = shard_of.iter().filter(|&&shard| shard == shard_of[0]).count();
        assert_eq!(
            alone, 1,
            "the expensive one alone, the three cheap ones together: {shard_of:?}"
        );
    }

    #[test]
    fn a_shard_that_is_none_is_refused() {
        assert_eq!(Shard::parse("0/1").unwrap(), Shard { index: 0, count: 1 });
        assert_eq!(Shard::parse("15/16").unwrap().to_string(), "15/16");
        for (text, phrase) in [
            ("3", "found `3`, expected K/N"),
            ("a/4", "found `a/4`"),
            ("-1/4", "found `-1/4`"),
            ("+1/4", "found `+1/4`"),
            ("1/", "found `1/`"),
            ("0/0", "found 0 shards, expected 1 to 1000000"),
            ("0/1000001", "found 1000001 shards"),
            ("4/4", "found shard 4 of 4, expected 0 to 3, as shards count from 0"),
            ("99999999999999999999/4", "found `99999999999999999999/4`"),
        ] {
            let error = Shard::parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(&format!("shard: {phrase}")), "{error}");
        }
    }
}
