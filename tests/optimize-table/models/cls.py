"""PaddleOCR's small classifier that tells whether a line is upside down."""

import docstrings
import numpy as np
import pictures

WIDTH, HEIGHT, COUNT = 192, 48, 1200


def make(place):
    files, texts = pictures.fonts(place), place.random.permutation(docstrings.lines(place, 6, 14))[:COUNT]
    rows, labels = [], []
    for number, text in enumerate(texts):
        values = pictures.normal(pictures.scanned(place, pictures.line(place, text, files, HEIGHT), 1.5, 25))
        turned = number % 2
        rows.append(pictures.padded(values[:, ::-1, ::-1] if turned else values, WIDTH))
        labels.append(turned)
    place.model(place.material / "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx")
    place.samples(x=np.array(rows), turned=np.array(labels))
