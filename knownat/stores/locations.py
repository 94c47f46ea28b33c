"""Where a source's files lie: on this machine, relative to the repo, or in an object store."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path, PurePosixPath

from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from knownat.errors import RepoError

_REMOTE = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")
# pyarrow and boto3 are told a region by this name; the engine by the other.
_RENAMED = {"aws_default_region": "aws_region"}


@dataclass(frozen=True, kw_only=True)
class Location:
    """The files of one source: an absolute path, a folder, a pattern, or the same in an object store."""

    source: str
    """The source's name, for messages."""
    address: str
    remote: bool
    csv: bool
    pattern: str = ""
    """Which files of the folder ``address`` belong to it; empty for all, or where it is a file."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What an object store needs to be told: its endpoint, credentials and the like."""

    @property
    def path(self) -> Path:
        """The place on this machine.

        Raises
        ------
        RepoError
            If it is in an object store.
        """
        if self.remote:
            raise RepoError(f"Source '{self.source}' is at {self.address}; this needs a local file.")
        return Path(self.address)

    @property
    def is_folder(self) -> bool:
        """Whether rows are added as new files instead of rewriting one."""
        return self.address.endswith("/") if self.remote else self.path.is_dir()

    def files(self) -> list[Path]:
        """List the local files in a fixed order, without those that are hidden or still being written.

        Raises
        ------
        RepoError
            If there are none, or they are in an object store.
        """
        path = self.path
        if path.is_file():
            return [path]
        files = [file for file in path.glob(self.pattern or "**/*.parquet") if _is_whole(file, path)]
        if not files:
            raise RepoError(
                f"Source '{self.source}' has no {'CSV' if self.csv else 'Parquet'} file at "
                f"{path / self.pattern}. Run `knownat features build`, or correct its path: it is relative "
                "to the folder of feature_store.yaml."
            )
        return sorted(files)

    def partitions(self, file: str) -> dict[str, str]:
        """Read the partition values that a file's folders name, as in ``region=north/day=3/x.parquet``."""
        return _partitions(PurePosixPath(file.removeprefix(self._folder)))

    def partitions_above(self) -> set[str]:
        """Name what looks like a partition in the path of the source itself, and is none."""
        return set(_partitions(PurePosixPath(self._folder, "file")))

    @property
    def _folder(self) -> str:
        if self.remote:
            steps = self.address.split("/")
            literal = next((place for place, step in enumerate(steps) if has_magic(step)), len(steps) - 1)
            return "/".join(steps[:literal])
        return str(self.path if self.path.is_dir() else self.path.parent)


def locate(source: DataSource, config: RepoConfig) -> Location:
    """Find out where a file source lies; its path is relative to the repo, never to the working folder.

    Raises
    ------
    RepoError
        If it is no file source, or of a format or on a kind of storage that this store does not read.
    """
    if not isinstance(source, FileSource):
        raise RepoError(f"Source '{source.name}' is a {type(source).__name__}; this store reads FileSource.")
    kind = source.file_format
    if not (kind is None or isinstance(kind, ParquetFormat)):
        raise RepoError(f"Source '{source.name}' is {type(kind).__name__}; this store reads Parquet and CSV.")
    scheme, separator, rest = source.path.partition("://")
    # Feast has no name for CSV: it is what a source without a format says by its path.
    csv = kind is None and source.path.endswith(".csv")
    if separator and scheme not in ("file", *_REMOTE):
        raise RepoError(
            f"Source '{source.name}' is on '{scheme}'; this store reads local files and {sorted(_REMOTE)}."
        )
    if separator and scheme != "file":
        single = csv or source.path.endswith(".parquet") or has_magic(source.path)
        # An object store has no folders; the engine lists one whose name ends so.
        address = source.path if single else source.path.rstrip("/") + "/"
        options = storage_options(source)
        return Location(source=source.name, address=address, remote=True, csv=csv, options=options)
    folder, pattern = _resolve(source.name, Path(rest if separator else source.path), config)
    return Location(source=source.name, address=folder, remote=False, csv=csv, pattern=pattern)


def storage_options(source: FileSource) -> dict[str, str]:
    """Collect what the engine must be told about an object store; what is missing it looks up itself.

    The endpoint is the source's ``s3_endpoint_override``, the credentials those of its
    ``connection_ref``; without one, the engine asks the environment and the machine's own identity.
    """
    found = {name.lower(): value for name, value in (source.resolve_credentials() or {}).items()}
    options = {_RENAMED.get(name, name): value for name, value in found.items() if value}
    if endpoint := source.s3_endpoint_override:
        url = endpoint if "://" in endpoint else f"https://{endpoint}"
        options["aws_endpoint_url"] = url
        options.setdefault("aws_region", os.environ.get("AWS_REGION", "us-east-1"))
        if url.startswith("http://"):
            options["aws_allow_http"] = "true"
    return options


def _resolve(source: str, path: Path, config: RepoConfig) -> tuple[str, str]:
    if not path.is_absolute() and config.repo_path is None:
        raise RepoError(f"Source '{source}' is relative, and the repo's folder is not known.")
    base = Path(path.anchor) if path.is_absolute() else Path(config.repo_path or "/").absolute()
    steps = path.relative_to(path.anchor).parts
    literal = len(steps)
    if not (base / path).exists():
        # What comes before the first wildcard is a folder, whatever characters the repo's own path has.
        literal = next((place for place, step in enumerate(steps) if has_magic(step)), literal)
    return os.path.normpath(base.joinpath(*steps[:literal])), "/".join(steps[literal:])


def _partitions(path: PurePosixPath) -> dict[str, str]:
    return dict(part.split("=", 1) for part in path.parts[:-1] if "=" in part)


def _is_whole(file: Path, root: Path) -> bool:
    return file.is_file() and not any(map(_hidden, file.relative_to(root).parts))


def _hidden(part: str) -> bool:
    # Writers mark what is not data by either sign; a partition's name may begin with the second.
    return part.startswith(".") or (part.startswith("_") and "=" not in part)
