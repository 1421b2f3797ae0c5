"""What the proxy does for routes with a journal: which run a request reads, how it is answered, and what stops a run."""
