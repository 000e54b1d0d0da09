"""Speed, as ratios in one run against what a user would do otherwise: ``python -m tests.benchmarks.process`` and so on."""
