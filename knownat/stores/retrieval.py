"""What a historical retrieval hands back: nothing is read until somebody asks for the rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
from feast.errors import RequestDataNotFoundInEntityDfException, SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage, ValidationReference
from typing_extensions import override

from knownat.errors import RepoError, RowsNotConserved
from knownat.stores.arrow_tables import exact_pandas
from knownat.stores.deadline import Stop, within
from knownat.stores.examples import Examples
from knownat.stores.locations import Location, locate
from knownat.stores.parquet_writes import exists, replace_rows
from knownat.stores.spooling import Spool

Column = tuple[str, pa.ChunkedArray]


class TableJob(RetrievalJob):
    """A table that is read when it is asked for, within the caller's time limit if there is one."""

    def __init__(self, retrieve: Callable[[Stop], pa.Table], config: RepoConfig) -> None:
        self._retrieve = retrieve
        self._config = config

    @override
    def to_arrow(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pa.Table:
        """Return the rows.

        Raises
        ------
        RetrievalTimeout
            If they are not there within ``timeout`` seconds.
        """
        rows = within(timeout, self._rows, what="The retrieval")
        if validation_reference is not None:
            _validate(rows, validation_reference)
        return rows

    @override
    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """Return the rows for pandas; integers stay exact beside nulls, and examples as they were given.

        Raises
        ------
        RetrievalTimeout
            If they are not there within ``timeout`` seconds.
        """
        if validation_reference is not None:
            return exact_pandas(self.to_arrow(validation_reference, timeout))
        return within(timeout, self._frame, what="The retrieval")

    @override
    def to_sql(self) -> str:
        """Refuse: the as-of join is no statement of SQL."""
        raise NotImplementedError("This retrieval is not SQL. Use to_arrow, to_df or persist.")

    @override
    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the rows to Parquet, whole or not at all: one file, or a folder with one file in it.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            If something is there and may not be overwritten.
        RetrievalTimeout
            If it is not done within ``timeout`` seconds; nothing is written then.
        """
        location = locate(storage.to_data_source(), self._config)
        if not allow_overwrite and exists(location):
            raise SavedDatasetLocationAlreadyExists(location=location.address)
        within(timeout, lambda stop: self._save(location, stop), what="Saving the dataset")

    def _save(self, location: Location, stop: Stop) -> None:
        replace_rows(location, [self._rows(stop)], stop)

    def _rows(self, stop: Stop) -> pa.Table:
        return self._retrieve(stop)

    def _frame(self, stop: Stop) -> pd.DataFrame:
        return exact_pandas(self._rows(stop))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.to_arrow(timeout=timeout)

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self.to_df(timeout=timeout)

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named ``view__feature``."""
        return False

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand views computed from the retrieved rows."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for; nothing is known of a plain table."""
        return None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a retrieval promises beside the examples."""

    feature_refs: Sequence[str]
    on_demand: Sequence[OnDemandFeatureView] = ()
    full_feature_names: bool = False

    @property
    def request_inputs(self) -> dict[str, str]:
        """What the examples must bring for the on-demand views, and which view needs it."""
        return {
            field.name: view.name
            for view in self.on_demand
            for source in view.source_request_sources.values()
            for field in source.schema
        }

    def outputs(self, view: OnDemandFeatureView) -> dict[str, str]:
        """Name the features that are asked of an on-demand view, each with its column in the result."""
        name = view.projection.name_to_use()
        prefix = f"{view.projection.name_alias or view.name}__" if self.full_feature_names else ""
        names = [field.name for field in view.projection.features]
        return {feature: prefix + feature for feature in names if f"{name}:{feature}" in self.feature_refs}


class AsOfRetrievalJob(TableJob):
    """Examples with their features, on-demand ones included.

    ``find`` returns the stored features of the examples' questions, row by row; ``stream``, where
    there is one, yields them column by column, so that a saved dataset is never in memory as a whole.
    """

    def __init__(
        self,
        examples: Examples,
        find: Callable[[Stop], pa.Table],
        wanted: Wanted,
        config: RepoConfig,
        stream: Callable[[Stop], Iterator[Column]] | None = None,
    ) -> None:
        super().__init__(self._with_examples, config)
        self._examples = examples
        self._find = find
        self._wanted = wanted
        self._stream = stream

    @override
    def _save(self, location: Location, stop: Stop) -> None:
        if self._stream is None or location.remote:
            super()._save(location, stop)
            return
        location.path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the result, where there is room for it: a system's own scratch space may be memory.
        with TemporaryDirectory(prefix=f".{location.path.name}.", dir=location.path.parent) as folder:
            spool = Spool(Path(folder))
            for name, values in self._stream(stop):
                stop.check()
                spool.put(name, values)
            self._compute_aside(spool, stop)
            replace_rows(location, spool.beside(self._examples.whole(stop)), stop)

    def _compute_aside(self, spool: Spool, stop: Stop) -> None:
        questions, taken = self._examples.questions(stop).table, self._examples.columns(stop)
        self._check_inputs(questions)
        _check_names(taken, spool.names)
        for view in self._wanted.on_demand:
            stop.check()
            inputs = questions
            for name in set(inputs_of(view)) & set(spool.names):
                inputs = inputs.append_column(name, spool.column(name))
            made = compute_on_demand(view, inputs, full_feature_names=self.full_feature_names)
            for column in self._wanted.outputs(view).values():
                _check_names([*taken, *spool.names], [column])
                spool.put(column, made[column])

    def _with_examples(self, stop: Stop) -> pa.Table:
        table, features = self._examples.whole(stop), self._features(stop)
        for name in features.column_names:
            table = table.append_column(name, features[name])
        return table

    @override
    def _frame(self, stop: Stop) -> pd.DataFrame:
        features = exact_pandas(self._features(stop))
        together: pd.DataFrame = pd.concat([self._examples.frame(stop), features], axis=1)
        return together

    def _features(self, stop: Stop) -> pa.Table:
        features, inputs = self._find(stop), self._examples.questions(stop).table
        if features.num_rows != inputs.num_rows:
            raise RowsNotConserved(
                f"{inputs.num_rows} examples in, {features.num_rows} rows of features out."
            )
        self._check_inputs(inputs)
        taken = self._examples.columns(stop)
        _check_names(taken, features.column_names)
        for name in features.column_names:
            inputs = inputs.append_column(name, features[name])
        for view in self._wanted.on_demand:
            stop.check()
            made = compute_on_demand(view, inputs, full_feature_names=self.full_feature_names)
            for column in self._wanted.outputs(view).values():
                _check_names([*taken, *features.column_names], [column])
                features = features.append_column(column, made[column])
        return features

    def _check_inputs(self, questions: pa.Table) -> None:
        for name, asker in self._wanted.request_inputs.items():
            if name not in questions.column_names:
                raise RequestDataNotFoundInEntityDfException(feature_name=name, feature_view_name=asker)

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named ``view__feature``."""
        return self._wanted.full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand views computed from the retrieved rows."""
        return list(self._wanted.on_demand)

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for; a query is run to know when its examples lie."""
        questions = self._examples.questions(Stop())
        times = questions.table[questions.event_timestamp].to_pandas()
        bounds = pd.to_datetime(times, utc=True)
        return RetrievalMetadata(
            features=list(self._wanted.feature_refs),
            keys=[name for name in self._examples.columns(Stop()) if name != questions.event_timestamp],
            min_event_timestamp=bounds.min().to_pydatetime() if len(bounds) else None,
            max_event_timestamp=bounds.max().to_pydatetime() if len(bounds) else None,
        )


def compute_on_demand(view: OnDemandFeatureView, rows: pa.Table, *, full_feature_names: bool) -> pa.Table:
    """Compute an on-demand view from the inputs it declares.

    Feast hands each on-demand view every column as Python objects: most of the time of a wide
    frame. It also lets a body read what it never declared, and fail when it is served.

    Raises
    ------
    RowsNotConserved
        If the view made other rows than it was given.
    """
    inputs = [name for name in inputs_of(view) if name in rows.column_names]
    made = view.transform_arrow(rows.select(inputs), full_feature_names)
    if made.num_rows != rows.num_rows:
        raise RowsNotConserved(
            f"On-demand view '{view.name}' made {made.num_rows} rows of {rows.num_rows}; it must return "
            "one for each it is given, in their order."
        )
    return made


def _validate(rows: pa.Table, reference: ValidationReference) -> None:
    from feast.dqm.errors import ValidationFailed

    result = reference.profile.validate(rows.to_pandas())
    if not result.is_success:
        raise ValidationFailed(result)


def _check_names(taken: Sequence[object], names: Sequence[str]) -> None:
    if doubled := sorted(set(names) & set(taken)):
        raise RepoError(
            f"The examples or another view already have a column '{doubled[0]}'. Rename it there, or ask "
            "with full feature names."
        )


def inputs_of(view: OnDemandFeatureView) -> list[str]:
    """Name what an on-demand view declares as its inputs, under short and full names."""
    names = [field.name for source in view.source_request_sources.values() for field in source.schema]
    for source in view.source_feature_view_projections.values():
        prefix = f"{source.name_alias or source.name}__"
        names += [name for field in source.features for name in (prefix + field.name, field.name)]
    return [*dict.fromkeys(names)]
