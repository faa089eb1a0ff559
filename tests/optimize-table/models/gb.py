"""2,000 boosted trees that read digits."""

from sklearn.ensemble import GradientBoostingClassifier

from . import digits


def make(place):
    digits.make(place, GradientBoostingClassifier(n_estimators=200, random_state=0))
