"""What the proxy does for routes with a journal: which run a request reads, its answer, and what stops a run."""
