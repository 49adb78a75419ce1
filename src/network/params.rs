//! Weights and biases of a network of any depth: their seeded initialisation, and their way to and
//! from a safetensors file.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array1, Array2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::memory::{with_capacity, zeros};

/// The stream of a seed's generator that initial weights are drawn from. Splits and batch orders take
/// stream 0 and those numbered by epoch, so that equal seeds do not give both the same numbers.
const STREAM: u64 = 1 << 32;

/// Vectors of a safetensors file besides weights and biases, by name.
pub type Vectors = BTreeMap<String, Vec<f64>>;
/// Strings of a safetensors file, by name.
pub type Metadata = BTreeMap<String, String>;

/// One linear layer: `z = a · weights + biases`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// (inputs, outputs), so that a row holds what one input feature sends on.
    pub weights: Array2<f32>,
    /// (outputs).
    pub biases: Array1<f32>,
}

impl Layer {
    /// All zero, of the same shape.
    fn zeros(&self) -> Self {
        Self { weights: zeros(self.weights.dim()), biases: Array1::zeros(self.biases.dim()) }
    }

    /// Weights, row after row, and biases.
    pub(super) fn as_slices_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        let Self { weights, biases } = self;
        let weights = weights.as_slice_mut().expect("rows one after the other");
        (weights, biases.as_slice_mut().expect("contiguous"))
    }
}

/// The layers of a network, first to last.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// At least one; the outputs of one are the inputs of the next.
    pub layers: Vec<Layer>,
}

impl Params {
    /// Weights drawn from N(0, 2 / inputs of the layer) and biases zero (He initialisation; paper
    /// 3.2, read as `docs/protocol.md` says). `sizes` is D, then each hidden width, then C.
    ///
    /// Drawn from a stream of its own of `ChaCha8` seeded with `seed`, layer by layer and row by row.
    pub fn he_init(sizes: &[usize], seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let layers = sizes
            .windows(2)
            .map(|pair| {
                let (inputs, outputs) = (pair[0], pair[1]);
                let deviation = (2.0 / inputs as f64).sqrt();
                let mut draw = || {
                    let unit: f64 = StandardNormal.sample(&mut rng);
                    (deviation * unit) as f32
                };
                let mut weights = zeros((inputs, outputs));
                weights.iter_mut().for_each(|weight| *weight = draw());
                Layer { weights, biases: Array1::zeros(outputs) }
            })
            .collect();
        Self { layers }
    }

    /// So many tensors, all zero, beside each one of a layer: what an update keeps, layer by layer.
    pub fn zero_slots(&self, count: usize) -> Vec<Vec<Layer>> {
        let slots = |layer: &Layer| (0..count).map(|_| layer.zeros()).collect();
        self.layers.iter().map(slots).collect()
    }

    /// D, then each hidden width, then C.
    pub fn sizes(&self) -> Vec<usize> {
        let outputs = self.layers.iter().map(|layer| layer.weights.ncols());
        std::iter::once(self.layers[0].weights.nrows()).chain(outputs).collect()
    }

    /// How many numbers a network of these sizes has, if that fits into 64 bits.
    pub fn count(sizes: &[usize]) -> Option<u64> {
        sizes.windows(2).try_fold(0_u64, |sum, pair| {
            let (inputs, outputs) = (pair[0] as u64, pair[1] as u64);
            sum.checked_add(inputs.checked_add(1)?.checked_mul(outputs)?)
        })
    }

    /// Checks that every number is finite.
    ///
    /// # Errors
    /// Names a tensor and what was found in it.
    pub fn check_finite(&self) -> Result<(), String> {
        for (number, layer) in (1..).zip(&self.layers) {
            let weights = layer.weights.iter().map(|value| ("w", value));
            let mut all = weights.chain(layer.biases.iter().map(|value| ("b", value)));
            if let Some((name, value)) = all.find(|(_, value)| !value.is_finite()) {
                return Err(format!("found {value} in {name}{number}, expected finite numbers"));
            }
        }
        Ok(())
    }

    /// The same numbers in memory of their own.
    #[must_use]
    pub fn copied(&self) -> Self {
        let mut copy = Self { layers: self.layers.iter().map(Layer::zeros).collect() };
        copy.copy_from(self);
        copy
    }

    /// Copies the numbers of another network of the same sizes into this one.
    pub fn copy_from(&mut self, other: &Self) {
        for (layer, from) in self.layers.iter_mut().zip(&other.layers) {
            layer.weights.assign(&from.weights);
            layer.biases.assign(&from.biases);
        }
    }

    /// A safetensors file with the float32 tensors `w1` (inputs × outputs), `b1`, `w2`, …, the given
    /// vectors in float64, and the given metadata. The same contents give the same bytes.
    pub fn to_safetensors(&self, vectors: &Vectors, metadata: &Metadata) -> Vec<u8> {
        let mut tensors = Vec::new();
        // The tensors, the library's file, and the one with a sorted header.
        let bytes = Self::count(&self.sizes()).map_or(usize::MAX, |count| 3 * 4 * count as usize);
        drop(with_capacity::<u8>(bytes));
        for (number, layer) in (1..).zip(&self.layers) {
            let weights = layer.weights.iter().flat_map(|value| value.to_le_bytes()).collect();
            let shape = layer.weights.shape().to_vec();
            tensors.push((format!("w{number}"), Dtype::F32, shape, weights));
            let biases: Vec<u8> = layer.biases.iter().flat_map(|v| v.to_le_bytes()).collect();
            let shape = layer.biases.shape().to_vec();
            tensors.push((format!("b{number}"), Dtype::F32, shape, biases));
        }
        for (name, values) in vectors {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((name.clone(), Dtype::F64, vec![values.len()], bytes));
        }
        let views = tensors.iter().map(|(name, kind, shape, bytes)| {
            let view = TensorView::new(*kind, shape.clone(), bytes);
            (name.as_str(), view.expect("as many bytes as its shape has"))
        });
        let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
        let file = serialize(views, Some(metadata)).expect("names are distinct");
        with_sorted_header(&file)
    }

    /// Reads what [`Params::to_safetensors`] wrote; `names` are those of the vectors that it may hold.
    ///
    /// # Errors
    /// Says in a clause what is wrong: not safetensors, a tensor missing, superfluous or of another
    /// type than it should have, or shapes that do not chain.
    pub fn from_safetensors(
        file: &[u8],
        names: &[&str],
    ) -> Result<(Self, Vectors, Metadata), String> {
        let (_, header) = SafeTensors::read_metadata(file).map_err(|error| {
            format!("not a whole safetensors file ({error}), expected one that rookie wrote")
        })?;
        let tensors = SafeTensors::deserialize(file).map_err(|error| error.to_string())?;
        let mut vectors = Vectors::new();
        for name in names.iter().filter(|name| tensors.tensor(name).is_ok()) {
            let (values, _) = numbers(&tensors, name, Dtype::F64, f64::from_le_bytes)?;
            vectors.insert((*name).to_string(), values);
        }
        let floats = |name: &str| numbers(&tensors, name, Dtype::F32, f32::from_le_bytes);
        let mut layers: Vec<Layer> = Vec::new();
        for number in 1..=(tensors.len() - vectors.len()) / 2 {
            let (weights, shape) = floats(&format!("w{number}"))?;
            let [inputs, outputs] = shape[..] else {
                return Err(format!("found w{number} of shape {shape:?}, expected two dimensions"));
            };
            let (biases, shape) = floats(&format!("b{number}"))?;
            if shape != [outputs] {
                return Err(format!("found b{number} of shape {shape:?}, expected [{outputs}]"));
            }
            let before = layers.last().map_or(inputs, |layer| layer.weights.ncols());
            if inputs != before || inputs == 0 || outputs == 0 {
                return Err(format!(
                    "found w{number} of shape [{inputs}, {outputs}], expected {before} rows and at \
                     least one column"
                ));
            }
            let weights = Array2::from_shape_vec((inputs, outputs), weights)
                .map_err(|error| error.to_string())?;
            layers.push(Layer { weights, biases: Array1::from_vec(biases) });
        }
        if layers.is_empty() || tensors.len() != 2 * layers.len() + vectors.len() {
            let mut names = tensors.names();
            names.sort_unstable();
            return Err(format!("found the tensors {names:?}, expected w1, b1, w2, b2, …"));
        }
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok((Self { layers }, vectors, metadata))
    }
}

/// The numbers of a tensor and its shape.
fn numbers<T, const SIZE: usize>(
    tensors: &SafeTensors<'_>,
    name: &str,
    kind: Dtype,
    number: fn([u8; SIZE]) -> T,
) -> Result<(Vec<T>, Vec<usize>), String> {
    let tensor = tensors.tensor(name).map_err(|_| format!("no tensor {name}"))?;
    if tensor.dtype() != kind {
        return Err(format!("found {name} as {:?}, expected {kind:?}", tensor.dtype()));
    }
    let (chunks, _) = tensor.data().as_chunks::<SIZE>();
    let mut values = with_capacity(chunks.len());
    values.extend(chunks.iter().map(|bytes| number(*bytes)));
    Ok((values, tensor.shape().to_vec()))
}

/// The same file with the keys of its JSON header in alphabetical order. The library writes the
/// metadata in the random order of a hash map, and models must be reproducible byte for byte.
fn with_sorted_header(file: &[u8]) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk::<8>().expect("written by the library");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).expect("written by the library");
    let mut header = serde_json::to_vec(&header).expect("strings and numbers");
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    [&length, &header[..], data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        (0..20).map(|i| (format!("key{i}"), format!("value {i}"))).collect()
    }

    #[test]
    fn initial_weights_have_he_s_deviation_and_biases_are_zero() {
        let params = Params::he_init(&[784, 500, 10], 3);
        for layer in &params.layers {
            let (inputs, count) = (layer.weights.nrows() as f64, layer.weights.len() as f64);
            let squares: f64 = layer.weights.iter().map(|&w| f64::from(w).powi(2)).sum();
            let sum: f64 = layer.weights.iter().map(|&w| f64::from(w)).sum();
            let expected = (2.0 / inputs).sqrt();
            let deviation = (squares / count).sqrt();
            assert!((deviation / expected - 1.0).abs() < 4.0 / (2.0 * count).sqrt());
            assert!((sum / count).abs() < 4.0 * expected / count.sqrt());
            assert!(layer.biases.iter().all(|&bias| bias == 0.0));
        }
    }

    #[test]
    fn the_stream_of_initial_weights_never_changes() {
        let params = Params::he_init(&[2, 3, 2], 0);
        let found: Vec<u32> =
            params.layers.iter().flat_map(|l| &l.weights).map(|w| w.to_bits()).collect();
        let expected = [
            3_188_278_436,
            3_212_838_049,
            3_204_804_264,
            3_216_542_903,
            3_213_394_079,
            3_199_664_463,
            3_221_346_297,
            3_214_616_332,
            1_063_335_405,
            3_213_251_341,
            1_074_558_950,
            1_047_366_431,
        ];
        assert_eq!(found, expected);
        assert_ne!(params, Params::he_init(&[2, 3, 2], 1));
    }

    #[test]
    fn a_network_comes_back_from_safetensors_as_it_went() {
        let params = Params::he_init(&[6, 5, 4, 3], 1);
        let vectors = Vectors::from([("mean".into(), vec![0.1, -1e-300]), ("none".into(), vec![])]);
        let file = params.to_safetensors(&vectors, &metadata());
        let expected = (params.clone(), vectors.clone(), metadata());
        assert_eq!(Params::from_safetensors(&file, &["mean", "none", "other"]), Ok(expected));
        for _ in 0..5 {
            assert_eq!(params.to_safetensors(&vectors, &metadata()), file);
        }
        let problem = Params::from_safetensors(&file, &["none"]).unwrap_err();
        assert!(problem.starts_with("found the tensors [\"b1\""), "{problem}");
    }

    #[test]
    fn a_torn_or_foreign_file_is_refused_with_its_reason() {
        let params = Params::he_init(&[6, 5, 3], 1);
        let write = |params: &Params| params.to_safetensors(&Vectors::new(), &metadata());
        let file = write(&params);
        for cut in [0, 4, 8, 100, file.len() - 1] {
            assert!(Params::from_safetensors(&file[..cut], &[]).is_err(), "cut at {cut}");
        }
        let mut infinite = params.clone();
        infinite.layers[1].biases[0] = f32::INFINITY;
        let (read, ..) = Params::from_safetensors(&write(&infinite), &[]).unwrap();
        assert_eq!(read.check_finite().unwrap_err(), "found inf in b2, expected finite numbers");
        let mut unchained = params;
        unchained.layers[1].weights = Array2::zeros((4, 3));
        let problem = Params::from_safetensors(&write(&unchained), &[]).unwrap_err();
        assert!(problem.contains("expected 5 rows"), "{problem}");
    }

    #[test]
    fn the_count_of_parameters_is_exact_and_never_overflows() {
        assert_eq!(Params::count(&[784, 500, 324, 10]), Some(558_074));
        assert_eq!(Params::count(&[usize::MAX, usize::MAX]), None);
    }
}
