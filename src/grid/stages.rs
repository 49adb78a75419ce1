//! The runs of a grid as a tree of stages: what is trained once and shared.
//!
//! Two runs are the same run for as long as training reads the same values. A stage is a stretch of
//! steps under such values; a run is a path from a root to the stage that it ends with. The idea is
//! Hippo's (Shin et al., "Hippo: Sharing Computations in Hyper-Parameter Optimization", VLDB 15(5)).
//! The tree comes from comparing what each step reads, whatever the keys that differ.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::network::update::Update;
use crate::train::checked::Checked;
use crate::train::reads::{Start, Step, StepReads, Steps};
use crate::train::score::CurveRow;

/// Steps that some runs have in common, and no further run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The stage whose state this one continues; a root has none.
    pub parent: Option<usize>,
    /// The checkpoint that a root resumes; one without starts with drawn weights.
    pub start: Option<usize>,
    /// From this step.
    pub from: Step,
    /// Up to and without this one.
    pub to: Step,
    /// One of its runs, by whose values it is trained.
    pub run: usize,
    /// The runs that end with it.
    pub ends: Vec<usize>,
    /// The stages that continue from it.
    pub children: Vec<usize>,
    /// Whether this root waits until nothing else is left.
    pub is_last: bool,
}

impl Stage {
    /// How many epochs it trains.
    pub fn epochs(&self) -> usize {
        self.to.epochs_before() - self.from.epochs_before()
    }
}

/// All stages, each behind its parent. Runs are identified by their index in the list that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTree {
    /// The stages.
    pub stages: Vec<Stage>,
}

/// A checkpoint that a run resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResumePoint {
    /// Which one.
    pub saved: usize,
    /// Where it stands.
    pub at: Step,
}

/// Whether a run may resume from a state that another run came to: they have read the same so far.
pub fn can_resume(run: &Checked, other: &Checked, at: Step) -> bool {
    let ((start, steps), (other_start, other_steps)) = (run.parts(), other.parts());
    start == other_start
        && (0..at.number()).map(Step::from_number).all(|step| {
            let reads = steps.at(step);
            reads.is_some() && reads == other_steps.at(step)
        })
}

/// A checkpoint: its step, the values of the run that brought it there, and its validated epochs.
pub type KnownState<'a> = (Step, &'a Checked, &'a [CurveRow]);

/// For each run, the farthest of these states that it may resume; the first of equals. One that has gone
/// beyond the epoch in which patience ends the run is not resumed. States are found by a hash of what they
/// have read, because there may be as many as runs.
pub fn farthest(runs: &[&Checked], states: &[KnownState<'_>]) -> Vec<Option<usize>> {
    let mut steps: Vec<Step> = states.iter().map(|(at, ..)| *at).collect();
    steps.sort_unstable();
    steps.dedup();
    let mut by_prefix: HashMap<(Step, u64), Vec<usize>> = HashMap::new();
    for (index, (at, of, _)) in states.iter().enumerate() {
        for prefix in prefixes(of, &[*at]) {
            by_prefix.entry(prefix).or_default().push(index);
        }
    }
    let farthest = |run: &&Checked| {
        let prefixes = prefixes(run, &steps).into_iter().rev();
        let states_there = prefixes.filter_map(|prefix| by_prefix.get(&prefix)).flatten();
        let fits = |&state: &usize| {
            let (at, of, validated) = states[state];
            let early_end = run.parts().1.early_end(validated);
            can_resume(run, of, at) && early_end.is_none_or(|epoch| epoch >= at.epochs_before())
        };
        states_there.copied().find(fits)
    };
    runs.iter().map(farthest).collect()
}

/// A hash of what a run has read before each of these steps, ascending, that it comes to.
fn prefixes(run: &Checked, steps: &[Step]) -> Vec<(Step, u64)> {
    let (start, reads) = run.parts();
    let mut hasher = DefaultHasher::new();
    start.hash(&mut hasher);
    let mut before = Step::FIRST;
    let mut hashes = Vec::new();
    for &at in steps {
        while before < at {
            let Some(reads) = reads.at(before) else { return hashes };
            bits_of(reads).hash(&mut hasher);
            before = before.next();
        }
        hashes.push((at, hasher.finish()));
    }
    hashes
}

/// The same bits for the same reads, and others for others.
fn bits_of(reads: StepReads) -> [u64; 4] {
    match reads {
        StepReads::Training(Update::Sgd { learning_rate, weight_decay, momentum }) => {
            // 0 and −0 are equal, and adding 0 makes them the same.
            let bits = |number: f64| (number + 0.0).to_bits();
            [0, bits(learning_rate), bits(weight_decay), bits(momentum)]
        }
        StepReads::Validation(due) => [1, due.map_or(0, |on_tie| 1 + on_tie as u64), 0, 0],
    }
}

impl StageTree {
    /// The tree in which no step is taken twice.
    pub fn shared<V: Borrow<Checked>>(runs: &[V]) -> Self {
        Self::plan(runs, &vec![None; runs.len()], true, Step::END)
    }

    /// The tree in which each run is trained by itself.
    pub fn unshared<V: Borrow<Checked>>(runs: &[V]) -> Self {
        Self::plan(runs, &vec![None; runs.len()], false, Step::END)
    }

    /// The tree of the remaining steps of runs that resume from checkpoints, each from the one that came
    /// farthest of those that it may resume ([`can_resume`]), up to and without the step `until`.
    /// Without `sharing`, each run is trained by itself.
    pub fn plan<V: Borrow<Checked>>(
        runs: &[V],
        starts: &[Option<ResumePoint>],
        sharing: bool,
        until: Step,
    ) -> Self {
        let (of_start, steps): (Vec<Start>, Vec<Steps>) =
            runs.iter().map(|run| run.borrow().parts()).unzip();
        let reads = |run: usize, at| steps[run].at(at).filter(|_| at < until);
        let mut tree = Self { stages: Vec::new() };
        let mut order = Vec::new();
        let mut groups: HashMap<(Start, Option<ResumePoint>), Vec<usize>> = HashMap::new();
        for (run, (of_start, &start)) in of_start.into_iter().zip(starts).enumerate() {
            if !sharing {
                tree.grow(&reads, start, vec![run]);
                continue;
            }
            let key = (of_start, start);
            let group = groups.entry(key).or_insert_with_key(|key| {
                order.push(key.clone());
                Vec::new()
            });
            group.push(run);
        }
        for key in order {
            let members = groups.remove(&key).expect("a group of its own");
            tree.grow(&reads, key.1, members);
        }
        tree
    }

    /// Lets trees wait until nothing else is left if one of their runs is to be last.
    pub fn put_last(&mut self, is_last: impl Fn(usize) -> bool) {
        for root in 0..self.stages.len() {
            let is_root = self.stages[root].parent.is_none();
            self.stages[root].is_last = is_root && self.runs_from(root).into_iter().any(&is_last);
        }
    }

    /// Adds the stages of runs that begin with the same state.
    fn grow(
        &mut self,
        reads: &dyn Fn(usize, Step) -> Option<StepReads>,
        start: Option<ResumePoint>,
        members: Vec<usize>,
    ) {
        let from = start.map_or(Step::FIRST, |start| start.at);
        let mut branches = vec![(None, from, members)];
        while let Some((parent, from, members)) = branches.pop() {
            let run = members[0];
            let mut to = from;
            while let Some(of_first) = reads(run, to)
                && members.iter().all(|&other| reads(other, to) == Some(of_first))
            {
                to = to.next();
            }
            let (ends, go_on): (Vec<usize>, Vec<usize>) =
                members.iter().partition(|&&run| reads(run, to).is_none());
            // Runs that differ from their first step on share no stage. One that was saved at its
            // very end has a stage without steps.
            let mut stage = parent;
            if to > from || !ends.is_empty() {
                let index = self.stages.len();
                let start = start.filter(|_| parent.is_none()).map(|start| start.saved);
                let children = Vec::new();
                let is_last = false;
                self.stages.push(Stage { parent, start, from, to, run, ends, children, is_last });
                if let Some(parent) = parent {
                    self.stages[parent].children.push(index);
                }
                stage = Some(index);
            }
            let mut kinds: Vec<Vec<usize>> = Vec::new();
            let mut place_of: HashMap<[u64; 4], usize> = HashMap::new();
            for run in go_on {
                let reads = reads(run, to).expect("it goes on");
                let place = *place_of.entry(bits_of(reads)).or_insert(kinds.len());
                if place == kinds.len() {
                    kinds.push(Vec::new());
                }
                kinds[place].push(run);
            }
            branches.extend(kinds.into_iter().rev().map(|members| (stage, to, members)));
        }
    }

    /// A stage and all that continue from it.
    pub fn stages_from(&self, stage: usize) -> Vec<&Stage> {
        let mut found = vec![&self.stages[stage]];
        let mut next = 0;
        while let Some(stage) = found.get(next) {
            let children = stage.children.iter().map(|&child| &self.stages[child]);
            found.extend(children.collect::<Vec<_>>());
            next += 1;
        }
        found
    }

    /// The runs that pass through a stage.
    pub fn runs_from(&self, stage: usize) -> Vec<usize> {
        self.stages_from(stage).iter().flat_map(|stage| &stage.ends).copied().collect()
    }

    /// How many epochs a stage and all that continue from it train.
    pub fn epochs_from(&self, stage: usize) -> usize {
        self.stages_from(stage).iter().map(|stage| stage.epochs()).sum()
    }

    /// How many epochs are trained in all.
    pub fn epochs(&self) -> usize {
        self.stages.iter().map(Stage::epochs).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::preprocess::Standardisation;
    use crate::grid::space::values_of as runs;
    use crate::train::hyperparams::Hyperparams;
    use crate::train::keys::KEYS;

    /// Follows each run's path from its root, and checks that it takes that run's steps in order.
    fn assert_paths_are_runs(tree: &StageTree, runs: &[Checked]) {
        let mut ended = vec![0; runs.len()];
        for (index, stage) in tree.stages.iter().enumerate() {
            assert!(stage.parent.is_none_or(|parent| parent < index));
            assert!(stage.from < stage.to && stage.start.is_none());
            for &child in &stage.children {
                assert_eq!(tree.stages[child].parent, Some(index));
                assert_eq!(tree.stages[child].from, stage.to);
            }
            for &run in &stage.ends {
                ended[run] += 1;
                assert_eq!(stage.to, Step::after(runs[run].epochs));
                let mut on_path = Some(index);
                while let Some(at) = on_path {
                    let stage = &tree.stages[at];
                    let mut position = stage.from;
                    while position < stage.to {
                        let trained_with = runs[stage.run].parts().1.at(position);
                        assert_eq!(trained_with, runs[run].parts().1.at(position));
                        position = position.next();
                    }
                    on_path = stage.parent;
                }
            }
        }
        assert!(ended.iter().all(|&count| count == 1), "{ended:?}");
    }

    #[test]
    fn table_1_trains_79_200_of_its_108_000_epochs() {
        let runs = runs("table1", &[]);
        let tree = StageTree::shared(&runs);
        assert_paths_are_runs(&tree, &runs);
        assert_eq!((tree.epochs(), tree.stages.len()), (79_200, 72 * 4));
        let alone = StageTree::unshared(&runs);
        assert_paths_are_runs(&alone, &runs);
        assert_eq!((alone.epochs(), alone.stages.len()), (108_000, 216));
    }

    #[test]
    fn runs_that_differ_only_in_what_is_never_read_are_trained_once() {
        let runs = runs("table1", &["epochs=200"]);
        let tree = StageTree::shared(&runs);
        assert_paths_are_runs(&tree, &runs);
        assert_eq!(tree.epochs(), 72 * 200);
    }

    #[test]
    fn a_grid_over_epochs_shares_every_prefix() {
        let only = ["learning_rate=0.2", "weight_decay=0", "hidden=8", "lr_decay=1"];
        let epochs = |every| {
            let assignments = [&only[..], &["epochs=300,100,500", every]].concat();
            let runs = runs("table1", &assignments);
            let tree = StageTree::shared(&runs);
            assert_paths_are_runs(&tree, &runs);
            tree.epochs()
        };
        assert_eq!(epochs("eval_every=5"), 500);
        // A run validates after its last epoch, where the longer ones do not: that is no training.
        assert_eq!(epochs("eval_every=7"), 500);
    }

    #[test]
    fn runs_that_begin_with_other_weights_data_or_networks_share_nothing() {
        for axis in [
            "seed=1,2",
            "data_seed=1,2",
            "batch_size=256,512",
            "activation=relu,tanh",
            "standardisation=batch,dataset",
            "reshuffle=true,false",
            "precision=f32,bf16",
        ] {
            let runs = runs("table2", &["epochs=10", "learning_rate=0.2", "hidden=8", axis]);
            let tree = StageTree::shared(&runs);
            assert_paths_are_runs(&tree, &runs);
            assert_eq!(tree.epochs(), 2 * 10, "{axis}");
        }
    }

    /// Runs that resume from checkpoints, each from the farthest that it may resume.
    fn starts(runs: &[Checked], saved: &[(usize, Step)]) -> Vec<Option<ResumePoint>> {
        let states: Vec<KnownState<'_>> =
            saved.iter().map(|&(run, at)| (at, &runs[run], &[][..])).collect();
        let found = farthest(&runs.iter().collect::<Vec<_>>(), &states);
        // Against a slow reference.
        for (run, found) in runs.iter().zip(&found) {
            let fitting =
                (0..saved.len()).filter(|&it| can_resume(run, states[it].1, states[it].0));
            assert_eq!(found.map(|it| states[it].0), fitting.map(|it| states[it].0).max());
        }
        let point = |saved: usize| ResumePoint { saved, at: states[saved].0 };
        found.into_iter().map(|saved| saved.map(point)).collect()
    }

    #[test]
    fn what_is_saved_is_not_trained_again_and_all_else_is() {
        let runs = runs("table1", &[]);
        let steps = |epochs| Step::after(epochs);
        // Runs 0 to 2 differ in LR decay alone, which is first read for epoch 201.
        for (saved, epochs_saved) in [
            (vec![(0, steps(100))], 100),
            (vec![(2, steps(200))], 200),
            (vec![(1, steps(250))], 50),
            (vec![(1, steps(250)), (0, steps(120))], 50 + 120),
            (vec![(0, steps(500)), (1, steps(200))], 300 + 200),
            (vec![(0, steps(500)), (1, steps(500)), (2, steps(500))], 200 + 3 * 300),
        ] {
            let starts = starts(&runs, &saved);
            let tree = StageTree::plan(&runs, &starts, true, Step::END);
            assert_eq!(79_200 - tree.epochs(), epochs_saved, "{saved:?}");
            let mut ends: Vec<usize> = tree.stages.iter().flat_map(|s| s.ends.clone()).collect();
            ends.sort_unstable();
            assert_eq!(ends, (0..runs.len()).collect::<Vec<_>>(), "{saved:?}");
            for stage in &tree.stages {
                assert!(stage.start.is_none() || stage.parent.is_none(), "{stage:?}");
                let from = stage.start.map_or(Step::FIRST, |start| saved[start].1);
                assert!(stage.parent.is_some() || stage.from == from, "{stage:?}");
            }
            let alone = StageTree::plan(&runs, &starts, false, Step::END);
            let saved_alone: usize =
                starts.iter().flatten().map(|start| start.at.epochs_before()).sum();
            assert_eq!(108_000 - alone.epochs(), saved_alone, "{saved:?}");
        }
    }

    #[test]
    fn a_run_goes_on_only_from_what_it_would_have_come_to_itself() {
        let all = ["lr_decay_every=10", "epochs=30", "eval_every=7", "lr_decay=0.5,0.25"];
        let runs = runs("table2", &[&all[..], &["hidden=8", "learning_rate=0.1"]].concat());
        let [a, b] = &runs[..] else { panic!("two runs") };
        let until = |a: &Checked, b: &Checked| {
            (0..100).take_while(|&steps| can_resume(a, b, Step::from_number(steps))).last()
        };
        // Ten epochs of training and validation are the same.
        assert_eq!(until(a, b), Some(20));
        assert_eq!(until(a, a), Some(60));
        let other = |change: fn(&mut Hyperparams)| {
            let mut values = (**a).clone();
            change(&mut values);
            until(a, &values.check().unwrap())
        };
        assert_eq!(other(|v| v.seed = 1), None);
        assert_eq!(other(|v| v.hidden = vec![9]), None);
        assert_eq!(other(|v| v.reshuffle = true), None);
        assert_eq!(other(|v| v.standardisation = Standardisation::Dataset), None);
        assert_eq!(other(|v| v.eval_every = 14), Some(13));
        assert_eq!(other(|v| v.epochs = 20), Some(40 - 1));
    }

    /// A new value must part runs, or be named here as one that only says when a run ends: before it is
    /// trained, or while.
    #[test]
    fn every_value_of_the_table_parts_runs_unless_it_only_sets_their_length() {
        let values = || Hyperparams {
            momentum: 0.5,
            epochs: 20,
            lr_decay_every: 10,
            ..Hyperparams::default()
        };
        let base = values().check().unwrap();
        for key in &KEYS {
            let mut changed = values();
            key.set(&mut changed, key.get(&base).other());
            let runs = [base.clone(), changed.check().unwrap()];
            let tree = StageTree::shared(&runs);
            assert_paths_are_runs(&tree, &runs);
            let separate = tree.stages.iter().filter(|stage| !stage.ends.is_empty()).count();
            let ends_on_the_way = key.name == "patience";
            assert_eq!(separate == 1, ends_on_the_way, "{} parts no runs", key.name);
            if ends_on_the_way {
                assert_eq!((tree.epochs(), tree.stages.len()), (20, 1));
                continue;
            }
            let only_sets_length = key.name == "epochs";
            assert_eq!(tree.epochs() == 21, only_sets_length, "{}", key.name);
        }
    }

    #[test]
    fn every_value_that_training_reads_parts_runs_when_it_is_first_read() {
        let base = ["learning_rate=0.2", "hidden=8", "lr_decay=0.5", "epochs=40"];
        for (axis, expected) in [
            ("weight_decay=0,0.1", 80),
            ("momentum=0,0.5,0.9", 120),
            ("learning_rate=0.1,0.2", 80),
            ("lr_decay_every=10,15,100", 40 + 30 + 25),
            ("lr_decay=0.5,0.1", 40),
        ] {
            let runs = runs("table2", &[&base[..], &[axis]].concat());
            let tree = StageTree::shared(&runs);
            assert_paths_are_runs(&tree, &runs);
            assert_eq!(tree.epochs(), expected, "{axis}");
        }
    }
}
