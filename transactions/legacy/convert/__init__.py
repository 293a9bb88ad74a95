"""The rules for legacy values, and the converters that apply them: row by row, or column by column with Arrow."""
