"""Runs exported models as other programs do. `tests/export.rs` compares the results.

    export.py FOLDER

Beside each NAME.onnx or NAME.npz of the folder stands NAME.features, raw float32 rows. Writes the labels and
probabilities to NAME.onnx.csv or NAME.npz.csv, a row per row of features.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def by_onnx(path, features):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version <= 17
    session = onnxruntime.InferenceSession(path)
    width = session.get_inputs()[0].shape[1]
    return session.run(["label", "probabilities"], {"features": features.reshape(-1, width)})


ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, np.float32(0.01) * z, z),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def by_npz(path, features):
    model = np.load(path)
    x = features.reshape(-1, len(model["feature_mean"]))
    if "imputed" in model:
        x = np.where(np.isnan(x), model["imputed"], x)
    a = ((x - model["feature_mean"]) * model["feature_scale"]).astype(np.float32)
    layers = sum(name.startswith("w") for name in model)
    for layer in range(1, layers + 1):
        a = a @ model[f"w{layer}"] + model[f"b{layer}"]
        if layer < layers:
            a = ACTIVATIONS[str(model["activation"])](a)
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return model["labels"][e.argmax(axis=1)], e / e.sum(axis=1, keepdims=True)


for path in sorted(Path(sys.argv[1]).iterdir()):
    run = {".onnx": by_onnx, ".npz": by_npz}.get(path.suffix)
    if run:
        labels, probabilities = run(path, np.fromfile(path.with_suffix(".features"), "<f4"))
        rows = ([str(label), *map(repr, map(float, row))] for label, row in zip(labels, probabilities))
        path.with_name(path.name + ".csv").write_text("".join("\t".join(row) + "\n" for row in rows))
