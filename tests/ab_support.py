"""What the tests of A/B testing share: a small design, ways to fill it, and two arms with known results."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa

from ab_testing import ExperimentConfig
from db import ABEventRow

BASE = [0.81, 0.84, 0.79, 0.88, 0.83, 0.86, 0.80, 0.82, 0.85, 0.84]
BETTER = [0.86, 0.89, 0.85, 0.91, 0.84, 0.90, 0.88, 0.87, 0.92, 0.83, 0.89, 0.86]


def design(name="test", **changes):
    settings = {"metric_name": "score", "min_sample_size": 2}
    return ExperimentConfig(name=name, **(settings | changes))


def record(ab, exp_id, baseline, treatment, metric=None):
    rows = [
        {"user_id": f"{variant}-{index}", "value": value, "variant": variant, "metric": metric}
        for variant, values in (("baseline", baseline), ("treatment", treatment))
        for index, value in enumerate(values)
    ]
    return ab.record_events(exp_id, rows)


def counts(ab, row=ABEventRow):
    with ab.database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(row))


def feed(ab, exp_id, start, stop, effect=0.0, seed=0):
    rng = np.random.default_rng([seed, start])
    for variant in ("baseline", "treatment"):
        shift = effect if variant == "treatment" else 0.0
        values = rng.normal(shift, 1.0, stop - start).tolist()
        rows = [
            {"user_id": f"{variant}{index}", "value": value, "variant": variant}
            for index, value in zip(range(start, stop), values, strict=True)
        ]
        ab.record_events(exp_id, rows)
