"""A plan as people read it: a table in a terminal, and one in Markdown for a change request."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
from rich.console import Console

from knownat.stores.definition_changes import BREAKING
from training.planning import Plan, Touched
from training.traffic import Effect

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST = 80
_COLUMNS_NAMED = 3


def render_markdown(plan: Plan) -> str:
    """Lay a plan out in Markdown, to post where the change is discussed."""
    # The page is Markdown, where HTML's escapes would be read as they stand; cells are escaped one by one.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "short": _short, "most": _most}
    return environment.get_template("plan.md").render(
        plan=plan, verdict=_verdict(plan), reasons=_reasons(plan)
    )


def show_plan(console: Console, plan: Plan) -> None:
    """Print a plan."""
    console.print(_verdict(plan), style="bold red" if plan.breaks else "bold green")
    for each in plan.changes:
        mark = "[yellow]allowed[/yellow]" if each.allowed else "[red]breaks[/red] "
        console.print(mark if each.breaks else "       ", end=" ")
        console.print(_words(each), highlight=False, markup=False, soft_wrap=True)
        people = (("serving", each.releases), ("services", each.services), ("tell", each.owners))
        told = "; ".join(f"{title} {', '.join(names)}" for title, names in people if names)
        console.print(f"        {told or 'nobody reads it'}", style="dim", soft_wrap=True)
    for what, reason in _reasons(plan):
        console.print(f"  {what}: {reason}.", highlight=False, soft_wrap=True)
    for title, effect in plan.effects.items():
        console.print(f"  {title}: {describe_effect(effect)}.", highlight=False, markup=False, soft_wrap=True)


def describe_effect(effect: Effect) -> str:
    """Say in one sentence what became of a release's answers."""
    if effect.problem:
        return f"cannot be asked or scored: {effect.problem.rstrip('.')}"
    words = f"{effect.scores_changed:,} of {effect.questions:,} scores differ ({effect.source})"
    if effect.columns_changed:
        words += (
            f", by up to {effect.largest_change:.3g}; features that differ: {_most(effect.columns_changed)}"
        )
    if effect.metric:
        found = effect.metric
        words += (
            f"; {found.metric} of {found.labelled:,} labelled: {found.before:.4f} -> {found.after:.4f}, "
            f"gain {found.gain:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        )
    return words


def _words(each: Touched) -> str:
    change = each.change
    words = f"{change.subject}: {change.what}"
    if change.before or change.after:
        words += f", {_short(change.before) or 'none'} -> {_short(change.after) or 'none'}"
    return words


def _verdict(plan: Plan) -> str:
    if not plan.changes:
        return "nothing changes"
    broken = {title for each in plan.changes if each.breaks and not each.allowed for title in each.releases}
    broken |= {title for title, effect in plan.effects.items() if effect.fails and plan.breaks}
    if broken:
        return (
            f"{_count(plan)}, which break{'s' if len(plan.changes) == 1 else ''} {', '.join(sorted(broken))}"
        )
    return f"{_count(plan)}; nothing that serves breaks"


def _count(plan: Plan) -> str:
    return "1 change" if len(plan.changes) == 1 else f"{len(plan.changes)} changes"


def _reasons(plan: Plan) -> list[tuple[str, str]]:
    broken = {each.change.what for each in plan.changes if each.breaks}
    return [(str(what), reason) for what, reason in BREAKING.items() if what in broken]


def _most(columns: Mapping[str, int]) -> str:
    ranked = sorted(columns.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} ({count:,})" for name, count in ranked[:_COLUMNS_NAMED])
    return named + (f" and {len(ranked) - _COLUMNS_NAMED} more" if len(ranked) > _COLUMNS_NAMED else "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
