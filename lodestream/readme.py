"""Keeps the README's table of node types what their declarations say: `python -m lodestream.readme` writes it."""

from pathlib import Path

from lodestream.palette import markdown

FILE = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- node types: written by `just generate` -->\n", "<!-- end of node types -->\n"


def with_table(text: str) -> str:
    """The README's text with the table as it must be. Raises ValueError where the marks for it are gone."""
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"no place for the table of node types: {BEGIN.strip()} ... {END.strip()}")
    return before + BEGIN + "\n" + markdown() + "\n" + END + after


if __name__ == "__main__":
    FILE.write_text(with_table(FILE.read_text()))
