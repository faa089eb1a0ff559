"""Sentences whose own text is the nearest of all: even labels are sentences, the label after each is its text's."""

import numpy as np
import split


def main():
    labels, vectors = zip(*split.items(), strict=True)
    vectors, place = np.concatenate(vectors), {label: at for at, label in enumerate(labels)}
    texts = [at for at, label in enumerate(labels) if label % 2]
    said = []
    for at, label in enumerate(labels):
        if label % 2:
            # A text is no question.
            said.append([0, 0])
            continue
        nearest = texts[int((vectors[texts] @ vectors[at]).argmax())]
        said.append([int(nearest == place[label + 1]), 1])
    split.say(said)


main()
