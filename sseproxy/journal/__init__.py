"""Who moves events between windows and clients? The half of the journal that runs on an event loop."""
