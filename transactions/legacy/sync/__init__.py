"""Changes after the copy: from the legacy file to Kamioi before the cut-over, and back after it."""
