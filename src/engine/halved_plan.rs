//! What a grid costs when it is halved. Which candidates will go on is not known, so they are taken to be spread
//! evenly over the grid.

use crate::engine::plan::Plan;
use crate::grid::candidates::candidates;
use crate::grid::schedule::Forecast;
use crate::grid::space::Run;
use crate::grid::stages::ResumePoint;
use crate::train::checked::Checked;
use crate::train::halving::Halving;
use crate::train::reads::Step;

/// A grid that is halved, rung by rung.
#[derive(Debug)]
pub struct HalvedPlan<'g> {
    legs: Vec<Plan<'g>>, // to each rung, and at last to the end
    /// At each rung: its epoch, how many candidates there are, and how many go on.
    pub rungs: Vec<(usize, usize, usize)>,
    /// The bytes of the states that are kept of stopped runs.
    pub kept_bytes: u64,
}

impl<'g> HalvedPlan<'g> {
    /// Of the runs of a plan.
    pub fn new(whole: &Plan<'g>, halving: &Halving, sharing: bool) -> Self {
        let (mut legs, mut rungs, mut kept_bytes) = (Vec::new(), Vec::new(), 0);
        let mut active: Vec<&Run> = whole.runs.clone();
        let mut before: (usize, Vec<usize>) = (0, Vec::new()); // the last rung, and the candidate of each run
        for &rung in halving.rungs() {
            legs.push(leg(whole, &active, &before, (sharing, Step::after(rung))));
            let values: Vec<&Checked> = active.iter().map(|run| &run.values).collect();
            let candidates = candidates(&values, rung);
            let kept = halving.count_kept(candidates.len());
            let is_kept = |index: usize| index * kept % candidates.len() < kept;
            let (mut go_on, mut of_candidate) = (Vec::new(), Vec::new());
            for (index, members) in candidates.iter().enumerate() {
                if is_kept(index) {
                    go_on.extend(members.iter().map(|&run| active[run]));
                    of_candidate.extend(std::iter::repeat_n(index, members.len()));
                    continue;
                }
                let longer = members.iter().find(|&&run| values[run].epochs > rung);
                let run = longer.map(|&run| active[run]);
                kept_bytes +=
                    run.map_or(0, |run| whole.checkpoint_bytes(run) * seeds(members, &values));
            }
            rungs.push((rung, candidates.len(), kept));
            (active, before) = (go_on, (rung, of_candidate));
        }
        legs.push(leg(whole, &active, &before, (sharing, Step::END)));
        Self { legs, rungs, kept_bytes }
    }

    /// How many epochs are trained.
    pub fn epochs(&self) -> usize {
        self.legs.iter().map(|leg| leg.tree.epochs()).sum()
    }

    /// Floating-point operations of all of them.
    pub fn cost(&self) -> f64 {
        self.legs.iter().map(Plan::cost).sum()
    }

    /// How long that takes on so many workers, in floating-point operations of one, and the share of their time
    /// in which they have nothing to do, at a rung's end for instance.
    pub fn forecast(&self, workers: usize) -> (f64, f64) {
        let legs: Vec<Forecast> = self
            .legs
            .iter()
            .filter(|leg| leg.tree.epochs() > 0)
            .map(|leg| leg.forecast(workers))
            .collect();
        let length: f64 = legs.iter().map(|leg| leg.length).sum();
        (length, legs.iter().map(|leg| leg.idle_share * leg.length).sum::<f64>() / length)
    }
}

/// The part of a grid from one rung, and which candidate each run was there, to the next.
fn leg<'g>(
    whole: &Plan<'g>,
    active: &[&'g Run],
    (rung, of_candidate): &(usize, Vec<usize>),
    until: (bool, Step),
) -> Plan<'g> {
    let mut runs = Vec::new();
    let mut points = Vec::new();
    for (index, run) in active.iter().enumerate().filter(|(_, run)| run.values.epochs > *rung) {
        runs.push(*run);
        let at = Step::after(*rung);
        points.push(of_candidate.get(index).map(|&saved| ResumePoint { saved, at }));
    }
    Plan::new(runs, &points, until, whole.workers, whole.shape)
}

/// How many states the runs of a candidate have: one for each pair of seeds and each fold.
fn seeds(members: &[usize], values: &[&Checked]) -> u64 {
    let mut seeds: Vec<_> = members.iter().map(|&run| values[run].repeat()).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds.len() as u64
}
