"""A name of `models/` enters; the model and samples of what it is asked leave.

    python -B make.py NAME FROM INTO

FROM holds what `cargo xtask optimize-table` fetched: `packages` (which this imports), `material` (other wheels) and `debian`. INTO gets
`model.onnx`, `samples.npz` with an array for each input, and `truth.json` where a metric of `metrics/` reads more than a label.
The same packages give the same samples.
"""

import importlib
import os
import sys

# Sums in one order, whatever the machine.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

from place import Place


def main(name, source, into):
    importlib.import_module(f"models.{name}").make(Place(source, into))


if __name__ == "__main__":
    main(*sys.argv[1:])
