"""Which Redis does a URL name, and is the URL well formed?"""

from dataclasses import field
from enum import Enum
from urllib.parse import parse_qsl, unquote

from sseproxy.core.frozen import frozen

#: A host and a port.
Address = tuple[str, int]

REDIS_PORT = 6379
SENTINEL_PORT = 26379

#: What may stand in the query. The names are redis-py's, but for `ssl` and `sentinel_…`.
_TLS_OPTIONS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
        "ssl_password",
    }
)
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})

#: What redis-py takes for no.
_NO = frozenset({"0", "f", "false", "n", "no"})


class Kind(Enum):
    """What answers at the address."""

    SERVER = "redis"
    TLS_SERVER = "rediss"
    UNIX = "redis+unix"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


#: Options by kind, besides those of TLS.
_OPTIONS: dict[Kind, frozenset[str]] = {
    Kind.SERVER: frozenset({"db"}),
    Kind.TLS_SERVER: frozenset({"db"}) | _TLS_OPTIONS,
    Kind.UNIX: frozenset({"db"}),
    Kind.SENTINEL: frozenset({"db", "ssl"}) | _TLS_OPTIONS | _SENTINEL_OPTIONS,
    Kind.CLUSTER: frozenset({"ssl"}) | _TLS_OPTIONS,
}


@frozen
class RedisURL:
    """One Redis, as a URL names it. Neither `repr` nor `str` shows user, password or options.

    hosts: where it is, or where its Sentinels or some nodes of the cluster are; empty for a unix socket. path: of the
    socket. service: the name of the master that Sentinels watch.
    """

    kind: Kind
    hosts: tuple[Address, ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    is_tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, text: str) -> "RedisURL":
        """Read one of the five forms.

            redis://[USER[:PASSWORD]@]HOST[:6379][/DB]
            rediss://… the same over TLS, with ssl_ca_certs=FILE and the like in the query
            redis+unix://[USER[:PASSWORD]@]/PATH[?db=DB]
            redis+sentinel://[USER[:PASSWORD]@]HOST[:26379],…/NAME[/DB]
            redis+cluster://[USER[:PASSWORD]@]HOST[:6379],…

        Raises `ValueError`, in words that never repeat the URL.
        """
        scheme, separator, rest = text.partition("://")
        try:
            kind = Kind(scheme.lower())
        except ValueError:
            kind = None
        if kind is None or not separator:
            # Not chained: the other error repeats what may be a secret.
            raise ValueError(f"it must begin with one of {', '.join(each.value + '://' for each in Kind)}") from None
        if not text.isascii() or any(sign <= " " or sign == "\x7f" for sign in text):
            raise ValueError("spaces, control characters and anything but ASCII must be percent-encoded")
        if "#" in rest:
            raise ValueError("it must have no #fragment; a # in a password must be written %23")
        before, _, query = rest.partition("?")
        authority, slash, path = before.partition("/")
        credentials, _, hosts = authority.rpartition("@")
        username, password = _credentials(credentials)
        options = _options(kind, query)
        service, database = _path(kind, slash + path, options)
        return cls(
            kind,
            hosts=_hosts(kind, hosts),
            path=unquote(slash + path) if kind is Kind.UNIX else "",
            service=service,
            database=database,
            is_tls=kind is Kind.TLS_SERVER or _is_yes(options.pop("ssl", "no")),
            username=username,
            password=password,
            options=tuple(sorted(options.items())),
        )

    @property
    def place(self) -> str:
        """The URL without what is secret: for logs."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        service = f"/{self.service}" if self.service else ""
        database = f"/{self.database}" if self.database and not self.path else ""
        return f"{self.kind.value}://{hosts}{self.path}{service}{database}"

    def __str__(self) -> str:
        return self.place


def _credentials(text: str) -> tuple[str | None, str | None]:
    if "@" in text:
        raise ValueError("an @ in the user or the password must be written %40")
    username, _, password = text.partition(":")
    return unquote(username) or None, unquote(password) or None


def _hosts(kind: Kind, text: str) -> tuple[Address, ...]:
    if kind is Kind.UNIX:
        if text:
            raise ValueError("the path of a unix socket is absolute: redis+unix:///run/redis.sock")
        return ()
    several = text.split(",")
    if len(several) > 1 and kind not in (Kind.SENTINEL, Kind.CLUSTER):
        raise ValueError("only redis+sentinel:// and redis+cluster:// take several hosts")
    default = SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT
    return tuple(_host(each, default) for each in several)


def _host(text: str, default: int) -> Address:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, colon, port = text, "", ""
    is_literal = host.startswith("[") and host.endswith("]")
    if is_literal:
        host = host[1:-1]
    if not host or set(host) & set("[]%\\") or (":" in host and not is_literal):
        raise ValueError("a host is a name, an IPv4 address, or an IPv6 address in brackets")
    if colon and not (port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError("a port is a number from 1 to 65535; a : or / in a password must be percent-encoded")
    return host, int(port) if colon else default


def _options(kind: Kind, query: str) -> dict[str, str]:
    allowed = _OPTIONS[kind]
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError("an option stands twice in the query")
    if not allowed.issuperset(options) or not all(options.values()):
        raise ValueError(f"the options of {kind.value}:// are {', '.join(sorted(allowed))}, each with a value")
    if options.get("ssl_cert_reqs", "required") not in ("none", "optional", "required"):
        raise ValueError("ssl_cert_reqs is one of none, optional, required")
    if "ssl" in allowed and not _is_yes(options.get("ssl", "no")) and _TLS_OPTIONS & set(options):
        raise ValueError("options of TLS need ssl=true")
    return options


def _path(kind: Kind, path: str, options: dict[str, str]) -> tuple[str, int]:
    """Service and database."""
    if kind is Kind.UNIX:
        if path in ("", "/"):
            raise ValueError("the path of the unix socket is missing: redis+unix:///run/redis.sock")
        return "", _database(options.pop("db", "0"))
    parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
    service = parts.pop(0) if kind is Kind.SENTINEL and parts else ""
    if kind is Kind.SENTINEL and not service:
        raise ValueError("the name of the master is missing: redis+sentinel://HOST/NAME")
    if parts and "db" in options:
        raise ValueError("the number of the database stands twice")
    if len(parts) > 1:
        raise ValueError("the path is the number of a database")
    database = _database(parts[0] if parts else options.pop("db", "0"))
    if database and kind is Kind.CLUSTER:
        raise ValueError("a cluster has no databases but 0")
    return service, database


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise ValueError("a database is a number; a / in a password must be written %2F")
    return int(text)


def _is_yes(text: str) -> bool:
    return text.lower() not in _NO
