"""rookie, PyTorch and plain NumPy at the same work; `scripts/compare` calls it.

The work is a run of the paper's network (784-500-324-10, batches of 512, plain SGD with weight decay
on the weights alone) on Fashion-MNIST: some epochs, then the validation and the test set once. Every
contender trains one run a core at a time, each in one thread, as a grid would; all start from the
weights that rookie drew and take the batches in the order that `rookie split` tells. Contenders take
turns, round after round, so that whatever else the machine does meets all alike.
"""

import argparse
import ctypes
import csv
import gzip
import io
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOKIE = ROOT / "target/release/rookie"
WORK = ROOT / "target/compare/work"
RATE, DECAY, BATCH = 0.2, 1e-3, 512

KINDS = {"F32": "<f4", "F64": "<f8"}  # of a safetensors file
CONTENDERS = {  # name: what the table says of it
    "rookie": "rookie",
    "torch-eager": "PyTorch fp32, eager",
    "torch-compiled": "PyTorch fp32, `torch.compile`",
    "numpy-textbook": "NumPy fp32, textbook style",
    "numpy-inplace": "NumPy fp32, in place where possible",
    "torch-medium": 'PyTorch, matmul precision "medium", compiled',
    "torch-bf16": "PyTorch, bf16 autocast, compiled",
    "torch-bfloat16": "PyTorch, `model.bfloat16()`, compiled",
    "rookie-bf16": "rookie, bf16",
}
LESS_PRECISE = {"torch-medium", "torch-bf16", "torch-bfloat16", "rookie-bf16"}
NEED_BF16 = {"torch-bfloat16", "rookie-bf16"}  # run only where rookie multiplies bf16


# ---------------------------------------------------------------- the same data and weights for all


def read_idx(folder, name):
    import numpy as np

    plain, packed = Path(folder, name), Path(folder, name + ".gz")
    data = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    dimensions = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(dimensions)


def rookie(*arguments):
    done = subprocess.run([ROOKIE, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"scripts/compare: rookie {' '.join(map(str, arguments))}: {done.stderr}")
    return done


def prepare(folder):
    """Batches standardised as docs/protocol.md has it, and rookie's first weights, as .npy files."""
    import numpy as np

    rows = list(csv.DictReader(io.StringIO(rookie("split", "--data", folder).stdout)))
    parts = {"train": "train", "validation": "train", "test": "t10k"}
    pixels = {
        file: read_idx(folder, f"{file}-images-idx3-ubyte").reshape(-1, 784) for file in ("train", "t10k")
    }
    labels = {file: read_idx(folder, f"{file}-labels-idx1-ubyte") for file in ("train", "t10k")}
    order = {part: [int(row["index"]) for row in rows if row["split"] == part] for part in parts}
    grey = pixels["train"][order["train"]] / 255
    mean, deviation = grey.mean(), grey.std()
    for part, file in parts.items():
        z = (pixels[file][order[part]] / 255 - mean) / deviation
        for start in range(0, len(z), BATCH):
            batch = z[start : start + BATCH]
            batch -= batch.mean(axis=0)
            batch /= np.sqrt(batch.var(axis=0) + 1e-5)
        np.save(WORK / f"{part}-x.npy", z.astype(np.float32))
        np.save(WORK / f"{part}-labels.npy", labels[file][order[part]].astype(np.int64))
    # A learning rate so small that no weight moves leaves the weights as they were drawn.
    drawn = WORK / "drawn"
    rookie("train", "--data", folder, "--out", drawn, "--fresh", "--epochs", 1,
           "--learning-rate", 1e-30, "--weight-decay", 0)
    data = (drawn / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in tensor["data_offsets"])
            values = np.frombuffer(data[start:end], KINDS[tensor["dtype"]]).reshape(tensor["shape"])
            np.save(WORK / f"{name}.npy", values)


def loaded(part):
    import numpy as np

    x, labels = np.load(WORK / f"{part}-x.npy"), np.load(WORK / f"{part}-labels.npy")
    starts = range(0, len(x), BATCH)
    return [(x[start : start + BATCH], labels[start : start + BATCH]) for start in starts]


# ------------------------------------------------------------------------------------- contenders


def numpy_contender(epochs, mode):
    """Plain NumPy: whole-array expressions, or the same with as few temporaries as it has words for."""
    import numpy as np

    train, validation, test = loaded("train"), loaded("validation"), loaded("test")

    def textbook_layer(a, w, b):
        return np.maximum(a @ w + b, 0)

    def textbook_undo(d, w, a):
        return (d @ w.T) * (a > 0)

    def textbook_update(w, b, a, d):
        w -= RATE * (a.T @ d + DECAY * w)
        b -= RATE * d.sum(axis=0)

    def inplace_layer(a, w, b):
        z = a @ w
        z += b
        return np.maximum(z, 0, out=z)

    def inplace_undo(d, w, a):
        d = d @ w.T
        d *= a > 0
        return d

    def inplace_update(w, b, a, d):
        gradient = a.T @ d
        gradient *= RATE
        w *= 1 - RATE * DECAY
        w -= gradient
        b -= RATE * d.sum(axis=0)

    if mode == "textbook":
        layer, undo, update = textbook_layer, textbook_undo, textbook_update
    else:
        layer, undo, update = inplace_layer, inplace_undo, inplace_update

    def forward(weights, x):
        w1, b1, w2, b2, w3, b3 = weights
        a1 = layer(x, w1, b1)
        a2 = layer(a1, w2, b2)
        z = a2 @ w3 + b3
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return a1, a2, p

    def accuracy(weights, batches):
        hits = sum((forward(weights, x)[2].argmax(axis=1) == y).sum() for x, y in batches)
        return hits / sum(len(y) for _, y in batches)

    def run():
        weights = [np.load(WORK / f"{name}.npy") for name in ("w1", "b1", "w2", "b2", "w3", "b3")]
        w1, b1, w2, b2, w3, b3 = weights
        for _ in range(epochs):
            loss = hits = 0
            for x, y in train:
                a1, a2, p = forward(weights, x)
                rows = np.arange(len(y))
                loss -= np.log(p[rows, y]).sum()
                hits += (p.argmax(axis=1) == y).sum()
                p[rows, y] -= 1
                p /= len(y)
                d2 = undo(p, w3, a2)
                d1 = undo(d2, w2, a1)
                update(w3, b3, a2, p)
                update(w2, b2, a1, d2)
                update(w1, b1, x, d1)
        accuracy(weights, validation)
        return float(loss / 55000), float(accuracy(weights, test))

    return run


def torch_contender(epochs, mode):
    import torch

    torch.set_num_threads(1)
    if mode == "medium":
        torch.set_float32_matmul_precision("medium")

    def tensors(part):
        return [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in loaded(part)]

    train, validation, test = tensors("train"), tensors("validation"), tensors("test")
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 500), torch.nn.ReLU(),
        torch.nn.Linear(500, 324), torch.nn.ReLU(),
        torch.nn.Linear(324, 10),
    )  # fmt: skip
    if mode == "bfloat16":
        model = model.bfloat16()
        train, validation, test = ([(x.bfloat16(), y) for x, y in part] for part in (train, validation, test))
    criterion = torch.nn.CrossEntropyLoss()

    def loss_of(x, y):
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16"):
            z = model(x)
        z = z.float()
        return criterion(z, y), z

    compiled = loss_of if mode == "eager" else torch.compile(loss_of)

    def accuracy(batches):
        with torch.no_grad():
            hits = sum((compiled(x, y)[1].argmax(dim=1) == y).sum().item() for x, y in batches)
        return hits / sum(len(y) for _, y in batches)

    def run():
        import numpy as np

        with torch.no_grad():
            for number, layer in enumerate(model[::2], 1):
                layer.weight.copy_(torch.from_numpy(np.load(WORK / f"w{number}.npy").T))
                layer.bias.copy_(torch.from_numpy(np.load(WORK / f"b{number}.npy")))
        weights, biases = [layer.weight for layer in model[::2]], [layer.bias for layer in model[::2]]
        groups = [{"params": weights, "weight_decay": DECAY}, {"params": biases}]
        optimizer = torch.optim.SGD(groups, lr=RATE, fused=True)
        for _ in range(epochs):
            losses, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
            for x, y in train:
                loss, z = compiled(x, y)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                losses += loss.detach() * len(y)
                hits += (z.detach().argmax(dim=1) == y).sum()
        accuracy(validation)
        return losses.item() / 55000, accuracy(test)

    return run


def worker(name, epochs):
    """Trains a run whenever told to, and tells its seconds, last loss and test accuracy."""
    name, _, mode = name.partition("-")
    contender = {"numpy": numpy_contender, "torch": torch_contender}[name]
    run = contender(epochs, mode)
    run()  # compiles and warms up
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss, accuracy = run()
        print(json.dumps([time.perf_counter() - start, loss, accuracy]), flush=True)


class Peer:
    """A contender's processes, one a core, each of one thread."""

    def __init__(self, name, jobs, epochs):
        one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
        self.log = WORK / f"{name}.log"
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--worker", name, "--epochs", str(epochs)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True,
                env=os.environ | one_thread,
            )
            for _ in range(jobs)
        ]  # fmt: skip
        for process in self.processes:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{CONTENDERS[name]} does not run here: see {self.log}")

    def turn(self):
        for process in self.processes:
            print(file=process.stdin, flush=True)
        return [json.loads(process.stdout.readline()) for process in self.processes]

    def end(self):
        for process in self.processes:
            process.stdin.close()
            process.wait()


class Rookie:
    """rookie's grid of one run a core; its times stand in each run's run.toml."""

    def __init__(self, name, jobs, epochs, folder):
        self.grid, self.out = WORK / f"{name}.toml", WORK / name
        precision = 'precision = "bf16"\n' if name == "rookie-bf16" else ""
        values = f"{precision}epochs = {epochs}\neval_every = {epochs}\nlearning_rate = {RATE}\nweight_decay = {DECAY}"
        self.grid.write_text(f'name = "seeds"\n[values]\n{values}\n[axes]\nseed = {list(range(jobs))}\n')
        self.arguments = ["grid", self.grid, "--out", self.out, "--jobs", jobs, "--data", folder, "--fresh", "--yes"]

    def turn(self):
        rookie(*self.arguments)
        found = []
        for run in sorted((self.out / "runs").iterdir()):
            values = tomllib.loads((run / "run.toml").read_text())
            last = list(csv.DictReader((run / "curve.csv").open()))[-1]
            found.append([values["seconds"], float(last["train_loss"]), values["test_accuracy"]])
        return found

    def end(self):
        pass


# ------------------------------------------------------------------------------------------- table


def grid_epochs():
    """What Table 1 asks for, and what is left of it when runs share what they have in common."""
    told = rookie("grid", "table1", "--dry-run", "--fresh").stdout
    return [int(re.search(rf"epochs {what} +(\d+)", told)[1]) for what in ("asked for", "trained")]


def kernels_of(contender):
    """What a contender multiplies with: OpenBLAS's core, rookie's instructions, or what PyTorch chooses by."""
    if contender.startswith("rookie"):
        return record(contender)["bf16" if contender == "rookie-bf16" else "openblas_core"]
    if "numpy" in contender:
        import numpy  # noqa: F401 loads its OpenBLAS

        maps = Path("/proc/self/maps").read_text()
        library = re.search(r"\S*openblas\S*\.so\S*", maps)
        for symbol in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
            core = getattr(ctypes.CDLL(library[0]), symbol, None) if library else None
            if core:
                core.restype = ctypes.c_char_p
                return core().decode()
        return "kernels unknown"
    import torch

    return torch.backends.cpu.get_cpu_capability()


def record(name="rookie"):
    """The provenance of a run of rookie's."""
    return tomllib.loads(next((WORK / name / "runs").iterdir()).joinpath("run.toml").read_text())["provenance"]


def multiplies_bf16():
    """Whether rookie trains in bf16 here: it refuses before it measures where it does not."""
    arguments = ["bench", "--precision", "bf16", "--seconds", "1", "--jobs", "1"]
    return subprocess.run([ROOKIE, *arguments], capture_output=True).returncode == 0


def machine(jobs):
    import numpy
    import torch

    openblas = record()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = set(Path("/proc/cpuinfo").read_text().split())
    bf16 = " and ".join(sorted(flags & {"amx_bf16", "avx512_bf16"})) or "no bf16 instructions"
    return (
        f"{cpu[1] if cpu else platform.machine()} ({bf16}), {jobs} cores; "
        f"rookie {openblas['rookie']} with OpenBLAS {openblas['openblas'].split()[1]} "
        f"({openblas['openblas_core']}), PyTorch {torch.__version__}, NumPy {numpy.__version__}, "
        f"Python {platform.python_version()}"
    )


def table(rates, results, arguments):
    asked, trained = grid_epochs()
    middle = {name: statistics.median(turns) for name, turns in rates.items()}
    lines = [
        "| trains with (kernels) | samples/s per core | spread | rookie ÷ it | Table 1's grid, hours | rookie ÷ it, whole grid |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in sorted(middle, key=lambda name: (name in LESS_PRECISE, -middle[name])):
        ratio = middle["rookie"] / middle[name]
        epochs = trained if name.startswith("rookie") else asked
        hours = epochs * 55000 / (middle[name] * arguments.jobs) / 3600
        spread = f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}"
        cells = ["—", f"{hours:.1f}", "—"]
        if name != "rookie":
            cells = [f"{ratio:.2f} ×", f"{hours:.1f}", f"{ratio * epochs / trained:.2f} ×"]
        mark = " ¹" if name in LESS_PRECISE else ""
        lines.append(f"| {CONTENDERS[name]} ({kernels_of(name)}){mark} | {middle[name]:,.0f} | {spread} | {' | '.join(cells)} |")
    losses = ", ".join(f"{CONTENDERS[name]} {loss:.5f}" for name, (loss, _) in results.items())
    lines += [
        "",
        "¹ Less precise: bf16 keeps 8 of fp32's 24 bits of mantissa. It is faster where the CPU multiplies "
        "bf16 itself (AMX, AVX512-BF16), and slower where it does not.",
        "",
        f"{machine(arguments.jobs)}. Median of {arguments.rounds} rounds in turns, {arguments.epochs} "
        f"epochs per round, one run per core, one thread per run. Hours are computed from these rates: rookie "
        f"trains {trained:,} of the grid's {asked:,} epochs. Mean training loss in the last epoch: {losses}.",
    ]
    return "\n".join(lines)


def spliced(path, text):
    """Puts a text between the markers of a page."""
    begin, end = "<!-- scripts/compare --write -->\n", "\n<!-- end -->"
    page = path.read_text()
    before, rest = page.split(begin, 1)
    path.write_text(before + begin + text + end + rest.split(end, 1)[1])


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (default: 7)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs a turn (default: 5)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)),
                        help="runs at a time (default: one a core)")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(arguments.worker, arguments.epochs)
    if min(arguments.rounds, arguments.epochs, arguments.jobs) < 1:
        parser.error("--rounds, --epochs and --jobs are whole numbers from 1")
    WORK.mkdir(parents=True, exist_ok=True)
    places = [os.environ.get("ROOKIE_DATA"), ROOT / "data/fashion-mnist", "/usr/share/datasets/fashion-mnist"]
    folder = next(place for place in places if place and Path(place).is_dir())
    prepare(folder)
    has_bf16 = multiplies_bf16()
    asked_for = [name for name in CONTENDERS if has_bf16 or name not in NEED_BF16]
    contenders = {}
    for name in asked_for:
        print(f"starting {CONTENDERS[name]}", file=sys.stderr)
        try:
            if name.startswith("rookie"):
                contenders[name] = Rookie(name, arguments.jobs, arguments.epochs, folder)
            else:
                contenders[name] = Peer(name, arguments.jobs, arguments.epochs)
        except RuntimeError as problem:
            print(f"scripts/compare: {problem}", file=sys.stderr)
    rates, results = {name: [] for name in contenders}, {}
    samples = arguments.epochs * 55000
    for turn in range(arguments.rounds):
        # Another one begins each round, so that nobody has always the same place in it.
        order = [list(contenders)[(place + turn) % len(contenders)] for place in range(len(contenders))]
        for name in order:
            found = contenders[name].turn()
            rates[name].append(statistics.mean(samples / seconds for seconds, _, _ in found))
            results[name] = found[0][1:]
            print(f"round {turn + 1}: {CONTENDERS[name]:<46} {rates[name][-1]:>8,.0f} samples/s per core, "
                  f"loss {results[name][0]:.5f}, test accuracy {results[name][1]:.4f}", file=sys.stderr)
    for contender in contenders.values():
        contender.end()
    expected = results["rookie"][0]
    for name, (loss, _) in results.items():
        # Sums in another order: the last bits differ, and training makes a little more of them.
        if name not in LESS_PRECISE and not math.isclose(loss, expected, rel_tol=0.01):
            sys.exit(f"scripts/compare: {name} does other work: its loss is {loss}, rookie's {expected}")
    text = table(rates, results, arguments)
    print(text)
    missing = [CONTENDERS[name] for name in asked_for if name not in contenders]
    if arguments.write and missing:
        sys.exit(f"scripts/compare: README.md stays as it is without {', '.join(missing)}")
    if arguments.write:
        spliced(ROOT / "README.md", text)


if __name__ == "__main__":
    main()
