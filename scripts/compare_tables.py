"""Test accuracy and time of rookie and of scikit-learn's MLPClassifier on the same rows of six tables.

`rookie split` draws the rows, once for each seed. scikit-learn trains on rookie's training and validation
rows together, because its defaults set none aside; rookie trains on its training rows alone.
"""

import argparse
import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from pathlib import Path

import numpy
import pandas
import sklearn
from palmerpenguins import load_penguins
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from statsmodels.datasets import anes96

ROOKIE = Path(os.environ.get("ROOKIE", "target/release/rookie")).resolve()
DOCUMENT = Path("docs/data.md")
BEGIN, END = "<!-- scripts/compare-tables --write -->\n", "<!-- end -->\n"


def tables():
    """Each table as a frame with the column `label`, and rookie's flags for it."""
    for name, load in [
        ("iris", datasets.load_iris),
        ("wine", datasets.load_wine),
        ("breast cancer", datasets.load_breast_cancer),
        ("digits", datasets.load_digits),
    ]:
        data = load(as_frame=True)
        names = numpy.array(data.target_names)
        yield name, data.data.assign(label=names[data.target]), []
    yield "election of 1996", anes96.load_pandas().data.rename(columns={"vote": "label"}), []
    yield "penguins", load_penguins().rename(columns={"species": "label"}), ["--missing", "mean"]


def rookie(folder, *arguments):
    ended = subprocess.run([ROOKIE, *arguments], cwd=folder, capture_output=True, text=True)
    if ended.returncode != 0:
        sys.exit(f"rookie {' '.join(arguments)}: {ended.stderr}")
    return ended.stdout


def trained_by_rookie(folder, flags, more, seed):
    data = ["--data", "table.csv", "--label", "label", *flags, "--test-seed", str(seed)]
    seeds = ["--data-seed", str(seed), "--seed", str(seed)]
    out = f"run{seed}"
    begun = time.perf_counter()
    rookie(folder, "train", *data, *seeds, *more, "--out", out)
    seconds = time.perf_counter() - begun
    record = tomllib.loads((folder / out / "run.toml").read_text())
    split = pandas.read_csv(io.StringIO(rookie(folder, "split", *data, *seeds[:2])))
    return record["test_accuracy"], seconds, split


def trained_by_sklearn(frame, split, seed, has_scaler):
    is_test = split["split"] == "test"
    train, test = frame.iloc[split["index"][~is_test]], frame.iloc[split["index"][is_test]]
    inputs = frame.columns.drop("label")
    texts = [name for name in inputs if frame[name].dtype.kind not in "biuf"]
    numbers = [name for name in inputs if name not in texts]
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="mean")), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
    )
    scaler = [StandardScaler()] if has_scaler else []
    model = make_pipeline(columns, *scaler, MLPClassifier(random_state=seed))
    begun = time.perf_counter()
    model.fit(train[inputs], train["label"])
    accuracy = model.score(test[inputs], test["label"])
    return accuracy, time.perf_counter() - begun


def cell(results):
    accuracies = [100 * accuracy for accuracy, _ in results]
    seconds = statistics.mean(seconds for _, seconds in results)
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return f"{statistics.mean(accuracies):.1f} ± {deviation:.1f} | {seconds:.2f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--flags", default="", help="flags of `rookie train`, in addition to its defaults")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCUMENT}")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    more = options.flags.split()
    lines = [
        "| table | rows | rookie, % | s | MLPClassifier, % | s | with StandardScaler, % | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, frame, flags in tables():
        results = [[], [], []]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            frame.to_csv(folder / "table.csv", index=False)
            for seed in range(options.seeds):
                accuracy, seconds, split = trained_by_rookie(folder, flags, more, seed)
                results[0].append((accuracy, seconds))
                for has_scaler in (False, True):
                    results[1 + has_scaler].append(trained_by_sklearn(frame, split, seed, has_scaler))
        lines.append(f"| {name} | {len(frame):,} | " + " | ".join(map(cell, results)) + " |")
        print(lines[-1], file=sys.stderr)
    version = subprocess.run([ROOKIE, "--version"], capture_output=True, text=True).stdout.split()[1]
    lines.append("")
    lines.append(
        f"Mean ± sample standard deviation over {options.seeds} random test sets of a fifth of the rows; mean seconds "
        f"per run, including reading and testing. rookie {version} `train{' ' if more else ''}{' '.join(more)}`, "
        f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores."
    )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        before, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(before + BEGIN + text + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
