//! Predicts the classes of the test images of a folder with a model that rookie has trained.
//!
//!     cargo run --release --example predict -- my_run/model.safetensors /usr/share/datasets/fashion-mnist

use std::path::Path;

use rookie::{Dataset, Model, Result};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data] = &arguments[..] else { panic!("name a model and a folder of data") };
    let model = Model::read(Path::new(model))?;
    let data = Dataset::read(Path::new(data))?;
    let probabilities = model.predict_features(&data.test.features)?; // (images, classes)
    let mut correct = 0;
    for (index, row) in probabilities.rows().into_iter().enumerate() {
        let (class, probability) = (0..).zip(row).max_by(|a, b| a.1.total_cmp(b.1)).expect("some");
        correct += usize::from(class == data.test.labels[index]);
        if index < 10 {
            let name = data.class_name(class.into());
            println!("image {index}: {name} with probability {probability:.3}");
        }
    }
    println!("accuracy {:.4}", correct as f64 / data.test.len() as f64);
    Ok(())
}
