"""The dashboard: one page of the admin listener, and the event stream that keeps it up to date."""
