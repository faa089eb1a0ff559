"""magika's model, which tells types of files; asked of files in packages, with the type that their names say."""

import json

import numpy as np

# Bytes of a file's begin and end that are read, as the model's configuration says, and what stands where there are none.
BLOCK, PART, NONE = 4096, 1024, 256

# Files of one type at most, so that none counts for all.
MOST = 100

TYPES = {
    ".bz2": "bzip",
    ".c": "c",
    ".cpp": "cpp",
    ".css": "css",
    ".csv": "csv",
    ".gz": "gzip",
    ".html": "html",
    ".jpg": "jpeg",
    ".js": "javascript",
    ".json": "json",
    ".md": "markdown",
    ".npy": "npy",
    ".npz": "npz",
    ".pdf": "pdf",
    ".png": "png",
    ".po": "po",
    ".py": "python",
    ".rst": "rst",
    ".so": "elf",
    ".svg": "svg",
    ".toml": "toml",
    ".ttf": "ttf",
    ".wav": "wav",
    ".webp": "webp",
    ".woff": "woff",
    ".woff2": "woff2",
    ".xml": "xml",
    ".xz": "xz",
    ".yaml": "yaml",
}


def make(place):
    model = place.material / "magika/models/standard_v3_3"
    known = json.loads((model / "config.min.json").read_text())["target_labels_space"]
    of_type = {}
    for path in (path for folder in (place.packages, place.material, place.debian) for path in place.files(folder, *TYPES)):
        # Files of a few bytes say nothing, and templates are of the language that makes pages of them.
        if path.stat().st_size >= 64 and "templates" not in path.parts:
            of_type.setdefault(TYPES[path.suffix], []).append(path)
    rows, labels = [], []
    for name, paths in sorted(of_type.items()):
        for path in place.random.permutation(np.array(paths, object))[:MOST]:
            rows.append(features(path.read_bytes()))
            labels.append(known.index(name))
    place.model(model / "model.onnx")
    place.samples(bytes=np.array(rows, np.int32), type=np.array(labels))


def features(content):
    begin = content[:BLOCK].lstrip()[:PART]
    end = content[-BLOCK:].rstrip()[-PART:]
    return [*begin, *[NONE] * (PART - len(begin)), *[NONE] * (PART - len(end)), *end]
