//! A model as an `.npz` of NumPy.

use std::io::{Cursor, Write};

use npyz::{AutoSerialize, DType, Serialize, WriteOptions, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::export::exported::Exported;

/// The bytes of an `.npz` with float32 arrays `w1` (inputs × outputs), `b1`, `w2`, …; float64 arrays
/// `feature_mean` and `feature_scale` (D each); `labels` (C), int64 if all are whole numbers, else text;
/// `activation`, a text; and, where there are any, `features` (D), text, and `imputed` (D), float32.
///
/// Nothing is compressed, because weights hardly shrink. The same model gives the same bytes.
pub fn npz(model: &Exported<'_>) -> Vec<u8> {
    let mut arrays = Arrays(ZipWriter::new(Cursor::new(Vec::new())));
    for (number, layer) in (1..).zip(&model.params.layers) {
        let (rows, columns) = layer.weights.dim();
        arrays.numbers(&format!("w{number}"), &[rows, columns], layer.weights.iter().copied());
        arrays.numbers(&format!("b{number}"), &[columns], layer.biases.iter().copied());
    }
    let inputs = model.affine.len();
    arrays.numbers("feature_mean", &[inputs], model.affine.iter().map(|it| it.mean));
    arrays.numbers("feature_scale", &[inputs], model.affine.iter().map(|it| it.scale));
    if let Some(imputed) = &model.imputed {
        arrays.numbers("imputed", &[inputs], imputed.iter().copied());
    }
    let classes = model.labels.len();
    match model.numbers() {
        Some(numbers) => arrays.numbers("labels", &[classes], numbers),
        None => arrays.texts("labels", &[classes], &model.labels),
    }
    arrays.texts("activation", &[], &[model.activation.name().into()]);
    if !model.features.is_empty() {
        arrays.texts("features", &[inputs], &model.features);
    }
    arrays.0.finish().expect("memory takes every byte").into_inner()
}

/// Arrays by their names, in memory.
struct Arrays(ZipWriter<Cursor<Vec<u8>>>);

impl Arrays {
    fn numbers<T: AutoSerialize>(
        &mut self,
        name: &str,
        shape: &[usize],
        values: impl IntoIterator<Item = T>,
    ) {
        self.add(name, shape, T::default_dtype(), values);
    }

    fn texts(&mut self, name: &str, shape: &[usize], texts: &[String]) {
        // NumPy has no text of width 0.
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
        let dtype = format!("<U{width}").parse().expect("a type of NumPy");
        self.add(name, shape, DType::Plain(dtype), texts.iter().cloned());
    }

    fn add<T: Serialize>(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        values: impl IntoIterator<Item = T>,
    ) {
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let mut bytes = Vec::new();
        let options = WriteOptions::new().dtype(dtype).shape(&shape).writer(&mut bytes);
        let mut writer = options.begin_nd().expect("a type that holds the values");
        writer.extend(values).expect("memory takes every byte");
        writer.finish().expect("as many values as the shape has");
        let stored = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default());
        let zip = &mut self.0;
        zip.start_file(format!("{name}.npy"), stored).expect("a name of its own");
        zip.write_all(&bytes).expect("memory takes every byte");
    }
}
