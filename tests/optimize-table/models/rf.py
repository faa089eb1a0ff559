"""A forest of 300 trees that reads digits."""

from sklearn.ensemble import RandomForestClassifier

from . import digits


def make(place):
    digits.make(place, RandomForestClassifier(300, random_state=0))
