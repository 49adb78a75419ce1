//! A model, or an ensemble, as ONNX: operators that take raw features to probabilities.
//!
//! Operators and their attributes are those of <https://onnx.ai/onnx/operators/>.

use prost::Message;

use crate::data::preprocess::Affine;
use crate::export::exported::Exported;
use crate::export::onnx_messages::{
    Attribute, Dimension, Entry, FLOAT, FLOAT_ATTRIBUTE, Graph, INT_ATTRIBUTE, INT64, Model, Node,
    OperatorSet, STRING, Shape, Tensor, TensorType, Type, Value,
};
use crate::network::mlp::{Activation, LEAK};
use crate::train::provenance::VERSION;

/// The version of the operators. It is the first with the Softmax of one axis, so that old runtimes read it.
const OPSET: i64 = 13;
/// The version of the messages that came with it, in ONNX 1.8.
const IR_VERSION: i64 = 7;

const FEATURES: &str = "features";
const PROBABILITIES: &str = "probabilities";
const LABEL: &str = "label";

/// The bytes of an ONNX file for the weighted mean of models, one at least, that have the same classes and
/// features. It takes `features`, float32 (N, D), and gives `label` (N) and `probabilities`, float32 (N, C).
/// Labels are int64 if all are whole numbers, else strings.
///
/// # Errors
/// Says in a clause that the file would have 2 GiB or more, which readers of the format refuse.
pub fn onnx(members: &[(Exported<'_>, u32)]) -> Result<Vec<u8>, String> {
    let first = &members[0].0;
    let mut build = Build::default();
    if let [(member, _)] = members {
        build.model(member, PROBABILITIES);
    } else {
        build.mean(members);
    }
    let label_kind = build.label(first);
    let size = |size: usize| Dimension { dim_value: Some(size as i64), dim_param: None };
    let rows = || Dimension { dim_value: None, dim_param: Some("N".into()) };
    let (inputs, classes) = (size(first.affine.len()), size(first.labels.len()));
    let input = value(
        FEATURES,
        FLOAT,
        vec![rows(), inputs],
        "raw features; of an image its pixels, 0 to 255",
    );
    let label = value(LABEL, label_kind, vec![rows()], "the most probable class");
    let found = value(PROBABILITIES, FLOAT, vec![rows(), classes], "of each class");
    let graph = Graph {
        node: build.nodes,
        name: "classifier".into(),
        initializer: build.tensors,
        input: vec![input],
        output: vec![label, found],
    };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "rookie".into(),
        producer_version: VERSION.into(),
        doc_string: "raw features to the probability of each class".into(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: OPSET }],
        metadata_props: metadata(members),
    };
    match model.encoded_len() {
        length if length > i32::MAX as usize => {
            Err(format!("takes {length} bytes in ONNX, expected fewer than 2 GiB"))
        }
        _ => Ok(model.encode_to_vec()),
    }
}

/// What is known of the models; of several, under names that begin with the number of each.
fn metadata(members: &[(Exported<'_>, u32)]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (number, (member, weight)) in (1..).zip(members) {
        let prefix = if members.len() == 1 { String::new() } else { format!("m{number}_") };
        let mut about = member.about();
        if members.len() > 1 {
            about.insert("weight".into(), weight.to_string());
        }
        let entry = |(key, value)| Entry { key: format!("{prefix}{key}"), value };
        entries.extend(about.into_iter().map(entry));
    }
    entries
}

fn value(name: &str, elem_type: i32, dim: Vec<Dimension>, doc_string: &str) -> Value {
    let tensor_type = Some(TensorType { elem_type, shape: Some(Shape { dim }) });
    Value { name: name.into(), kind: Some(Type { tensor_type }), doc_string: doc_string.into() }
}

fn whole(name: &str, number: i64) -> Attribute {
    Attribute { name: name.into(), f: None, i: Some(number), kind: INT_ATTRIBUTE }
}

/// A graph in the making. Operators stand in it in the order in which they are computed.
#[derive(Default)]
struct Build {
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
    /// What the names of values begin with.
    prefix: String,
}

impl Build {
    /// Adds an operator.
    fn add(&mut self, operator: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) {
        self.nodes.push(Node {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            op_type: operator.into(),
            attribute,
        });
    }

    /// Adds an operator with one further, constant operand and returns the name of its output.
    fn with_constant(
        &mut self,
        operator: &str,
        input: &str,
        name: &str,
        operand: Vec<f32>,
    ) -> String {
        let operand = self.floats(name, &[operand.len()], operand);
        let output = format!("{operand}_done");
        self.add(operator, &[input, &operand], &output, Vec::new());
        output
    }

    /// Adds constants and returns their name.
    fn floats(
        &mut self,
        name: &str,
        shape: &[usize],
        values: impl IntoIterator<Item = f32>,
    ) -> String {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let name = format!("{}{name}", self.prefix);
        self.tensors.push(Tensor {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: FLOAT,
            raw_data: Some(bytes),
            name: name.clone(),
            ..Tensor::default()
        });
        name
    }

    /// Raw features to probabilities under the name `output`.
    fn model(&mut self, model: &Exported<'_>, output: &str) {
        let mut at = self.inputs(model);
        let layers = &model.params.layers;
        for (number, layer) in (1..).zip(layers) {
            let (rows, columns) = layer.weights.dim();
            let weights = layer.weights.iter().copied();
            let weights = self.floats(&format!("w{number}"), &[rows, columns], weights);
            let biases = layer.biases.iter().copied();
            let biases = self.floats(&format!("b{number}"), &[columns], biases);
            let z = format!("{}z{number}", self.prefix);
            self.add("Gemm", &[&at, &weights, &biases], &z, Vec::new());
            if number == layers.len() {
                self.add("Softmax", &[&z], output, vec![whole("axis", 1)]);
                return;
            }
            at = format!("{}a{number}", self.prefix);
            let (operator, attributes) = activation(model.activation);
            self.add(operator, &[&z], &at, attributes);
        }
    }

    /// Raw features to inputs, whose name it returns: (x − mean)·scale, in float32.
    ///
    /// A mean is subtracted as two numbers, its float32 and the rest. Near a large mean the first
    /// difference is exact, so that the inputs are as good as those computed in float64.
    fn inputs(&mut self, model: &Exported<'_>) -> String {
        let mut at = FEATURES.to_string();
        if let Some(imputed) = &model.imputed {
            let imputed = self.floats("imputed", &[imputed.len()], imputed.iter().copied());
            let (is_missing, filled) =
                (format!("{}is_missing", self.prefix), format!("{}filled", self.prefix));
            self.add("IsNaN", &[&at], &is_missing, Vec::new());
            self.add("Where", &[&is_missing, &imputed, &at], &filled, Vec::new());
            at = filled;
        }
        let of = |number: fn(&Affine) -> f32| model.affine.iter().map(number).collect();
        at = self.with_constant("Sub", &at, "mean", of(|it| it.mean as f32));
        at = self.with_constant(
            "Sub",
            &at,
            "mean_rest",
            of(|it| (it.mean - f64::from(it.mean as f32)) as f32),
        );
        self.with_constant("Mul", &at, "scale", of(|it| it.scale as f32))
    }

    /// The weighted mean of the members' probabilities.
    fn mean(&mut self, members: &[(Exported<'_>, u32)]) {
        let total: f64 = members.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut parts = Vec::new();
        for (number, (member, weight)) in (1..).zip(members) {
            self.prefix = format!("m{number}_");
            let found = format!("{}{PROBABILITIES}", self.prefix);
            self.model(member, &found);
            let share = (f64::from(*weight) / total) as f32;
            parts.push(self.with_constant("Mul", &found, "share", vec![share]));
        }
        self.prefix.clear();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.add("Sum", &parts, PROBABILITIES, Vec::new());
    }

    /// Probabilities to labels, whose kind it returns.
    fn label(&mut self, model: &Exported<'_>) -> i32 {
        let numbers = model.numbers();
        let are_indices =
            numbers.as_ref().is_some_and(|it| it.iter().copied().eq(0..it.len() as i64));
        let index = if are_indices { LABEL } else { "index" };
        self.add("ArgMax", &[PROBABILITIES], index, vec![whole("axis", 1), whole("keepdims", 0)]);
        if are_indices {
            return INT64;
        }
        let named = Tensor {
            dims: vec![model.labels.len() as i64],
            name: "labels".into(),
            ..Tensor::default()
        };
        let labels = match numbers {
            Some(numbers) => Tensor {
                data_type: INT64,
                raw_data: Some(numbers.into_iter().flat_map(i64::to_le_bytes).collect()),
                ..named
            },
            None => Tensor {
                data_type: STRING,
                string_data: model.labels.iter().map(|label| label.clone().into_bytes()).collect(),
                ..named
            },
        };
        let kind = labels.data_type;
        self.tensors.push(labels);
        self.add("Gather", &["labels", index], LABEL, Vec::new());
        kind
    }
}

fn activation(activation: Activation) -> (&'static str, Vec<Attribute>) {
    match activation {
        Activation::Relu => ("Relu", Vec::new()),
        Activation::LeakyRelu => {
            let alpha =
                Attribute { name: "alpha".into(), f: Some(LEAK), i: None, kind: FLOAT_ATTRIBUTE };
            ("LeakyRelu", vec![alpha])
        }
        Activation::Tanh => ("Tanh", Vec::new()),
        Activation::Sigmoid => ("Sigmoid", Vec::new()),
    }
}
