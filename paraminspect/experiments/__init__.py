"""One run from a Spec to a Report: build, initialise, draw, run, measure, in the order a hand-written script would."""
