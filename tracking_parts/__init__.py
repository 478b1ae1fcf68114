"""The parts of experiment tracking, one subject each; `experiment_tracking.ExperimentTracking` puts them together.

Pure, or touching only the operating system: the filter grammar (`filters`), records, params, names, comparison,
explain, the report, capture of the environment, readers and writers of other formats. Inside a session that somebody
else opened: `queries`, `conditions`, `history`, `unknown`, `metric_log`. Base classes of `ExperimentTracking`, a group
of verbs each: `analysis`, `exchange`, `files`, `removal`.
"""
