"""A/B tests of models: design, assignment, events, stopping and decision, in one place.

    >>> import tempfile, numpy as np
    >>> ab = ABTestingFramework(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> exp_id = ab.create_experiment(ExperimentConfig(name="v2", metric_name="accuracy", min_sample_size=100))
    >>> users = [f"user-{i}" for i in range(400)]
    >>> better = ab.assign_many(exp_id, users) == "treatment"
    >>> values = np.random.default_rng(1).normal(0.80 + 0.05 * better, 0.1)
    >>> ab.record_events(exp_id, zip(users, values))
    400
    >>> ab.analyze_experiment(exp_id).decision
    'ship'

Vocabulary: a *subject* (user, request, document) is the unit that is assigned and compared, however many events it
has;
a *variant* is what a subject gets: the *baseline* or a *treatment*; a *phase* is a period of constant split and
coverage; a *look* is one time somebody saw results; an *effect* is treatment minus baseline.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from ab_parts.aggregates import LARGEST_CODE, assignment_counts, count_codes, metric_data, segment_data, times_of_events
from ab_parts.analysis import analyze_data, check_validity
from ab_parts.assignment import Assigner, Live
from ab_parts.daily import daily_points, daily_sums
from ab_parts.design import ExperimentConfig
from ab_parts.in_memory import analyze_frame, analyze_values
from ab_parts.memory import Memory
from ab_parts.metrics import Aggregation, Metric, MetricType
from ab_parts.queries import (
    add_looks,
    find_experiment,
    find_version_id,
    free_start,
    looks_of,
    phases_of,
    shares_of,
    to_experiment,
    version_uids,
)
from ab_parts.recording import Recording
from ab_parts.results import (
    DailyPoint,
    DeletedExperiment,
    Experiment,
    ExperimentAnalysis,
    Exposure,
    Look,
    SimulationResult,
    StoppingDecision,
    VariantComparison,
)
from ab_parts.simulation import simulate
from ab_parts.sizing import SampleSizePlan, plan_sample_size
from ab_parts.summaries import MetricData
from db import (
    ABAssignmentRow,
    ABEventRow,
    ABExperimentRow,
    ABPhaseRow,
    ABSubjectRow,
    Database,
    ModelVersionRow,
)
from errors import DuplicateError, StateError
from stats.decision import DECISIONS
from values import check_choice, check_text, new_id, to_float, to_utc

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session


__all__ = [
    "ABTestingFramework",
    "Aggregation",
    "Assigner",
    "DailyPoint",
    "DeletedExperiment",
    "Experiment",
    "ExperimentAnalysis",
    "ExperimentConfig",
    "Exposure",
    "Look",
    "Metric",
    "MetricType",
    "SampleSizePlan",
    "SimulationResult",
    "StoppingDecision",
    "VariantComparison",
    "analyze_frame",
    "analyze_values",
    "calculate_sample_size",
    "simulate_experiment",
]


T = TypeVar("T")
STATUSES = ("running", "paused", "concluded", "archived")
ACTIVE = STATUSES[:2]  # in which a test may be looked at, changed and ended
SNAPSHOT_LOOKS = 3  # looks that others may overtake before one is made while everybody waits

calculate_sample_size = plan_sample_size
simulate_experiment = simulate


class ABTestingFramework(Recording):
    """Create A/B tests, assign subjects, record what happens, and decide.

    Parameters
    ----------
    database : Database, str, path or None
        A `db.Database`, a URL, or nothing for the default store.

    Examples
    --------
    >>> import tempfile
    >>> ab = ABTestingFramework(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> exp_id = ab.create_experiment(ExperimentConfig(name="new ranker", metric_name="clicked", metric_type="binary"))
    >>> ab.assign(exp_id, "user-7") in ("baseline", "treatment")
    True
    """

    def __init__(self, database: Database | str | None = None) -> None:
        self._database = Database.open(database)
        self._memory = Memory.of(self._database)

    @property
    def database(self) -> Database:
        """The store this object works on."""
        return self._database

    # -- experiments ---------------------------------------------------------------------------------

    def create_experiment(self, config: ExperimentConfig) -> str:
        """Store a design and start the test.

        Parameters
        ----------
        config : ExperimentConfig

        Returns
        -------
        str
            ``exp_id``. Creating the same design again returns the id of the first.

        Raises
        ------
        DuplicateError
            If the name is taken by a test of another design.
        NotFoundError
            If a linked model version does not exist.
        StateError
            If the namespace has not enough room left.
        """
        if not isinstance(config, ExperimentConfig):
            raise TypeError(f"config must be an ExperimentConfig, got {type(config).__name__}")

        def create(session: Session) -> str:
            if self._database.dialect == "postgresql":  # names and namespaces are read, then written
                session.execute(sa.text("LOCK TABLE ab_experiments IN SHARE ROW EXCLUSIVE MODE"))
            stored = config.to_dict()
            existing = session.scalar(sa.select(ABExperimentRow).where(ABExperimentRow.name == config.name))
            if existing is not None:
                if ExperimentConfig.from_dict(existing.config) == config and existing.status in ACTIVE:
                    return existing.uid
                raise DuplicateError(
                    f"an experiment named {config.name!r} exists already ({existing.status}, id {existing.uid}) "
                    "with another design or finished; choose another name"
                )
            now = to_utc()
            row = ABExperimentRow(
                uid=new_id(),
                name=config.name,
                status="running",
                config=stored,
                salt=secrets.token_hex(16) if config.salt is None else config.salt,
                phase=1,
                baseline_version_id=find_version_id(session, config.baseline_version_id),
                treatment_version_id=find_version_id(session, config.treatment_version_id),
                namespace=config.namespace,
                namespace_start=free_start(session, config.namespace, config.namespace_share),
                namespace_share=config.namespace_share,
                created_at=now,
            )
            session.add(row)
            session.flush()
            shares = dict(zip(config.variants, config.shares, strict=True))
            session.add(
                ABPhaseRow(
                    experiment_id=row.id,
                    number=1,
                    shares=shares,
                    coverage=config.coverage,
                    started_at=now,
                    by_rule=True,
                )
            )
            return row.uid

        return self._change(create)

    def get_experiment(self, exp_id: str) -> Experiment:
        """Return an experiment by its id, or by its name.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        with self._database.read() as session:
            row = find_experiment(session, exp_id)
            phases = phases_of(session, row.id)
            return to_experiment(row, phases, version_uids(session, [row]))

    def list_experiments(
        self, *, status: str | None = None, model_version_id: str | None = None, namespace: str | None = None
    ) -> list[Experiment]:
        """Return experiments, newest first.

        Parameters
        ----------
        status : {"running", "paused", "concluded", "archived"} or None
            None is all but the archived.
        model_version_id : str or None
            Only tests with this registered model version as baseline or treatment.
        namespace : str or None
        """
        query = sa.select(ABExperimentRow).order_by(ABExperimentRow.id.desc())
        if status is None:
            query = query.where(ABExperimentRow.status != "archived")
        else:
            query = query.where(ABExperimentRow.status == check_choice(status, "status", STATUSES))
        if namespace is not None:
            query = query.where(ABExperimentRow.namespace == namespace)
        with self._database.read() as session:
            if model_version_id is not None:
                version = session.scalar(sa.select(ModelVersionRow.id).where(ModelVersionRow.uid == model_version_id))
                query = query.where(
                    sa.or_(
                        ABExperimentRow.baseline_version_id == version, ABExperimentRow.treatment_version_id == version
                    )
                )
            rows = list(session.scalars(query))
            uids = version_uids(session, rows)
            phases: dict[int, list[ABPhaseRow]] = {}
            for phase in session.scalars(sa.select(ABPhaseRow).order_by(ABPhaseRow.number)):
                phases.setdefault(phase.experiment_id, []).append(phase)
            return [to_experiment(row, phases.get(row.id, []), uids) for row in rows]

    def pause(self, exp_id: str, *, reason: str | None = None) -> None:
        """Stop assigning and recording for now."""
        self._move(exp_id, "paused", ("running",), reason)

    def resume(self, exp_id: str, *, reason: str | None = None) -> None:
        """Go on after a pause."""
        self._move(exp_id, "running", ("paused",), reason)

    def archive(self, exp_id: str, *, reason: str | None = None) -> None:
        """Take an experiment out of the lists; nothing is deleted. A running one is ended by this.

        See `delete_experiment` to remove one for good.
        """
        self._move(exp_id, "archived", ("running", "paused", "concluded"), reason)

    def delete_experiment(self, exp_id: str, *, allow_running: bool = False) -> DeletedExperiment:
        """Delete a test for good, with its assignments, events and looks; its name is free again.

        Parameters
        ----------
        exp_id : str
        allow_running : bool
            True also deletes a test that is running or paused.

        Returns
        -------
        DeletedExperiment

        Raises
        ------
        StateError
            If the test is running or paused, and that was not allowed.

        Notes
        -----
        There is no way back: `archive` hides a test and keeps everything, `db.Database.backup` copies the store. What
        a promotion recorded as its evidence (the id, the numbers, the decision) stays where it stands.
        """

        def remove(session: Session) -> tuple[ABExperimentRow, int, int]:
            row = find_experiment(session, exp_id, lock=True)
            if row.status in ("running", "paused") and not allow_running:
                raise StateError(
                    f"experiment {row.name!r} is {row.status}; conclude or archive it first, "
                    "or delete it with allow_running=True"
                )
            of_test: dict[Any, int] = {}
            for table in (ABAssignmentRow, ABEventRow):
                counted = sa.select(sa.func.count()).select_from(table).where(table.experiment_id == row.id)
                of_test[table] = session.scalar(counted) or 0
            session.expunge(row)
            session.execute(sa.delete(ABExperimentRow).where(ABExperimentRow.id == row.id))
            return row, of_test[ABAssignmentRow], of_test[ABEventRow]

        row, n_assignments, n_events = self._change(remove)
        return DeletedExperiment(
            exp_id=row.uid,
            name=row.name,
            n_assignments=n_assignments,
            n_events=n_events,
            database_bytes=self._database.vacuum() if n_assignments or n_events else 0,
        )

    def _change(self, function: Callable[[Session], T]) -> T:
        """Run a write to tests in one transaction; what this process remembers of their state ends with it."""
        try:
            return self._database.transact(function)
        finally:
            self._memory.forget_states()

    def _move(self, exp_id: str, status: str, allowed: tuple[str, ...], reason: str | None) -> None:
        note = None if reason is None else check_text(reason, "reason")

        def move(session: Session) -> None:
            row = find_experiment(session, exp_id, lock=True)
            if row.status == status:
                return
            if row.status not in allowed:
                raise StateError(
                    f"experiment {row.name!r} is {row.status}; only {' or '.join(allowed)} can become {status}"
                )
            row.status = status
            if note is not None and row.decision is None:
                row.decision_reason = note
            if status == "archived":
                row.archived_at = to_utc()
                row.ended_at = row.ended_at or row.archived_at

        self._change(move)

    def conclude(
        self, exp_id: str, *, decision: str | None = None, reason: str | None = None, actor: str | None = None
    ) -> ExperimentAnalysis:
        """End the test and record what was decided, with the evidence as of now.

        Parameters
        ----------
        exp_id : str
        decision : str or None
            One of "ship", "keep_baseline", "stop_futile", "too_small", "inconclusive", "invalid". None takes the
            decision
            of the analysis; if that is to keep running, "inconclusive".
        reason, actor : str or None
            Why, and who.

        Returns
        -------
        ExperimentAnalysis
            The analysis that is stored as evidence.

        Raises
        ------
        StateError
            If the test is concluded or archived already.
        """
        choices = [code for code in DECISIONS if code not in ("keep_running", "insufficient_data")]
        if decision is not None:
            check_choice(decision, "decision", choices)
        note = None if reason is None else check_text(reason, "reason")
        who = None if actor is None else check_text(actor, "actor", 255)

        def end(session: Session) -> ExperimentAnalysis:
            row = find_experiment(session, exp_id, lock=True)
            if row.status not in ACTIVE:
                raise StateError(f"experiment {row.name!r} is {row.status} already; its decision is {row.decision!r}")
            live = self._to_live(session, row)
            analysis, new_looks = self._analyze(session, live, running=False)
            add_looks(session, live, new_looks)
            row.status, row.ended_at = "concluded", to_utc()
            row.decision = decision or (analysis.decision if analysis.decision in choices else "inconclusive")
            row.decision_reason, row.decided_by = note or analysis.recommendation, who
            row.evidence = analysis.to_dict()
            return analysis

        return self._change(end)

    def start_phase(
        self,
        exp_id: str,
        *,
        traffic_split: float | Mapping[str, float] | None = None,
        coverage: float | None = None,
        reason: str | None = None,
    ) -> int:
        """Change split or coverage from now on; results are compared within phases, never pooled.

        Parameters
        ----------
        exp_id : str
        traffic_split : float, mapping or None
            The treatment's share, or the share of every treatment by variant; None keeps it.
        coverage : float or None
            Share of all subjects that take part; None keeps it.
        reason : str or None

        Returns
        -------
        int
            Number of the new phase. Subjects assigned before keep their variant and their phase.
        """
        note = None if reason is None else check_text(reason, "reason")

        def start(session: Session) -> int:
            row = find_experiment(session, exp_id, lock=True)
            if row.status not in ACTIVE:
                raise StateError(f"experiment {row.name!r} is {row.status}; it cannot start a phase")
            live = self._to_live(session, row)
            shares = live.shares if traffic_split is None else live.config.with_split(traffic_split).shares
            wide = live.coverage if coverage is None else to_float(coverage, "coverage")
            if not 0.0 < wide <= 1.0:
                raise ValueError(f"coverage must lie in (0, 1], got {wide!r}")
            if shares == live.shares and wide == live.coverage:
                raise ValueError("the new phase has the split and the coverage of the present one; change one of them")
            row.phase += 1
            session.add(
                ABPhaseRow(
                    experiment_id=row.id,
                    number=row.phase,
                    shares=dict(zip(live.config.variants, shares, strict=True)),
                    coverage=wide,
                    started_at=to_utc(),
                    reason=note,
                    by_rule=True,
                )
            )
            return row.phase

        return self._change(start)

    # -- analysis ------------------------------------------------------------------------------------

    def analyze_experiment(
        self, exp_id: str, *, segment: str | None = None, record_look: bool = True
    ) -> ExperimentAnalysis:
        """Compare the variants and say what to do.

        Parameters
        ----------
        exp_id : str
        segment : str or None
            Name of a text attribute: results are also given by its values (exploratory, never part of the verdict).
        record_look : bool
            Whether this counts as a look in the stored history; a look without new data never does. False is for
            monitoring
            that shows no result to anybody.

        Returns
        -------
        ExperimentAnalysis
        """
        return self._look(exp_id, segment=segment, record_look=record_look)

    def check_early_stopping(self, exp_id: str, *, record_look: bool = True) -> StoppingDecision:
        """Say whether the test may stop now, by its own stopping rule.

        Parameters
        ----------
        exp_id : str
        record_look : bool
            See `analyze_experiment`.

        Returns
        -------
        StoppingDecision
        """
        return self._look(exp_id, record_look=record_look).stopping

    def looks(self, exp_id: str) -> list[Look]:
        """Return every look at the main metric that was stored, oldest first."""
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            return looks_of(session, live)

    def daily_series(self, exp_id: str, *, metric: str | None = None, variant: str | None = None) -> list[DailyPoint]:
        """Return the cumulated comparison at the end of every day (UTC), with its confidence sequence.

        Subjects count from the day of their first event, with the value that their events up to the end of each day
        come to; days are those on which events happened. Only the confidence sequence may be read at every day; the
        fixed-horizon interval is right for one look that was planned.
        """
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            index = live.config.metric_index(metric)
            chosen = (
                live.config.variants[1] if variant is None else check_choice(variant, "variant", live.config.variants)
            )
            sums = daily_sums(session, live, index)
        return daily_points(live.config, index, live.config.variants.index(chosen), sums)

    def distribution(self, exp_id: str, *, metric: str | None = None, n_bins: int = 40) -> pd.DataFrame:
        """Return how the subjects' values are distributed: columns variant, lower, upper, n_subjects, share."""
        import pandas as pd

        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            index = live.config.metric_index(metric)
            where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index)
            low, high, n = session.execute(
                sa.select(sa.func.min(ABSubjectRow.value), sa.func.max(ABSubjectRow.value), sa.func.count()).where(
                    *where
                )
            ).one()
            columns = ["variant", "lower", "upper", "n_subjects", "share"]
            if not n:
                return pd.DataFrame({name: [] for name in columns})
            whole = live.config.metrics[index].metric_type in (MetricType.BINARY, MetricType.COUNT)
            width = (high - low) / n_bins if high > low else 1.0
            if whole:
                width = float(max(1, math.ceil((high - low + 1) / n_bins)))
            n_variants = len(live.config.variants)
            place: Any = (ABSubjectRow.value - low) / width
            # A cast rounds on PostgreSQL; on SQLite it cuts off, in half the time of floor().
            bucket = sa.cast(place, sa.Integer) if self._database.dialect == "sqlite" else sa.func.floor(place)
            if n_variants * (n_bins + 2) <= LARGEST_CODE:
                codes = count_codes(session, bucket * n_variants + ABSubjectRow.variant, where)
                rows = [(code % n_variants, code // n_variants, count) for code, count in codes.items()]
            else:
                grouped = sa.select(ABSubjectRow.variant, bucket, sa.func.count()).where(*where)
                rows = [tuple(row) for row in session.execute(grouped.group_by(ABSubjectRow.variant, bucket))]
        top = math.ceil((high - low) / width) - (0 if whole else 1)
        totals: dict[int, int] = {}
        cells: dict[tuple[int, int], int] = {}
        for variant, place, count in rows:
            totals[variant] = totals.get(variant, 0) + count
            key = (variant, max(0, min(int(place), max(top, 0))))
            cells[key] = cells.get(key, 0) + count
        return pd.DataFrame(
            [
                {
                    "variant": live.config.variants[variant],
                    "lower": low + place * width,
                    "upper": low + (place + 1) * width,
                    "n_subjects": count,
                    "share": count / totals[variant],
                }
                for (variant, place), count in sorted(cells.items())
            ],
            columns=columns,
        )

    def check_exposure(self, exp_id: str) -> Exposure:
        """Return who was assigned to what and whether that may be used; no result is read, so this is no look.

        Parameters
        ----------
        exp_id : str

        Returns
        -------
        Exposure
        """
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            counts, conflicts = assignment_counts(session, live)
            shares = shares_of(live.config.variants, phases_of(session, live.row_id))
        srm, problems = check_validity(live.config, counts, shares, conflicts)
        totals = [
            sum(by_variant[index] for by_variant in counts.values()) for index in range(len(live.config.variants))
        ]
        return Exposure(
            exp_id=live.uid,
            n_assigned=dict(zip(live.config.variants, totals, strict=True)),
            srm_p_value=srm,
            n_conflicts=conflicts,
            problems=problems,
        )

    def _look(self, exp_id: str, *, segment: str | None = None, record_look: bool = True) -> ExperimentAnalysis:
        """Analyse a snapshot, while others go on writing, and store the look if nobody else looked meanwhile."""
        for _ in range(SNAPSHOT_LOOKS):
            with self._database.read() as session:
                live = self._find_live(session, exp_id)
                running = live.status in ACTIVE
                analysis, new_looks = self._analyze(session, live, running=running, segment=segment)
            if not (record_look and running and new_looks):
                return analysis
            n_before = len(analysis.looks) - len(new_looks)
            if self._database.transact(partial(self._store_looks, live, new_looks, n_before)):
                return analysis

        def alone(session: Session) -> ExperimentAnalysis:
            live = self._to_live(session, find_experiment(session, exp_id, lock=True))
            running = live.status in ACTIVE
            analysis, new_looks = self._analyze(session, live, running=running, segment=segment)
            if running:
                add_looks(session, live, new_looks)
            return analysis

        return self._database.transact(alone)

    def _store_looks(self, seen: Live, new_looks: list[Look], n_before: int, session: Session) -> bool:
        """Store looks at a snapshot; False if by now the test was ended, changed its phase, or was looked at."""
        row = find_experiment(session, seen.uid, lock=True)
        if row.status not in ACTIVE or row.phase != seen.phase or len(looks_of(session, seen)) != n_before:
            return False
        add_looks(session, seen, new_looks)
        return True

    def _analyze(
        self, session: Session, live: Live, *, running: bool, segment: str | None = None
    ) -> tuple[ExperimentAnalysis, list[Look]]:
        """Return the analysis of what a session sees, and the looks that it makes."""
        data = [metric_data(session, live, index) for index in range(len(live.config.metrics))]
        counts, conflicts = assignment_counts(session, live, data[0])
        segments: dict[str, MetricData] = {}
        if segment is not None:
            segments = segment_data(session, live, segment)
        shares = shares_of(live.config.variants, phases_of(session, live.row_id))
        first = last = None
        if min(data[0].n_of(variant) for variant in range(len(live.config.variants))) < live.config.needed_sample_size:
            first, last = times_of_events(session, live)  # for the days left: only where some may be
        return analyze_data(
            live.config,
            data,
            exp_id=live.uid,
            experiment_status=live.status,
            assigned=counts,
            shares=shares,
            conflicts=conflicts,
            looks=looks_of(session, live),
            running=running,
            first_at=first,
            last_at=last,
            segment=segment,
            segments=segments,
        )

    # -- planning ------------------------------------------------------------------------------------

    # Neither needs a store: they are also functions of this module.
    calculate_sample_size = staticmethod(plan_sample_size)
    simulate_experiment = staticmethod(simulate)
