"""A sidecar reverse proxy that keeps Server-Sent Event streams alive behind impatient gateways."""

__version__ = "0.1.0"
