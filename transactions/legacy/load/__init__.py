"""`copy`: the rows of one snapshot into PostgreSQL, in ranges that are committed as a whole."""
