// The Content Security Policy refuses styles that a script writes into the page; nothing here shows htmx's indicators.
htmx.config.includeIndicatorStyles = false;
