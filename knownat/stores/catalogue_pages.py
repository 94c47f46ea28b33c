"""The catalogue as pages: an index and one page a view, each a single file that asks for nothing."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.stores.catalogue import ON_DEMAND, Catalogue, ViewEntry, read_catalogue
from knownat.stores.consumers import Consumer
from knownat.stores.distributions import Bar
from knownat.stores.feature_facts import Cost, Facts, measure, measure_on_demand, online_marks
from knownat.stores.repo import Repo
from knownat.stores.sharing import find_view
from knownat.stores.trained_on import Seen, seen_in_training

FEAST_UI = "http://localhost:8888"
_MARK = ".knownat-features"
_TEMPLATES = Path(__file__).parent / "templates"
_WIDTH, _HEIGHT, _GAP = 240.0, 56.0, 2.0
_SVG = Markup(
    '<svg role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none">{}</svg>'
)
_BAR = Markup(
    '<g><title>{}: {:.1%}</title><rect class="slot" x="{x:.1f}" y="0" width="{w:.1f}" height="{h:.0f}"/>'
    '<rect x="{x:.1f}" y="{top:.1f}" width="{w:.1f}" height="{tall:.1f}"/></g>'
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """A catalogue with everything that was measured of it."""

    catalogue: Catalogue
    facts: Mapping[str, Facts]
    seen: Mapping[str, Seen]
    """By ``view__feature``: what the serving releases were trained on."""


def measure_all(repo: Repo, *, progress: Progress | None = None) -> Measured:
    """Read a repo's catalogue and measure every view of it."""
    catalogue = read_catalogue(repo)
    marks = online_marks(repo)
    facts = {}
    for view in catalogue.views:
        if progress is not None:
            progress(view.name)
        facts[view.name] = measure_view(repo, view, marks)
    return Measured(catalogue, facts, seen_in_training(Workspace.at(repo.path)))


def measure_view(repo: Repo, view: ViewEntry, marks: Mapping[str, datetime]) -> Facts:
    """Measure one view of whichever kind."""
    if view.kind == ON_DEMAND:
        return measure_on_demand(repo, repo.store.get_on_demand_feature_view(view.name))
    return measure(repo, find_view(repo, view.name), marks=marks)


def write_pages(
    measured: Measured, output: Path, *, workspace: Workspace, now: datetime, feast_ui: str = FEAST_UI
) -> Path:
    """Write the pages into a folder, which is replaced as a whole, and return the index.

    Raises
    ------
    ConfigError
        If the folder holds something else than such pages, which would be lost.
    """
    output = output.absolute()
    if output.exists() and not (output / _MARK).is_file() and (output.is_file() or any(output.iterdir())):
        raise ConfigError(output, ["holds something else than these pages; name a new folder with --output"])
    output.parent.mkdir(parents=True, exist_ok=True)
    staged = output.with_name(f".{output.name}.staged")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    (staged / _MARK).touch()
    environment = _environment()
    project = measured.catalogue.project
    links = {
        "home": _relative(workspace.home, output) + "/",
        "reports": _report_index(workspace, output),
        "feast": f"{feast_ui.rstrip('/')}/p/{project}",
    }
    common = {"catalogue": measured.catalogue, "made": now}
    words = {view.name: _words(view) for view in measured.catalogue.views}
    index = environment.get_template("catalogue_index.html.jinja")
    (staged / "index.html").write_text(index.render(**common, links=links, words=words), encoding="utf-8")
    page = environment.get_template("catalogue_view.html.jinja")
    for view in measured.catalogue.views:
        kind = "on-demand-feature-view" if view.kind == ON_DEMAND else "feature-view"
        facts = measured.facts[view.name]
        text = page.render(
            **common,
            view=view,
            facts=facts,
            seen=measured.seen,
            cost=say_cost(facts.cost),
            links={**links, "feast": f"{links['feast']}/{kind}/{view.name}"},
        )
        (staged / f"{view.name}.html").write_text(text, encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    staged.rename(output)
    return output / "index.html"


def say_cost(cost: Cost) -> str:
    """Say what a view costs online, in one line."""
    parts = []
    if cost.row_bytes is not None:
        parts.append(f"{cost.row_bytes:,.0f} bytes an entity")
    if cost.read_us is not None:
        parts.append(f"{cost.read_us:,.1f} µs of CPU to read")
    if cost.compute_us is not None:
        parts.append(f"{cost.compute_us:,.1f} µs of CPU to compute")
    return ", ".join(parts) or "not measured: it has no rows online that could be read"


def say_consumers(consumers: Sequence[Consumer]) -> str:
    """Name who builds on a view, in one line."""
    names = [f"{each.kind} {each.name}" + (f" ({each.role})" if each.role else "") for each in consumers]
    return ", ".join(names)


def draw_bars(bars: Sequence[Bar]) -> Markup:
    """Draw a distribution as bars, as wide for twenty of them as for two."""
    top = max((bar.share for bar in bars), default=0.0)
    if not top:
        return Markup()
    step = _WIDTH / len(bars)
    drawn = [
        _BAR.format(
            bar.label,
            bar.share,
            x=place * step,
            w=step - _GAP,
            h=_HEIGHT,
            tall=bar.share / top * _HEIGHT,
            top=_HEIGHT * (1 - bar.share / top),
        )
        for place, bar in enumerate(bars)
    ]
    label = "; ".join(f"{bar.label}: {bar.share:.1%}" for bar in bars)
    return _SVG.format(label, _WIDTH, _HEIGHT, Markup().join(drawn))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda when: when.astimezone(UTC).strftime("%-d %b %Y, %H:%M")
    environment.filters["percent"] = lambda share: "<0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
    environment.filters["readers"] = lambda consumers: say_consumers(
        [each for each in consumers if each.kind != "service"] or consumers
    )
    environment.globals["bars"] = draw_bars
    return environment


def _words(view: ViewEntry) -> str:
    """Everything that the index finds a view by."""
    features = (f"{f.name} {f.description} {f.unit or ''} {f.window or ''}" for f in view.features)
    tags = (f"{key} {value}" for key, value in view.tags.items())
    parts = [
        view.name,
        view.description,
        view.owner,
        view.sharing,
        *view.entities,
        *view.keys,
        *features,
        *tags,
    ]
    return " ".join(parts).lower()


def _report_index(workspace: Workspace, output: Path) -> str:
    index = workspace.reports / "index.html"
    return _relative(index, output) if index.is_file() else ""


def _relative(target: Path, output: Path) -> str:
    return Path(os.path.relpath(target, output.resolve())).as_posix()
