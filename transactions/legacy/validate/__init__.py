"""`validate`: both databases compared cell by cell, with code that shares nothing with the conversion."""
