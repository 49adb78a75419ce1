//! A run in progress as a file, so that it can be resumed with the same bits.
//!
//! A first line names the format and its version, a second one the SHA-256 of all that follows: up
//! to three networks (weights, velocity, best weights), each as the length of a safetensors file and
//! that file. The first one's metadata has the run's values and everything that is not a tensor.

use sha2::{Digest, Sha256};

use crate::data::idx::hexadecimal;
use crate::memory::with_capacity;
use crate::network::params::{Metadata, Params, Vectors};
use crate::train::checked::Checked;
use crate::train::provenance::Provenance;
use crate::train::reads::Step;
use crate::train::run::{Best, TrainState};
use crate::train::score::{CurveRow, Score};

/// What a checkpoint of this format begins with, and none of another.
const FORMAT: &str = "rookie checkpoint 1\n";
/// How long the line with the SHA-256 is.
const SUM: usize = 65;
/// Where the lines of provenance stand in the metadata.
const PROVENANCE: &str = "provenance.";

/// The bytes of a checkpoint's file; see [`Checkpoint`] for the arguments.
pub fn to_bytes(
    values: &Checked,
    state: &TrainState,
    seconds: f64,
    provenance: &Provenance,
) -> Vec<u8> {
    let mut metadata = values.to_metadata();
    metadata.insert("position".into(), state.step.number().to_string());
    metadata.insert("seconds".into(), seconds.to_string());
    metadata.insert("curve".into(), state.curve.iter().map(curve_line).collect());
    if let Some(best) = &state.best {
        metadata.insert("best".into(), format!("{} {}", best.epoch, numbers(best.validation)));
    }
    for (name, value) in provenance.lines() {
        metadata.insert(format!("{PROVENANCE}{name}"), value.clone());
    }
    // One allocation for all of it: a copy would double what saving takes of the memory.
    let header = FORMAT.len() + SUM;
    let networks = 1 + state.slots[0].len() + usize::from(state.best.is_some());
    let floats = networks * Params::count(&state.params.sizes()).unwrap_or(0) as usize;
    let mut content = with_capacity(header + 4 * floats + 100 * state.curve.len() + 8192);
    content.resize(header, b' ');
    append_net(&mut content, &state.params, &metadata);
    for slot in 0..state.slots[0].len() {
        let layers = state.slots.iter().map(|slots| slots[slot].clone()).collect();
        append_net(&mut content, &Params { layers }, &Metadata::new());
    }
    if let Some(best) = &state.best {
        append_net(&mut content, &best.params, &Metadata::new());
    }
    let sum = hexadecimal(&Sha256::digest(&content[header..]));
    content[..header].copy_from_slice(format!("{FORMAT}{sum}\n").as_bytes());
    content
}

/// About the most bytes that a checkpoint of a run takes: two networks, one for each slot of its
/// update, and a line for each epoch.
pub fn checkpoint_bytes(values: &Checked, sizes: &[usize]) -> u64 {
    let networks = 2 + values.parts().0.slots as u64;
    let curve = 100 * values.epochs as u64;
    Params::count(sizes).unwrap_or(u64::MAX / 16) * 4 * networks + curve + 8192
}

fn append_net(content: &mut Vec<u8>, net: &Params, metadata: &Metadata) {
    let net = net.to_safetensors(&Vectors::new(), metadata);
    content.extend((net.len() as u64).to_le_bytes());
    content.extend(net);
}

/// A run in progress, with what its record will contain.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The values of the run that brought it here; others that have read the same values so far may resume
    /// from here too.
    pub values: Checked,
    /// Everything that training needs.
    pub state: TrainState,
    /// How long it has trained, evaluations included.
    pub seconds: f64,
    /// What it was trained on and with.
    pub provenance: Provenance,
}

impl Checkpoint {
    /// Reads what [`to_bytes`] wrote.
    ///
    /// # Errors
    /// Says in a clause why it cannot be resumed: another format, a file that is not whole, or
    /// contents that do not fit together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let format = FORMAT.trim_end();
        let Some(rest) = bytes.strip_prefix(FORMAT.as_bytes()) else {
            return Err(format!("found no `{format}`, which this version of rookie writes"));
        };
        let whole = rest.split_at_checked(SUM).filter(|(sum, content)| {
            *sum == format!("{}\n", hexadecimal(&Sha256::digest(content))).as_bytes()
        });
        let (_, content) =
            whole.ok_or("is truncated or was modified: its SHA-256 does not match")?;
        Self::from_content(content)
    }

    /// Reads what follows the checksum.
    ///
    /// # Errors
    /// Where its parts do not fit together.
    pub fn from_content(mut content: &[u8]) -> Result<Self, String> {
        let (params, metadata) = next_net(&mut content)?;
        let text = |name: &str| metadata.get(name).ok_or_else(|| format!("no `{name}`"));
        let values = Checked::from_metadata(text)?;
        let sizes = params.sizes();
        let another = |params: Params| {
            let fits = params.sizes() == sizes;
            if fits { Ok(params) } else { Err("its networks differ in their sizes".to_string()) }
        };
        if sizes[1..sizes.len() - 1] != values.hidden[..] {
            return Err(format!("found a network {sizes:?}, expected hidden {:?}", values.hidden));
        }
        let mut slots = vec![Vec::new(); params.layers.len()];
        for _ in 0..values.parts().0.slots {
            let layers = another(next_net(&mut content)?.0)?.layers;
            slots.iter_mut().zip(layers).for_each(|(slots, layer)| slots.push(layer));
        }
        let curve = curve(text("curve")?)?;
        let step = text("position")?.parse().ok().map(Step::from_number);
        let step = step.filter(|step| {
            *step <= Step::after(values.epochs) && step.epochs_before() == curve.len()
        });
        let step = step.ok_or("its step does not match its curve")?;
        let best = match metadata.get("best") {
            Some(line) => {
                let (epoch, validation) = best(line).ok_or("its best epoch cannot be read")?;
                if !(1..=curve.len()).contains(&epoch) {
                    return Err(format!("found a best epoch {epoch} of {}", curve.len()));
                }
                Some(Best { epoch, validation, params: another(next_net(&mut content)?.0)? })
            }
            None => None,
        };
        if !content.is_empty() {
            return Err("it has extra data at its end".into());
        }
        let seconds = text("seconds")?.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        let provenance = metadata.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix(PROVENANCE)?.to_string(), value.clone()))
        });
        Ok(Self {
            state: TrainState { step, params, slots, best, diverged: has_diverged(&curve), curve },
            seconds: seconds.ok_or("its seconds cannot be read")?,
            provenance: provenance.collect(),
            values,
        })
    }
}

/// Takes a network off the front.
fn next_net(content: &mut &[u8]) -> Result<(Params, Metadata), String> {
    let cut = |content: &&[u8]| -> Option<(usize, usize)> {
        let length = u64::from_le_bytes(*content.first_chunk::<8>()?);
        let length = usize::try_from(length).ok()?;
        Some((8, length.checked_add(8)?)).filter(|&(_, end)| end <= content.len())
    };
    let (from, to) = cut(content).ok_or("a network is missing")?;
    let (net, _, metadata) = Params::from_safetensors(&content[from..to], &[])?;
    *content = &content[to..];
    Ok((net, metadata))
}

/// A run stops with the first row whose loss is not finite.
fn has_diverged(curve: &[CurveRow]) -> bool {
    curve.last().is_some_and(|row| {
        let validation = row.validation.map_or(0.0, |score| score.loss);
        !(row.train.loss.is_finite() && validation.is_finite())
    })
}

/// The shortest decimals that read back as the same numbers.
fn numbers(score: Score) -> String {
    format!("{} {}", score.loss, score.accuracy)
}

fn curve_line(row: &CurveRow) -> String {
    let validation =
        row.validation.map_or_else(String::new, |score| format!(" {}", numbers(score)));
    format!("{} {}{validation}\n", row.learning_rate, numbers(row.train))
}

fn curve(text: &str) -> Result<Vec<CurveRow>, String> {
    let row = |(index, line): (usize, &str)| {
        let numbers: Option<Vec<f64>> = line.split(' ').map(|number| number.parse().ok()).collect();
        let (learning_rate, loss, accuracy, validation) = match numbers?[..] {
            [rate, loss, accuracy] => (rate, loss, accuracy, None),
            [rate, loss, accuracy, validation_loss, validation_accuracy] => {
                let score = Score { loss: validation_loss, accuracy: validation_accuracy };
                (rate, loss, accuracy, Some(score))
            }
            _ => return None,
        };
        let train = Score { loss, accuracy };
        Some(CurveRow { epoch: index + 1, learning_rate, train, validation })
    };
    let rows: Option<Vec<CurveRow>> = text.lines().enumerate().map(row).collect();
    rows.ok_or_else(|| "its curve cannot be read".into())
}

fn best(line: &str) -> Option<(usize, Score)> {
    let mut fields = line.split(' ');
    let epoch = fields.next()?.parse().ok()?;
    let (loss, accuracy) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((epoch, Score { loss, accuracy }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::params::Layer;
    use crate::train::hyperparams::Hyperparams;

    /// By layer, of two layers.
    fn slots(networks: Vec<Params>) -> Vec<Vec<Layer>> {
        let of_layer =
            |layer: usize| networks.iter().map(|net| net.layers[layer].clone()).collect();
        (0..2).map(of_layer).collect()
    }

    fn checkpoint(momentum: f64) -> Checkpoint {
        let values = Hyperparams { hidden: vec![3], momentum, ..Hyperparams::default() };
        let params = |seed| Params::he_init(&[4, 3, 2], seed);
        let score = |x: f64| Score { loss: x / 3.0, accuracy: 1.0 / (x + 2.0) };
        let row = |epoch: usize| CurveRow {
            epoch,
            learning_rate: 0.2 * 0.3,
            train: score(epoch as f64),
            validation: epoch.is_multiple_of(2).then_some(score(0.7)),
        };
        let best = Best { epoch: 2, validation: score(0.7), params: params(7) };
        let state = TrainState {
            step: Step::from_number(5),
            params: params(1),
            slots: slots(if momentum > 0.0 { vec![params(2)] } else { vec![] }),
            best: Some(best),
            curve: (1..=3).map(row).collect(),
            diverged: false,
        };
        let line = ("cpu".to_string(), "a \"quoted\" name".to_string());
        let provenance = Provenance::from_iter([line]);
        Checkpoint { values: values.check().unwrap(), state, seconds: 1.25, provenance }
    }

    fn bytes_of(it: &Checkpoint) -> Vec<u8> {
        to_bytes(&it.values, &it.state, it.seconds, &it.provenance)
    }

    #[test]
    fn a_state_comes_back_from_its_file_to_the_last_bit() {
        for momentum in [0.0, 0.9] {
            let mut before = checkpoint(momentum);
            assert_eq!(Checkpoint::from_bytes(&bytes_of(&before)).as_ref(), Ok(&before));
            // Weights that have run away are kept too: the next loss will tell.
            before.state.params.layers[0].weights[(0, 0)] = f32::INFINITY;
            before.state.best = None;
            assert_eq!(Checkpoint::from_bytes(&bytes_of(&before)).as_ref(), Ok(&before));
        }
    }

    #[test]
    fn a_file_that_is_torn_or_changed_anywhere_is_refused() {
        let bytes = bytes_of(&checkpoint(0.9));
        for cut in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(Checkpoint::from_bytes(&changed).is_err(), "changed at {at}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Checkpoint::from_bytes(&longer).is_err());
    }

    #[test]
    fn another_version_is_told_from_a_torn_file() {
        let bytes = bytes_of(&checkpoint(0.0));
        let other = [b"rookie checkpoint 2\n", &bytes[FORMAT.len()..]].concat();
        let problem = Checkpoint::from_bytes(&other).unwrap_err();
        assert!(problem.contains("rookie checkpoint 1"), "{problem}");
    }

    #[test]
    fn contents_that_do_not_fit_together_are_refused_though_their_sum_does() {
        let refused = |change: fn(&mut Checkpoint)| {
            let mut it = checkpoint(0.9);
            change(&mut it);
            Checkpoint::from_bytes(&bytes_of(&it)).unwrap_err()
        };
        let found = refused(|it| it.state.step = Step::from_number(7));
        assert!(found.contains("does not match its curve"), "{found}");
        let found = refused(|it| it.state.best.as_mut().unwrap().epoch = 4);
        assert!(found.contains("a best epoch 4 of 3"), "{found}");
        let found = refused(|it| it.state.slots = slots(vec![Params::he_init(&[4, 2, 2], 0)]));
        assert!(found.contains("differ in their sizes"), "{found}");
        let found = refused(|it| it.state.slots = slots(vec![]));
        assert!(found.contains("a network is missing"), "{found}");
        let found = refused(|it| it.state.params = Params::he_init(&[4, 5, 2], 0));
        assert!(found.contains("expected hidden [3]"), "{found}");
        let found = refused(|it| it.seconds = f64::NAN);
        assert!(found.contains("seconds"), "{found}");
    }
}
