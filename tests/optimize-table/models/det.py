"""PaddleOCR's small model that finds lines on a page."""

import docstrings
import numpy as np
import pictures

SIDE, COUNT, LINES = 416, 200, 9


def make(place):
    files, texts = pictures.fonts(place), list(place.random.permutation(docstrings.lines(place, 8, 30)))
    rows, boxes = [], []
    for _ in range(COUNT):
        page = pictures.paper(place, SIDE, SIDE)
        boxes.append(fill(place, page, texts, files))
        rows.append(pictures.normal(pictures.scanned(place, page, 1.2, 20)))
    place.model(place.material / "rapidocr/models/PP-OCRv6_det_small.onnx")
    place.samples(x=np.array(rows, np.float32), page=np.arange(COUNT))
    place.truth(boxes)


def fill(place, page, texts, files):
    """Writes lines from top to bottom; their boxes."""
    file, boxes, top = place.random.choice(files), [], int(place.random.integers(8, 30))
    for _ in range(place.random.integers(3, LINES + 1)):
        size = int(place.random.integers(13, 28))
        if top + 2 * size > SIDE:
            break
        text = texts[place.random.integers(len(texts))]
        text = text[: int(SIDE * 0.8 / (size * 0.62))].strip()
        boxes.append(pictures.draw(place, page, text, (int(place.random.integers(6, 40)), top), size, file))
        top += size + int(place.random.integers(12, 30))
    return boxes
