"""Models: what they are (cards), which of them are here (the shelf), and how they get here."""
