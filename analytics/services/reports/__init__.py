"""Reports: requested, generated in the background, stored as private files, announced by e-mail."""
