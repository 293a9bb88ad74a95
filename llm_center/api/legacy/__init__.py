"""What exists only for the legacy front end's LLM Center: adapters over the same selectors and services."""
