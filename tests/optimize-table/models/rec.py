"""PaddleOCR's small model that reads a line; asked to read lines of docstrings."""

import docstrings
import numpy as np
import onnx
import pictures

WIDTH, HEIGHT, COUNT = 320, 48, 320


def make(place):
    files, texts = pictures.fonts(place), place.random.permutation(docstrings.lines(place, 14, 24))[:COUNT]
    file = place.material / "rapidocr/models/PP-OCRv6_rec_small.onnx"
    entries = {entry.key: entry.value for entry in onnx.load(file, load_external_data=False).metadata_props}
    # What class of the output is which letter: nothing comes first, a space last.
    letters = ["", *entries["character"].splitlines(), " "]
    rows = [scan(place, text, files) for text in texts]
    place.model(file)
    place.samples(x=np.array(rows), line=np.arange(len(rows)))
    place.truth({"letters": letters, "lines": list(texts)})


def scan(place, text, files):
    picture = pictures.line(place, text, files, HEIGHT)
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, HEIGHT))
    return pictures.padded(pictures.normal(pictures.scanned(place, picture, 2.05, 66)), WIDTH)
