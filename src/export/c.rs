//! A model as one file of C99 that needs nothing but the C library.

use std::fmt::{Debug, Write};

use crate::data::preprocess::Affine;
use crate::export::exported::Exported;
use crate::network::mlp::{Activation, LEAK};
use crate::train::provenance::VERSION;

/// How many numbers stand in a line: compilers need not take lines of more than 4,095 characters.
const PER_LINE: usize = 8;

/// A file of C99 with the function `NAME_predict` and constants, whose names begin with `name`: letters,
/// digits and underscores. Its numbers read back as the very numbers of the model.
pub fn c(model: &Exported<'_>, name: &str) -> String {
    let mut text = head(model, name);
    let mut floats = |array: &str, values: Vec<f32>| {
        numbers(&mut text, "float", array, "f", &values);
    };
    for (number, layer) in (1..).zip(&model.params.layers) {
        floats(&format!("w{number}"), layer.weights.iter().copied().collect());
        floats(&format!("b{number}"), layer.biases.to_vec());
    }
    if let Some(imputed) = &model.imputed {
        floats("imputed", imputed.clone());
    }
    let of_each =
        |number: fn(&Affine) -> f64| -> Vec<f64> { model.affine.iter().map(number).collect() };
    numbers(&mut text, "double", "mean", "", &of_each(|it| it.mean));
    numbers(&mut text, "double", "scale", "", &of_each(|it| it.scale));
    text.push_str(ADD);
    if model.params.layers.len() > 1 {
        text.push_str(&activate(model.activation));
    }
    text.push_str(&predict(model, name));
    text
}

/// The bytes that the constants take in a compiled program, and the bytes of the stack that a prediction
/// takes.
pub fn c_memory(model: &Exported<'_>) -> (usize, usize) {
    let sizes = model.params.sizes();
    let of_layers: usize = sizes.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
    let floats = of_layers + model.imputed.as_ref().map_or(0, Vec::len);
    (4 * floats + 16 * sizes[0], 4 * sizes[1..sizes.len() - 1].iter().sum::<usize>())
}

/// An identifier of C from any text.
pub fn identifier(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = text.chars().map(letter).collect();
    // Others are reserved, or no identifiers.
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("model_{name}") }
}

/// What the file says of itself, and its names.
fn head(model: &Exported<'_>, name: &str) -> String {
    let (features, classes) = (model.affine.len(), model.labels.len());
    let has_indicators = model.features.iter().any(|name| name.ends_with(" is missing"));
    let missing = match (model.imputed.is_some(), has_indicators) {
        (false, _) => "",
        (true, false) => "; a NaN is a missing value",
        (true, true) => {
            "; a NaN is a missing value, whose feature `... is missing` is then 1, else 0"
        }
    };
    let mut text = format!(
        "\
/* A classifier, written by rookie {VERSION}: {features} features in, the probabilities of {classes} classes out.
 *
 * C99; no memory from the heap, no state, no other files. Compile it with a program that declares what it
 * uses, `cc -O2 program.c {name}.c -lm`, or include it:
 *
 *     extern const char *const {name}_labels[{classes}];
 *     void {name}_predict(const float *features, float *probabilities);
 *
 *     float features[{features}], probabilities[{classes}];
 *     {name}_predict(features, probabilities);
 *
 * features: raw ones; of an image its pixels from 0 to 255, row after row{missing}.
 * probabilities: of each class, in the order of {name}_labels.
 */
#include <math.h>

enum {{ {name}_FEATURES = {features}, {name}_CLASSES = {classes} }};

void {name}_predict(const float *features, float *probabilities);

"
    );
    text.push_str(&strings(&format!("{name}_labels"), &model.labels));
    if !model.features.is_empty() {
        text.push_str(&strings(&format!("{name}_feature_names"), &model.features));
    }
    text
}

/// Texts as an array. What is no plain character of ASCII is written as its bytes in UTF-8; so are
/// question marks, because two of them may begin a trigraph.
fn strings(array: &str, texts: &[String]) -> String {
    let mut text = format!("const char *const {array}[{}] = {{\n", texts.len());
    for it in texts {
        text.push_str("    \"");
        for byte in it.bytes() {
            match byte {
                b'"' | b'\\' | b'?' => write!(text, "\\{byte:03o}"),
                b' '..=b'~' => write!(text, "{}", char::from(byte)),
                _ => write!(text, "\\{byte:03o}"),
            }
            .expect("memory takes every byte");
        }
        text.push_str("\",\n");
    }
    text.push_str("};\n\n");
    text
}

/// Numbers as an array, each with the fewest digits that read back as the same number.
fn numbers<T: Debug>(text: &mut String, kind: &str, array: &str, suffix: &str, values: &[T]) {
    text.push_str(&format!("static const {kind} {array}[{}] = {{\n", values.len()));
    for line in values.chunks(PER_LINE) {
        text.push_str("   ");
        for value in line {
            write!(text, " {value:?}{suffix},").expect("memory takes every byte");
        }
        text.push('\n');
    }
    text.push_str("};\n\n");
}

const ADD: &str = "\
/* outputs += input * weights */
static void add(float input, const float *weights, float *outputs, int count)
{
    int i;
    for (i = 0; i < count; i++)
        outputs[i] += input * weights[i];
}

";

fn activate(activation: Activation) -> String {
    let formula = match activation {
        Activation::Relu => "z < 0.0f ? 0.0f : z".into(),
        Activation::LeakyRelu => format!("z < 0.0f ? {LEAK:?}f * z : z"),
        Activation::Tanh => "tanhf(z)".into(),
        Activation::Sigmoid => "1.0f / (1.0f + expf(-z))".into(),
    };
    format!(
        "\
/* {activation} */
static void activate(float *units, int count)
{{
    int i;
    for (i = 0; i < count; i++) {{
        const float z = units[i];
        units[i] = {formula};
    }}
}}

"
    )
}

/// The function itself. It adds what one input after the other sends on, so that no array of inputs is
/// needed. Inputs are computed in double as in rookie.
fn predict(model: &Exported<'_>, name: &str) -> String {
    let sizes = model.params.sizes();
    let layers = model.params.layers.len();
    let outputs = |layer: usize| {
        if layer == layers { "probabilities".to_string() } else { format!("a{layer}") }
    };
    let mut text =
        format!("void {name}_predict(const float *features, float *probabilities)\n{{\n");
    for (layer, width) in (1..layers).zip(&sizes[1..]) {
        text.push_str(&format!("    float a{layer}[{width}];\n"));
    }
    text.push_str("    float highest, sum = 0.0f;\n    int i;\n\n");
    for (layer, pair) in (1..).zip(sizes.windows(2)) {
        let (inputs, width, to) = (pair[0], pair[1], outputs(layer));
        text.push_str(&format!(
            "    for (i = 0; i < {width}; i++)\n        {to}[i] = b{layer}[i];\n    for (i = 0; i < {inputs}; i++)"
        ));
        if layer == 1 {
            let value = if model.imputed.is_some() {
                "isnan(features[i]) ? imputed[i] : features[i]"
            } else {
                "features[i]"
            };
            text.push_str(&format!(
                " {{
        const double value = {value};
        add((float)((value - mean[i]) * scale[i]), w1 + i * {width}, {to}, {width});
    }}
"
            ));
        } else {
            let from = outputs(layer - 1);
            text.push_str(&format!(
                "\n        add({from}[i], w{layer} + i * {width}, {to}, {width});\n"
            ));
        }
        if layer < layers {
            text.push_str(&format!("    activate({to}, {width});\n"));
        }
    }
    text + &softmax(model.labels.len())
}

/// The end of the function: logits to probabilities, stable at any logits.
fn softmax(classes: usize) -> String {
    format!(
        "
    highest = probabilities[0];
    for (i = 1; i < {classes}; i++)
        if (probabilities[i] > highest)
            highest = probabilities[i];
    for (i = 0; i < {classes}; i++) {{
        probabilities[i] = expf(probabilities[i] - highest);
        sum += probabilities[i];
    }}
    for (i = 0; i < {classes}; i++)
        probabilities[i] /= sum;
}}
"
    )
}
