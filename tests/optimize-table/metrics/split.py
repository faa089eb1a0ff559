"""What `forebay optimize` shows a metric: outputs and labels of a split's items; and how their values are said."""

import json
import os
import sys
from pathlib import Path

import numpy as np


def items():
    """Each item's label and its only output."""
    labels = json.loads(Path(os.environ["FOREBAY_LABELS"]).read_text())
    for path, label in zip(sorted(Path(os.environ["FOREBAY_OUTPUTS"]).glob("*.npz")), labels, strict=True):
        with np.load(path) as outputs:
            yield int(label), outputs[outputs.files[0]]


def truth():
    """What the model's maker wrote of all items; its file is the metric's argument."""
    return json.loads(Path(sys.argv[1]).read_text())


def say(values):
    json.dump(values, sys.stdout)
