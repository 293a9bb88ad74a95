"""Resumable imports of uploaded files: bank statements and mapping files."""
