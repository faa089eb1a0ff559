"""scikit-learn's handwritten digits, and what its classifiers are as ONNX."""

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def make(place, classifier):
    """A classifier that learns three fifths of the digits, and is asked the others."""
    pixels, digits = load_digits(return_X_y=True)
    pixels = (pixels / 16).astype(np.float32)
    learnt, asked, of_learnt, of_asked = train_test_split(pixels, digits, test_size=0.4, random_state=0, stratify=digits)
    classifier.fit(learnt, of_learnt)
    options = {id(classifier): {"zipmap": False}}
    place.model(to_onnx(classifier, learnt[:1], options=options).SerializeToString())
    place.samples(X=asked, digit=of_asked)
