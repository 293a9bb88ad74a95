"""The API of figures and reports: for staff what needs the rollups, for customers their statements."""
