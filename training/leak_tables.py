"""A certificate and the price of a leak, as tables for people."""

from rich.console import Console
from rich.table import Table

from training.canaries import CANARIES
from training.certificate import Certificate
from training.leaks import Price


def show_certificate(console: Console, certificate: Certificate) -> None:
    """Print what was looked at, and then whatever was found."""
    shown = Table("evidence", "looked at", "found", title="No value before it was known?")
    cells = sum(view.rows for view in certificate.views)
    late = sum(view.event_after_question + view.created_after_question for view in certificate.views)
    shown.add_row("times of joined rows", f"{cells:,} of {len(certificate.views)} views", f"{late:,} late")
    for evidence in certificate.future:
        looked = (
            f"{evidence.rows_visible:,} rows of {evidence.tables} tables, "
            f"{evidence.questions:,} questions x {evidence.columns} columns"
        )
        shown.add_row(
            f"future rewritten from {evidence.instant[:16]}", looked, f"{len(evidence.moved)} moved"
        )
    caught = sum(any(each.canaries[canary.name] for each in certificate.future) for canary in CANARIES)
    shown.add_row("leaks planted on purpose", f"{len(CANARIES)} kinds", f"{caught} caught")
    accepted = sum(suspicion.accepted is not None for suspicion in certificate.suspicions)
    shown.add_row(
        "suspicions", f"{len(certificate.suspicions)} raised, {accepted} explained",
        f"{len(certificate.open_suspicions())} open",
    )  # fmt: skip
    console.print(shown)
    for problem in certificate.problems():
        console.print(f"  [bold red]leak[/bold red]  {problem}", highlight=False)
    for words in certificate.open_suspicions():
        console.print(f"  [yellow]suspicious[/yellow]  {words}", highlight=False)
    for suspicion in certificate.suspicions:
        if suspicion.accepted is not None:
            console.print(f"  explained  {suspicion.words} {suspicion.accepted}", highlight=False)


def show_price(console: Console, price: Price) -> None:
    """Print what the leak promised, what serving would have got, and what honesty reaches."""
    shown = Table("metric", "promised", "served", "honest", title="The price of the leak")
    for metric, promised in price.promised.items():
        values = (promised.value, price.served[metric].value, price.honest[metric].value)
        shown.add_row(metric, *(f"{value:.4f}" for value in values))
    console.print(shown)
