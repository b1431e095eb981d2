"""`lode models`: the models that nodes look with."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import confirm, examples

if TYPE_CHECKING:
    from lodestream.cli.output import Cell
    from lodestream.models.card import Card
    from lodestream.models.shelf import Shelf
    from lodestream.models.sources import Source

LETTERS = 12
"""Of a commit, where it is shown."""


def complete_known(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of models that can be pulled, for the shell."""
    from lodestream.models.card import known_cards

    return [name for name in known_cards() if name.startswith(incomplete)]


def complete_installed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of installed models, for the shell; none where their folder is not known."""
    from lodestream.errors import LodeError

    try:
        return [card.name for card in _shelf().cards() if card.name.startswith(incomplete)]
    except LodeError:
        return []


@click.group(
    epilog=examples(
        "lode models ls",
        "lode models pull standin-siglip2",
        "lode models pull siglip2-base-224 dinov3-vits16",
        "lode models pull dfine-s --from /media/usb/models",
    )
)
def models() -> None:
    """Get models, check them, drop them.

    A flow names a model; nothing is downloaded unless you pull it. The stand-ins are made here in a second.
    """


@models.command(epilog=examples("lode models ls", "lode models ls --json"))
@click.option("--json", "as_json", is_flag=True, help="One object for each model, for programs.")
def ls(as_json: bool) -> None:
    """List known and installed models."""
    from lodestream.cli import output
    from lodestream.models.card import known_cards

    shelf = _shelf()
    here = {card.name: card for card in shelf.cards()}
    cards = sorted((known_cards() | here).values(), key=lambda card: (card.name not in here, card.name))
    if as_json:
        output.print_json([_object(card, card.name in here) for card in cards])
        return
    output.print_table(
        ["model", "", "size", "licence", "what it is for"], [_row(c, c.name in here, shelf) for c in cards]
    )
    for name, bytes_ in shelf.unfinished().items():
        output.note(f"unfinished: {name}, {_size(bytes_)} so far; lode models pull {name} goes on, rm drops it")
    for folder in shelf.unreadable():
        output.note(f"unreadable: {folder.name} holds no model with a card; lode models rm {folder.name} drops it")
    output.note(f"\nIn {shelf.folder}. Get one: lode models pull NAME")


@models.command(
    epilog=examples(
        "lode models pull siglip2-base-224",
        "lode models pull siglip2-base-224 --from /media/usb/models",
        "lode models pull dfine-s --from s3://user:password@127.0.0.1:9000/mirror/models",
        "lode models pull my-detector --card my-detector.json --from ~/exports",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_known)
@click.option("--from", "where", metavar="PLACE", help="A folder or S3 prefix with the files, in place of the Hub.")
@click.option("--card", "file", type=click.Path(path_type=Path), help="A card of your own, for an export of your own.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def pull(names: tuple[str, ...], where: str | None, file: Path | None, yes: bool) -> None:
    """Get models and install them.

    The licence and the size are shown first. The files are those that the card pins, by digest; one that was cut short
    goes on where it ended. What is installed is not replaced.
    """
    from lodestream.cli import output
    from lodestream.models.standins import STANDINS, install

    shelf, wanted = _shelf(), _cards(names, file)
    for card in wanted:
        if here := next((here for here in shelf.cards() if here.name == card.name), None):
            output.note(_installed(here, card))
        elif card.name in STANDINS:
            install(card.name, shelf.folder)
            output.show(f"made {card.name}: {', '.join(card.parts.values())}")
        else:
            _pull(card, where, shelf, yes)


@models.command(epilog=examples("lode models verify", "lode models verify siglip2-base-224"))
@click.argument("names", metavar="[NAME...]", nargs=-1, shell_complete=complete_installed)
def verify(names: tuple[str, ...]) -> int:
    """Read installed models again and compare."""
    from lodestream.cli import output

    shelf = _shelf()
    cards = [shelf.card(name) for name in names] if names else shelf.cards()
    damaged = False
    for card in cards:
        wrong = shelf.damage(card)
        output.show(f"{card.name}: {'; '.join(wrong) if wrong else 'as it was installed'}")
        if wrong:
            output.note(f"get it anew: lode models rm {card.name}; lode models pull {card.name}")
        damaged |= bool(wrong)
    if not cards:
        output.note("no model is installed")
    return int(damaged)


@models.command(epilog=examples("lode models rm dfine-s"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_installed)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(names: tuple[str, ...], yes: bool) -> None:
    """Take installed models away."""
    from lodestream.cli import output

    shelf = _shelf()
    for name in names:
        if not yes:
            confirm(f"Take {name} away? Nodes that ask it wait until it is back")
        output.show(f"{name} is gone; {_size(shelf.remove(name))} are free")


def _shelf() -> "Shelf":
    from lodestream.models.shelf import Shelf
    from lodestream.stack import current

    return Shelf(current().models())


def _cards(names: tuple[str, ...], file: Path | None) -> "list[Card]":
    """The cards of these models. Raises LodeError for an unknown one, and where a card of one's own does not fit."""
    from lodestream.errors import LodeError
    from lodestream.models.card import known_card, known_cards, read_card

    if file is None:
        return [known_card(name) for name in names]
    try:
        card = read_card(file.expanduser().read_bytes(), file)
    except OSError as error:
        raise LodeError(f"cannot read {file}: {error.strerror}") from None
    if names != (card.name,):
        raise LodeError(f"{file} is the card of {card.name}; say: lode models pull {card.name} --card {file}")
    if card.name in known_cards():
        raise LodeError(f"{card.name} is a model that Lodestream knows; give yours another name, in {file}")
    return [card]


def _installed(here: "Card", card: "Card") -> str:
    if here.revision != card.revision:
        anew = f"lode models rm {card.name}; lode models pull {card.name}"
        return f"{card.name} is installed at {here.revision[:LETTERS]}; to get {card.revision[:LETTERS]}: {anew}"
    return f"{card.name} is installed already; lode models verify {card.name} checks it"


def _pull(card: "Card", where: str | None, shelf: "Shelf", yes: bool) -> None:
    from lodestream.cli import output
    from lodestream.errors import LodeError
    from lodestream.models.pull import look, pull
    from lodestream.models.sources import open_source

    if not where and not card.repo:
        raise LodeError(f"the card of {card.name} names no repository; --from says where its files are")
    source = open_source(where)
    seen = look(card, source)
    for line in _facts(seen, source, bool(where)):
        output.note(line)
    if not yes:
        confirm(f"Get {card.name} under these terms?")
    pull(seen, source, shelf)
    output.show(f"installed {card.name}: {', '.join(card.parts.values())}")


def _facts(card: "Card", source: "Source", mirrored: bool) -> list[str]:
    """What a person should know before they get it."""
    from lodestream.models.sources import HUB

    files = ", ".join(f"{file.path} {_size(file.bytes)}" for file in card.files)
    at = f"{source.name}/{card.repo} at {card.revision[:LETTERS]}"
    undigested = [file.path for file in card.files if not file.sha256]
    lines = [
        f"{card.name}: {card.summary}",
        f"  from     {source.name if mirrored else at}",
        f"  licence  {card.licence}",
        f"  size     {_size(card.bytes)}: {files}",
    ]
    lines += [f"  gated    its licence has to be accepted at {HUB}/{card.repo}, and HF_TOKEN set"] if card.gated else []
    lines += [f"  note     {card.note}"] if card.note else []
    lines += [f"  note     no digest is known of {', '.join(undigested)}"] if undigested and not card.note else []
    return lines


def _row(card: "Card", here: bool, shelf: "Shelf") -> "list[Cell]":
    from lodestream.cli.output import Mark
    from lodestream.models.shelf import size

    bytes_ = sum(map(size, shelf.folders(card))) if here else card.bytes
    state = Mark("installed", "good") if here else Mark("", "dim")
    return [card.name, state, _size(bytes_), card.licence.partition(" (")[0], card.summary]


def _object(card: "Card", here: bool) -> dict[str, object]:
    facts = (
        "name",
        "role",
        "summary",
        "repo",
        "revision",
        "licence",
        "gated",
        "bytes",
        "parts",
        "height",
        "width",
        "dim",
    )
    return {fact: getattr(card, fact) for fact in facts} | {"installed": here}


def _size(count: int) -> str:
    from lodestream.cli.wording import size

    return size(count) if count else "?"
