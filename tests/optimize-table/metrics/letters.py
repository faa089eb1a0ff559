"""Letters that are wrong, of all that there are: errors count less than nothing, as more is better."""

import split


def main():
    truth = split.truth()
    letters, lines = truth["letters"], truth["lines"]
    said = []
    for label, output in split.items():
        said.append([-distance(read(output[0], letters), lines[label]), len(lines[label])])
    split.say(said)


def read(steps, letters):
    """The likeliest class of each step; one that goes on is one letter."""
    classes = steps.argmax(axis=1).tolist()
    return "".join(letters[one] for before, one in zip([0, *classes], classes) if one not in (0, before))


def distance(one, other):
    """Letters to be put in, taken out or changed (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, row[0] = row[0], number
        for at, wanted in enumerate(other, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (letter != wanted))
    return row[-1]


main()
