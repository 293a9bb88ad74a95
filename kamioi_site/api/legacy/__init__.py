"""What exists only for the legacy front end: replies that need no app. The apps have packages of the same name."""
