//! Models for other programs: what they compute from raw features is what rookie predicts.

mod support;

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::{Array2, Array3, ArrayView2};
use npyz::NpyFile;
use prost::Message;
use rookie::data::preprocess::{Moments, Preprocessing, Standardisation, ZScore};
use rookie::data::signature::Signature;
use rookie::export::c::{c, identifier};
use rookie::export::exported::Exported;
use rookie::export::npz::npz;
use rookie::export::onnx::onnx;
use rookie::export::onnx_messages;
use rookie::network::mlp::{Workspace, probabilities};
use rookie::network::params::Params;
use rookie::train::predictor::{Member, Predictor};
use rookie::{Activation, Hyperparams, Model};
use support::{FLAGS, Work, is_skipped};
use zip::ZipArchive;

const IMAGES: usize = 40;
const HEIGHT: usize = 2;
const WIDTH: usize = 3;
const D: usize = HEIGHT * WIDTH;
/// What probabilities may differ by.
const TOLERANCE: f32 = 1e-5;
/// Names that end strings, comments and trigraphs where nobody takes care.
const LABELS: [&str; 4] = ["*/ \"quoted\" \\", "né 7", "??/", "%s\t"];
/// What the table's features have more than pixels do. Its mean is a number that float32 rounds.
const OFFSET: f64 = 1_000_000.0;

fn images() -> Array3<u8> {
    let mut seed = 4;
    Array3::from_shape_simple_fn((IMAGES, HEIGHT, WIDTH), || support::below(&mut seed, 256) as u8)
}

/// The images as raw features (N, D).
fn features() -> Array2<f32> {
    images().mapv(f32::from).into_shape_with_order((IMAGES, D)).unwrap()
}

fn model(activation: Activation, hidden: &[usize], standardisation: Standardisation) -> Model {
    let values =
        Hyperparams { hidden: hidden.to_vec(), activation, standardisation, ..Default::default() };
    let mut params = Params::he_init(&[&[D], hidden, &[LABELS.len()]].concat(), 5);
    for (index, layer) in params.layers.iter_mut().enumerate() {
        layer.biases.iter_mut().enumerate().for_each(|(unit, bias)| {
            *bias = 0.3 * (unit as f32 - 2.0) + 0.1 * index as f32;
        });
    }
    // The smallest number that float32 has.
    params.layers[0].weights[(0, 0)] = f32::from_bits(1);
    let moments = Moments {
        mean: (0..D).map(|feature| 0.31 * feature as f64 - 0.47).collect(),
        variance: (0..D).map(|feature| 0.4 * feature as f64).collect(), // the first is constant
    };
    Model {
        params,
        values: values.check().unwrap(),
        signature: Signature::numbered(LABELS.len()),
        preprocessing: Preprocessing {
            standardisation,
            z: ZScore { mean: 0.1 + 0.2, std: 1.0 / 3.0, white: 255.0 },
            moments: (standardisation != Standardisation::Dataset).then_some(moments),
            imputed: Vec::new(),
        },
        trained_on: None,
        validation_accuracy: 0.9138,
        best_epoch: 105,
    }
}

/// Every activation function, depths from none to three hidden layers, and all standardisations.
fn models() -> Vec<(String, Model)> {
    let hidden: [&[usize]; 3] = [&[], &[7], &[5, 9, 3]];
    let each = Activation::ALL.iter().flat_map(|&activation| {
        hidden
            .iter()
            .zip([Standardisation::Dataset, Standardisation::Feature, Standardisation::Batch])
            .map(move |(hidden, by)| {
                (format!("{activation}_{}", hidden.len()), model(activation, hidden, by))
            })
    });
    each.collect()
}

/// The same model as of a table: large features of which some are missing, and names. It gives the same
/// probabilities as the model does for the images.
fn table(model: &Model) -> (Exported<'_>, Array2<f32>) {
    let mut exported = Exported::of(model).unwrap();
    let mut features = features().mapv(|pixel| pixel + OFFSET as f32);
    exported.affine.iter_mut().for_each(|it| it.mean += OFFSET);
    exported.imputed = Some(features.row(7).to_vec());
    features[(7, 2)] = f32::NAN;
    features[(7, 5)] = f32::NAN;
    exported.labels = LABELS.map(String::from).to_vec();
    exported.features = (0..D).map(|feature| format!("feature \"{feature}\"")).collect();
    (exported, features)
}

fn assert_close(found: ArrayView2<'_, f32>, expected: ArrayView2<'_, f32>, of: &str) {
    assert_eq!(found.dim(), expected.dim(), "{of}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= TOLERANCE, "{of}: found {found}, not {expected}");
    }
}

fn bytes_of(features: &Array2<f32>) -> Vec<u8> {
    features.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn c_compiles_without_a_warning_and_gives_what_rookie_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut main, mut input, mut expected) = (String::new(), Vec::new(), Vec::new());
    let mut calls = String::new();
    let of_table = model(Activation::Tanh, &[6, 8], Standardisation::Batch);
    let models = models();
    let plain = models
        .iter()
        .map(|(name, model)| (name.clone(), model, Exported::of(model).unwrap(), features()));
    let (exported, features) = table(&of_table);
    let cases = plain.chain([("table".to_string(), &of_table, exported, features)]);
    for (name, model, exported, features) in cases {
        fs::write(folder.path().join(format!("{name}.c")), c(&exported, &name)).unwrap();
        main += &format!("void {name}_predict(const float *, float *);\n");
        calls += &format!("    run({name}_predict);\n");
        input.extend(bytes_of(&features));
        expected.push((name, model.predict(images().view()).unwrap()));
    }
    let classes = LABELS.len();
    main = format!(
        "#include <stdio.h>\n{main}extern const char *const table_labels[{classes}];
static void run(void (*predict)(const float *, float *)) {{
    float features[{D}], probabilities[{classes}];
    int row, i;
    for (row = 0; row < {IMAGES}; row++) {{
        if (fread(features, sizeof *features, {D}, stdin) != {D}) return;
        predict(features, probabilities);
        for (i = 0; i < {classes}; i++) printf(\"%.9g\\n\", (double)probabilities[i]);
    }}
}}
int main(void) {{
    int i;
{calls}    for (i = 0; i < {classes}; i++) puts(table_labels[i]);
    return 0;
}}
"
    );
    fs::write(folder.path().join("main.c"), main).unwrap();
    let compile = "cc -std=c99 -Wall -Wextra -Werror -pedantic -o main *.c -lm";
    let compiled = Command::new("sh").args(["-c", compile]).current_dir(folder.path()).output();
    let compiled = compiled.unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let mut program = Command::new(folder.path().join("main"));
    let mut program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    program.stdin.take().unwrap().write_all(&input).unwrap();
    let output = program.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    for (name, expected) in &expected {
        let found = lines.by_ref().take(expected.len()).map(|line| line.parse().unwrap());
        let found = Array2::from_shape_vec(expected.dim(), found.collect()).unwrap();
        assert_close(found.view(), expected.view(), name);
    }
    assert_eq!(lines.collect::<Vec<_>>(), LABELS);
}

#[test]
fn any_name_of_a_file_becomes_an_identifier() {
    for (name, expected) in
        [("model", "model"), ("my-digits v2", "my_digits_v2"), ("7", "model_7"), ("_é", "model___")]
    {
        assert_eq!(identifier(name), expected);
    }
}

/// Where `scripts/onnx` installs ONNX Runtime, ONNX's checker and NumPy.
fn environment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/onnx")
}

#[test]
fn onnx_runtime_and_numpy_give_what_rookie_predicts() {
    if is_skipped("ONNX Runtime (scripts/onnx)", environment().join("installed.txt").exists()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let mut expected = Vec::new();
    let numbers: Vec<String> = (0..LABELS.len()).map(|class| class.to_string()).collect();
    for (name, model) in models() {
        let exported = Exported::of(&model).unwrap();
        write(&format!("{name}.npz"), &npz(&exported));
        write(&format!("{name}.onnx"), &onnx(&[(exported, 1)]).unwrap());
        write(&format!("{name}.features"), &bytes_of(&features()));
        let probabilities = model.predict(images().view()).unwrap();
        for end in ["onnx", "npz"] {
            expected.push((format!("{name}.{end}.csv"), numbers.clone(), probabilities.clone()));
        }
    }
    let of_table = model(Activation::Tanh, &[6, 8], Standardisation::Batch);
    for (name, labels) in [("names", LABELS), ("gaps", ["-1", "2", "3", "9"])] {
        let (mut exported, features) = table(&of_table);
        exported.labels = labels.map(String::from).to_vec();
        write(&format!("{name}.npz"), &npz(&exported));
        write(&format!("{name}.onnx"), &onnx(&[(exported.clone(), 1)]).unwrap());
        write(&format!("{name}.features"), &bytes_of(&features));
        let probabilities = of_table.predict(images().view()).unwrap();
        for end in ["onnx", "npz"] {
            let labels = exported.labels.clone();
            expected.push((format!("{name}.{end}.csv"), labels, probabilities.clone()));
        }
    }
    let ensemble = ensemble();
    write("ensemble.features", &bytes_of(&features()));
    let members = ensemble.members.iter();
    let members: Vec<_> = members.map(|it| (Exported::of(&it.model).unwrap(), it.weight)).collect();
    write("ensemble.onnx", &onnx(&members).unwrap());
    let probabilities = ensemble.predict(images().view()).unwrap();
    expected.push(("ensemble.onnx.csv".into(), numbers, probabilities));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export.py");
    let output = Command::new(environment().join("bin/python"))
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, labels, expected) in expected {
        let text = fs::read_to_string(folder.path().join(&name)).unwrap();
        let rows: Vec<Vec<&str>> = text.split_terminator('\n').map(row_of).collect();
        let numbers = rows.iter().flat_map(|row| &row[1..]).map(|cell| cell.parse().unwrap());
        let found = Array2::from_shape_vec(expected.dim(), numbers.collect()).unwrap();
        assert_close(found.view(), expected.view(), &name);
        for (row, probabilities) in rows.iter().zip(expected.rows()) {
            let best = rookie::results::evaluation::highest(probabilities);
            assert_eq!(row[0], labels[best], "{name}");
        }
    }
}

/// The cells of a row, of which the first may have tabulators.
fn row_of(line: &str) -> Vec<&str> {
    let mut cells: Vec<&str> = line.rsplitn(LABELS.len() + 1, '\t').collect();
    cells.reverse();
    cells
}

fn ensemble() -> Predictor {
    let member = |weight, activation, hidden: &[usize]| Member {
        path: PathBuf::from("model.safetensors"),
        weight,
        model: model(activation, hidden, Standardisation::Batch),
    };
    let members = vec![member(3, Activation::Relu, &[9]), member(1, Activation::Sigmoid, &[4, 5])];
    Predictor { members, ensemble: None }
}

#[test]
fn onnx_names_its_version_its_values_and_every_number_of_the_model() {
    let model = model(Activation::LeakyRelu, &[7], Standardisation::Batch);
    let (exported, _) = table(&model);
    let bytes = onnx(&[(exported.clone(), 1)]).unwrap();
    let read = onnx_messages::Model::decode(&bytes[..]).unwrap();
    let metadata = |name: &str| {
        read.metadata_props.iter().find(|it| it.key == name).map(|it| it.value.as_str())
    };
    assert_eq!(metadata("rookie"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(metadata("activation"), Some("leaky_relu"));
    assert_eq!(metadata("labels"), Some(&*serde_json::json!(LABELS).to_string()));
    let graph = read.graph.unwrap();
    let weights = graph.initializer.iter().find(|it| it.name == "w2").unwrap();
    assert_eq!(weights.dims, [7, 4]);
    let numbers = weights.raw_data.as_ref().unwrap().chunks_exact(4);
    let numbers = numbers.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    assert!(numbers.eq(model.params.layers[1].weights.iter().copied()));
    let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    let expected = "IsNaN Where Sub Sub Mul Gemm LeakyRelu Gemm Softmax ArgMax Gather";
    assert_eq!(operators.join(" "), expected);
}

#[test]
fn npz_holds_the_numbers_and_names_of_the_model_uncompressed() {
    let model = model(Activation::Sigmoid, &[7], Standardisation::Batch);
    let (exported, _) = table(&model);
    let bytes = npz(&exported);
    assert_eq!(bytes, npz(&exported));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut array = |name: &str| {
        let mut entry = archive.by_name(&format!("{name}.npy")).unwrap();
        assert_eq!(entry.compression(), zip::CompressionMethod::Stored);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let weights = array("w1");
    let weights = NpyFile::new(&weights[..]).unwrap();
    assert_eq!(weights.shape(), [D as u64, 7]);
    let weights = weights.into_vec::<f32>().unwrap();
    assert!(weights.iter().eq(model.params.layers[0].weights.iter()));
    let scale = NpyFile::new(&array("feature_scale")[..]).unwrap().into_vec::<f64>().unwrap();
    assert!(scale.into_iter().eq(exported.affine.iter().map(|it| it.scale)));
    for (name, expected) in [("labels", &exported.labels), ("features", &exported.features)] {
        let found = NpyFile::new(&array(name)[..]).unwrap().into_vec::<String>().unwrap();
        assert_eq!(&found, expected);
    }
}

#[test]
fn folded_weights_take_pixels_and_are_no_model_of_rookie() {
    let work = Work::trained();
    work.rookie("export run/model.safetensors --to folded --out plain.safetensors").exits(0);
    let (params, vectors, metadata) =
        Params::from_safetensors(&work.bytes("plain.safetensors"), &[]).unwrap();
    assert!(vectors.is_empty());
    assert_eq!(metadata["activation"], "relu");
    let model = Model::read(&work.path("run/model.safetensors")).unwrap();
    let pixels: Vec<u8> = (0..=255).step_by(7).take(30).collect();
    let image = Array3::from_shape_vec((1, 6, 5), pixels).unwrap();
    let x = image.mapv(f32::from).into_shape_with_order((1, 30)).unwrap();
    let mut space = Workspace::new(&params.sizes(), 1);
    let (found, _) = probabilities(&params, Activation::Relu, x.view(), None, &mut space);
    assert_close(found, model.predict(image.view()).unwrap().view(), "folded");
    let images = format!("{}/{}", support::DATA, support::TEST_IMAGES);
    let ended = work.rookie(&format!("predict plain.safetensors {images}")).exits(2);
    ended.says("no `z_mean` in its metadata, expected a model of rookie");
}

#[test]
fn a_model_is_exported_beside_itself_and_its_run_stays_as_it_is() {
    let work = Work::trained();
    for (format, file) in [
        ("onnx", "model.onnx"),
        ("npz", "model.npz"),
        ("folded", "model.folded.safetensors"),
        ("c", "model.c"),
    ] {
        let ended = work.rookie(&format!("export run/model.safetensors --to {format}")).exits(0);
        ended.says(&format!("wrote run/{file} ("));
        let stamps = work.bytes(format!("run/{file}"));
        work.rookie(&format!("export run/model.safetensors --to {format}")).exits(0);
        assert!(stamps == work.bytes(format!("run/{file}")), "{file} differs the second time");
    }
    assert!(work.text("run/model.c").contains("void model_predict(const float *features"));
    let before = work.stamps("run");
    work.rookie(&format!("train {FLAGS} --out run")).exits(0);
    assert_eq!(work.stamps("run"), before);
    work.rookie("export run/model.safetensors --to c --out new/7.c").exits(0);
    assert!(work.text("new/7.c").contains("void model_7_predict("));
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_written() {
    let work = Work::ranked();
    work.rookie("ensemble results/my --top 2").exits(0);
    let best = work.csv("results/my/ranking.csv").column("run")[0].to_string();
    let path = format!("results/my/runs/{best}/model.safetensors");
    let mut model = Model::read(&work.path(&path)).unwrap();
    model.preprocessing.moments = None;
    work.write("old.safetensors", model.to_bytes());
    fs::copy(work.path(&path), work.path("new.safetensors")).unwrap();
    for file in ["new.npz", "new.c", "new.onnx", "new.folded.safetensors"] {
        work.write(file, model.to_bytes());
    }
    let before = work.contents("");
    let foreign = ": is there and was not written by this command; name another one with --out";
    for (arguments, problem) in [
        ("new.safetensors --to npz", foreign),
        ("new.safetensors --to c", foreign),
        ("new.safetensors --to onnx", foreign),
        ("new.safetensors --to folded", foreign),
        (
            "results/my/ensemble.toml --to c",
            "results/my/ensemble.toml: found an ensemble, expected a model",
        ),
        (
            "old.safetensors --to onnx",
            "old.safetensors: has no training moments (version 0.1 wrote none)",
        ),
        ("none.safetensors --to onnx", "none.safetensors: cannot read"),
        (
            &format!("{path} --to c --out a.onnx"),
            "--out: found `a.onnx`, expected a name that ends in .c",
        ),
        (&format!("{path} --to folded --out {path}"), foreign),
    ] {
        work.rookie(&format!("export {arguments}")).exits(2).says(problem);
    }
    assert!(work.contents("") == before, "something was written");
    work.rookie("export results/my/ensemble.toml --to onnx").exits(0);
    assert!(work.path("results/my/ensemble.onnx").exists());
    work.rookie("grid my.toml").exits(0);
}
