"""The parts of `ab_testing`: designs, assignment, events, sums, verdicts, results. Used through `ab_testing`."""
