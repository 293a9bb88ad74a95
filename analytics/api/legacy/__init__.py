"""What exists only for the legacy front end's figures: adapters over the same selectors and services."""
