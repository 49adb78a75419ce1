#!/usr/bin/env python3
"""Recomputes a model's test accuracy from its file and the images, with NumPy alone.

    pip install numpy safetensors
    scripts/check_model.py results/table1/runs/RUN/model.safetensors [FOLDER_OF_IMAGES]
"""

import gzip
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, 0.01 * z, z),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def read_idx(folder, name):
    """An IDX file of bytes, gzipped or plain, as an array."""
    plain = Path(folder, name)
    data = plain.read_bytes() if plain.exists() else gzip.decompress(Path(folder, name + ".gz").read_bytes())
    dimensions = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(dimensions)


def standardise(pixels, z_mean, z_std, by):
    """A batch as docs/protocol.md has it: z-score, then, by batch, each feature by itself."""
    z = (pixels / 255 - z_mean) / z_std
    if by == "dataset":
        return z
    return (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)


def main(model, folder="/usr/share/datasets/fashion-mnist"):
    with safe_open(model, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}
    layers = sum(name.startswith("w") for name in tensors)
    activation = ACTIVATIONS[metadata["activation"]]
    size = int(metadata["batch_size"])
    by = metadata.get("standardisation", "batch")
    images = read_idx(folder, "t10k-images-idx3-ubyte").reshape(-1, tensors["w1"].shape[0])
    labels = read_idx(folder, "t10k-labels-idx1-ubyte")
    correct = 0
    for start in range(0, len(images), size):
        a = standardise(images[start : start + size], float(metadata["z_mean"]), float(metadata["z_std"]), by)
        for layer in range(1, layers + 1):
            a = a @ tensors[f"w{layer}"] + tensors[f"b{layer}"]
            if layer < layers:
                a = activation(a)
        correct += (a.argmax(axis=1) == labels[start : start + size]).sum()
    print(f"{correct} of {len(images)} images: test accuracy {correct / len(images)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
