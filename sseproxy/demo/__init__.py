"""Where is the gateway timeout shown, and its cure, on one machine and in one command?"""

from sseproxy.demo.command import run
from sseproxy.demo.gateway import GatewayChoice

__all__ = ["GatewayChoice", "run"]
