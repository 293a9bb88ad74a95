"""The API for staff where it needs figures of the rollups."""
