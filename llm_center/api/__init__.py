"""The LLM Center's API for staff, in the paths and shapes of the legacy system."""
