"""What exists only for the legacy front end: adapters over the same selectors and services, without logic."""
