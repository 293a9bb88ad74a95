"""The SQL of hot paths and of statements longer than a few lines; the first lines of a file describe it."""

from kamioi_site.db.sql_files import sql_loader

load_sql = sql_loader(__file__)
