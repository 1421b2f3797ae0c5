"""How much do the windows of Redis streams and channels keep?"""

from typing import Final

from sseproxy.core.journal.window import WindowLimits, WindowPolicy

_KIB: Final = 1024
_MIB: Final = 1024 * 1024

#: Redis streams: marks are ids of entries, and a `History` is behind them.
STREAM = WindowPolicy(
    tail=WindowLimits(events=100, bytes=64 * _KIB),
    most=WindowLimits(events=1000, bytes=_MIB),
    least=WindowLimits(events=1),
)

#: Redis channels: marks are (0, n), dropped once all readers have passed.
CHANNEL = WindowPolicy(
    tail=WindowLimits(events=0), most=WindowLimits(bytes=_MIB), least=WindowLimits(events=0), is_counted=True
)
