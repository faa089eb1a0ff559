"""Where the makers of models read and write."""

import json
import shutil
from pathlib import Path

import numpy as np

# Decides everything that is drawn.
SEED = 20


class Place:
    def __init__(self, source, into):
        self.packages, self.material, self.debian = (Path(source, name) for name in ("packages", "material", "debian"))
        self.into = Path(into)
        self.random = np.random.default_rng(SEED)

    def model(self, content):
        """The model: a file to be copied, or what is in it."""
        if isinstance(content, Path):
            shutil.copyfile(content, self.into / "model.onnx")
        else:
            (self.into / "model.onnx").write_bytes(content)

    def samples(self, **arrays):
        """An array for each input, labels and groups; items along the first dimension."""
        np.savez(self.into / "samples.npz", **{name: np.ascontiguousarray(array) for name, array in arrays.items()})

    def truth(self, of_items):
        """What is true of each item, for a metric to find by the item's label."""
        (self.into / "truth.json").write_text(json.dumps(of_items))

    def files(self, folder, *endings):
        """Files below a folder with one of those endings, sorted; links are left out, as they lead to the others."""
        found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(path for path in found if not endings or path.suffix in endings)
