#!/usr/bin/env python3
"""Trains a run once more with NumPy in float64, from its first weights on its very batches.

    pip install numpy safetensors
    scripts/train_float64.py RUN_FOLDER EPOCHS [FOLDER_OF_IMAGES]

Prints for each epoch the training loss in float64, the highest loss of a batch, and rookie's loss. The
run must have plain SGD and ReLU, and batches that are standardised by themselves and stay. $ROOKIE
names the program, by default scripts/rookie.
"""

import csv
import os
import subprocess
import sys
import tempfile
import tomllib
from itertools import groupby
from pathlib import Path

import numpy as np
from check_model import read_idx, standardise
from safetensors.numpy import load_file

ROOKIE = os.environ.get("ROOKIE", str(Path(__file__).with_name("rookie")))


def first_weights(record, data):
    """What rookie draws: after an epoch at a learning rate too small to move them."""
    with tempfile.TemporaryDirectory() as out:
        flags = ["--learning-rate", "1e-37", "--epochs", "1", "--data", data, "--out", out + "/run"]
        subprocess.run([ROOKIE, "train", record, *flags], check=True, stdout=subprocess.DEVNULL)
        tensors = load_file(out + "/run/model.safetensors")
    layers = range(1, len(tensors) // 2 + 1)
    return [[tensors[f"{kind}{layer}"].astype(np.float64) for kind in "wb"] for layer in layers]


def training_batches(values, data):
    """Inputs and labels of each training batch, in the order of an epoch."""
    flags = ["batch_size", "validation_size", "data_seed"]
    flags = [text for name in flags for text in ("--" + name.replace("_", "-"), str(values[name]))]
    split = subprocess.run([ROOKIE, "split", *flags, "--data", data], check=True, capture_output=True, text=True)
    rows = [row for row in csv.DictReader(split.stdout.splitlines()) if row["split"] == "train"]
    images = read_idx(data, "train-images-idx3-ubyte")
    images, labels = images.reshape(len(images), -1), read_idx(data, "train-labels-idx1-ubyte")
    pixels = images[[int(row["index"]) for row in rows]] / 255
    mean, std = pixels.mean(), pixels.std()
    for _, batch in groupby(rows, key=lambda row: row["batch"]):
        chosen = [int(row["index"]) for row in batch]
        yield standardise(images[chosen], mean, std, "batch"), labels[chosen]


def step(layers, x, labels, rate, decay):
    """One update of plain SGD; returns the batch's mean loss before it."""
    outputs = [x]
    for place, (weights, biases) in enumerate(layers):
        z = outputs[-1] @ weights + biases
        outputs.append(z if place + 1 == len(layers) else np.maximum(z, 0))
    logits = outputs.pop()
    logits -= logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_probabilities)
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    for layer, inputs in zip(reversed(layers), reversed(outputs)):
        before = gradient @ layer[0].T * (inputs > 0)
        layer[0] -= rate * (inputs.T @ gradient + decay * layer[0])
        layer[1] -= rate * gradient.sum(axis=0)
        gradient = before
    return -log_probabilities[rows, labels].mean()


def main(run, epochs, data="/usr/share/datasets/fashion-mnist"):
    record = str(Path(run, "run.toml"))
    values = tomllib.loads(Path(record).read_text())
    plain = values["momentum"] == 0 and values["activation"] == "relu"
    if not plain or values.get("reshuffle") or values.get("standardisation", "batch") != "batch":
        sys.exit(f"{record}: expected plain SGD and ReLU on fixed batches standardised by themselves")
    with open(Path(run, "curve.csv")) as file:
        curve = list(csv.DictReader(file))
    layers, batches = first_weights(record, data), list(training_batches(values, data))
    images = sum(len(labels) for _, labels in batches)
    print("epoch,loss,highest_loss_of_a_batch,loss_of_rookie")
    for epoch in range(1, int(epochs) + 1):
        rate = values["learning_rate"] * values["lr_decay"] ** ((epoch - 1) // values["lr_decay_every"])
        losses = [step(layers, x, labels, rate, values["weight_decay"]) for x, labels in batches]
        loss = sum(loss * len(labels) for loss, (_, labels) in zip(losses, batches)) / images
        rookies = curve[epoch - 1]["train_loss"] if epoch <= len(curve) else ""
        print(f"{epoch},{loss:.6f},{max(losses):.6f},{rookies}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
