"""Contact sheets: frames read by range, with words under them, as one picture or one page."""
