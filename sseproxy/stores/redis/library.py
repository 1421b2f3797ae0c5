"""Is the extra installed that Redis needs?"""

from importlib.util import find_spec


class RedisMissing(ImportError):
    """`sseproxy[redis]` is not installed. The text tells what to do."""


def require_redis() -> None:
    """Raise `RedisMissing` if redis-py or hiredis is not installed."""
    if find_spec("redis") is None or find_spec("hiredis") is None:
        raise RedisMissing("`sseproxy[redis]` is not installed: pip install 'sseproxy[redis]'")
