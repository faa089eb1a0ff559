"""Lines that are found on a page: a part over the threshold whose box, grown as PaddleOCR grows it, covers a line's and no more."""

import numpy as np
import split
from scipy import ndimage

THRESHOLD, GROWN, ALIKE = 0.3, 1.6, 0.5


def main():
    truth, said = split.truth(), []
    for label, output in split.items():
        found, lines = boxes(output[0, 0]), truth[label]
        said.append([sum(any(overlap(line, box) >= ALIKE for box in found) for line in lines), len(lines)])
    split.say(said)


def boxes(likely):
    parts, _ = ndimage.label(likely > THRESHOLD)
    found = []
    for rows, columns in ndimage.find_objects(parts):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        # By the area over the length of its edge.
        more = GROWN * height * width / (2 * (height + width))
        found.append((columns.start - more, rows.start - more, columns.stop + more, rows.stop + more))
    return found


def overlap(one, other):
    """The area of both over that of either."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = np.prod(np.maximum(high - low, 0))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (area - both)


main()
