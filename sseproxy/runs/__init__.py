"""Who keeps the streams of upstreams going without their clients? The half of the journal that drives relays."""
