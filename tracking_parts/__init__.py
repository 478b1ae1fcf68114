"""The parts of experiment tracking that need no database: the filter grammar, records, capture, import and export.

`experiment_tracking.ExperimentTracking` holds all persistence and uses these; each part is pure or touches only the
operating system, and can be read and tested alone.
"""
