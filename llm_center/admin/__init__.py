"""Admin pages of this app, by subject."""

from llm_center.admin import assets, catalogue, imports, learning, mappings, review

__all__ = ["assets", "catalogue", "imports", "learning", "mappings", "review"]
