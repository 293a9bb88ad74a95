"""A customer's statements over the API."""
