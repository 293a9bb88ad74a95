"""The admin kit that all apps share, and the admin pages of third-party models."""
