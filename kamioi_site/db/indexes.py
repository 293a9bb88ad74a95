"""Index names as long as PostgreSQL allows; Django stops at 30 characters for the sake of other databases."""

from django.db import models


class NamedIndex(models.Index):
    """`models.Index` whose name may have PostgreSQL's 63 characters."""

    max_name_length = 63
