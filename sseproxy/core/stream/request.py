"""What does one request ask for, and how is its stream treated? Decided once, for the proxy and both middlewares alike.

Whether it declares a stream, which service talks (dialect), whether the stream is an answer or a feed, whether its
client comes back by itself, and which heartbeats the client takes. See docs/requests.md.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from sseproxy.core.http.accept import NOTHING, Accepted, accepted, names_stream
from sseproxy.core.http.peek import BodyPeek, NoValue, Value
from sseproxy.core.stream.clients import KnownClient, drops_ids_without_data, find_client
from sseproxy.core.stream.dialects import OLLAMA_STREAMS, PATH_ENDINGS, Dialect
from sseproxy.core.stream.end_message import EndsAt
from sseproxy.core.stream.heartbeat import HeartbeatForm, WhiteSpace
from sseproxy.core.stream.json_answer import may_be_promised
from sseproxy.core.stream.kinds import EVENT_STREAM, NDJSON, MediaKind, names_records
from sseproxy.core.stream.plan import StreamKind, StreamMode, StreamPlan, StreamPolicy

_UNSAID: Sequence[bytes] = ()


class _Mcp(Enum):
    NO = "no"
    BODY = "the body says so"  # or it is something else that takes JSON and event streams
    YES = "yes"


#: Members of a JSON body that the rules below look at.
_STREAM, _RPC, _RPC_METHOD, _RPC_ID = "stream", "jsonrpc", "method", "id"
_RPC_MEMBERS = (_RPC, _RPC_METHOD, _RPC_ID)
#: MCP's Streamable HTTP transport; each of its requests but the first of a session carries one.
MCP_FIELDS = frozenset((b"mcp-session-id", b"mcp-protocol-version", b"mcp-method"))

_FALSE = frozenset(("false", "0", "no", "off"))


def members_of(policy: StreamPolicy) -> tuple[str, ...]:
    """Return all members of a JSON body that may say what a request under `policy` asks for."""
    member = policy.declaration.member
    return tuple(dict.fromkeys((*_RPC_MEMBERS, _STREAM, *(() if member is None else (member,)))))


class StreamRequest:
    """One request, as far as it decides how its stream is treated.

    policy: of its route. fields: its header fields by lower-case name. client_fields: those of the request that the
    response answers, where that is another one: the GET of a ticket. path, query: of its target, the query without its
    question mark. has_body: a body follows, which may be JSON. looks_into_body: what it declares matters on any route.

    peek: what the body says. Set it to a `BodyPeek` for the members in `wanted_members`, and feed that; left out, the
    body says nothing.
    """

    __slots__ = (
        "_accepted",
        "_client_fields",
        "_dialect",
        "_fields",
        "_has_body",
        "_is_ticket",
        "_looks_into_body",
        "_mcp",
        "_method",
        "_path",
        "_policy",
        "_query",
        "peek",
    )

    def __init__(
        self,
        policy: StreamPolicy,
        *,
        method: str,
        path: str,
        query: str,
        fields: Mapping[bytes, Sequence[bytes]],
        client_fields: Mapping[bytes, Sequence[bytes]] | None = None,
        has_body: bool = False,
        looks_into_body: bool = False,
    ) -> None:
        self._looks_into_body = looks_into_body
        self._policy = policy
        self._method = method
        self._path = path
        self._query = query
        self._fields = fields
        self._client_fields = fields if client_fields is None else client_fields
        self._is_ticket = client_fields is not None
        self._has_body = has_body
        self.peek: BodyPeek | None = None
        accept = fields.get(b"accept", _UNSAID)
        self._accepted = accepted(accept) if any(map(names_stream, accept)) else NOTHING
        self._mcp = self._find_mcp()
        is_open = policy.dialect in (Dialect.AUTO, Dialect.OLLAMA)  # which gives way on the paths of other APIs
        self._dialect = self._dialect_of_head() if is_open else policy.dialect

    # What the request asks for.

    @property
    def accepts_stream(self) -> bool:
        """True if the client can read an event stream, and says so."""
        return self._accepted.named or (self._is_ticket and self._client_accepted.named)

    @property
    def dialect(self) -> Dialect:
        """The service's dialect, as far as it is known by now."""
        if self._dialect is Dialect.GENERIC and self._policy.dialect is Dialect.AUTO and self._is_rpc:
            return Dialect.MCP
        return self._dialect

    @property
    def is_event_source(self) -> bool:
        """True if the client is an `EventSource`, or like one: it reconnects, and takes nothing but event streams."""
        return (self._method == "GET" or self._is_ticket) and self._client_accepted.alone

    @property
    def accepts_only_streams(self) -> bool:
        """True if the client names event streams in ``Accept``, and nothing else."""
        return self._client_accepted.alone

    @property
    def may_come_back(self) -> bool:
        """True if the client may be one that reconnects by itself, and learns of the end by an id of its own."""
        return self.is_event_source or self.reconnects

    @property
    def asks_again(self) -> bool:
        """True if the client would ask for the same again behind each end, and is to be stopped where that is in vain.

        A route with `end` gives answers, but a browser comes back for them all the same.
        """
        return self.reconnects and (self._policy.end is not None or not self._is_answer(self.dialect))

    @property
    def drops_ids_without_data(self) -> bool:
        """True if the client may forget an id that comes without data, against WHATWG HTML section 9.2.6."""
        return not MCP_FIELDS.isdisjoint(self._client_fields) or drops_ids_without_data(self._client_fields)

    @property
    def wanted_members(self) -> tuple[str, ...]:
        """The members of the body that have to be known: for its declaration, or for an error with the request's id."""
        if not self._has_body or self._policy.stream is StreamMode.NEVER:
            return ()
        matters = self._policy.heartbeat.may_be_early or self._policy.limits.counts_streams
        if (self._looks_into_body or matters) and self._head_declares is None:
            return members_of(self._policy)
        return () if self._mcp is _Mcp.NO else _RPC_MEMBERS

    @property
    def reconnects(self) -> bool:
        """True if the client is a browser's `EventSource` or an MCP client's GET, which come back by themselves."""
        if self._method != "GET" or self._is_ticket:
            return False
        return not MCP_FIELDS.isdisjoint(self._fields) or self.is_browser

    @property
    def is_browser(self) -> bool:
        """True if the response is read by a browser's `EventSource`, of a ticket too: its GET passes all caches by."""
        if not self.is_event_source:
            return False
        said = b",".join(self._client_fields.get(b"cache-control", _UNSAID)).lower()
        return b"no-cache" in (word.strip() for word in said.split(b","))

    @property
    def declares(self) -> bool | None:
        """True if the request declares an event stream; ``None`` as long as only the rest of its body can tell."""
        by_head = self._head_declares
        if by_head is not None or self.peek is None:
            return bool(by_head)
        if not self.peek.is_known:
            return None
        if self._dialect is Dialect.OLLAMA:
            return self.may_declare_records and self.peek.value(_STREAM) is not False
        if self._mcp is _Mcp.YES or self._is_rpc:
            return self._is_rpc_call
        return (self._plainly_declares or self._body_declares(self.peek)) and not self._names_records

    @property
    def may_declare_records(self) -> bool:
        """True if the request asks for NDJSON, unless its body says that it does not."""
        takes_records = self._policy.heartbeat.ndjson is not WhiteSpace.OFF and not self._accepted.named
        return takes_records and self._has_body and self._is_for_records

    @property
    def early_after(self) -> float | None:
        """Seconds behind the request after which its client is answered before the upstream; ``None``: it waits."""
        heartbeat = self._policy.heartbeat
        if self.declares:
            return heartbeat.before_response
        # Hazard: a request of MCP that declares nothing begins a session, which is named in the head of the answer.
        may_stream = self._policy.stream is StreamMode.ALWAYS or self._names_records
        if self._is_for_records:
            may_stream = self.peek is None or self.peek.value(_STREAM) is not False
        is_rpc = self._mcp is _Mcp.YES or self._is_rpc
        is_open = self.declares is None or self._policy.stream is StreamMode.NEVER
        if heartbeat.json is None or may_stream or is_rpc or is_open or self._is_ticket:
            return None
        return heartbeat.json if may_be_promised(self._method, self._fields) else None

    @property
    def promised_kind(self) -> MediaKind:
        """The kind of stream that the client is promised, if it is answered before the upstream has answered."""
        return NDJSON if self.may_declare_records else EVENT_STREAM

    def plan(self, kind: MediaKind = EVENT_STREAM) -> StreamPlan:
        """Decide how a stream of `kind` is treated. The request body has passed, or is late."""
        policy, dialect = self._policy, self.dialect
        client = find_client(self._client_fields)
        form, event = self._form(dialect, client)
        is_answer = self._is_answer(dialect)
        value: Value = None if self.peek is None else self.peek.value(_RPC_ID)
        request_id = value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        plan = StreamPlan(
            heartbeat=policy.heartbeat,
            timeouts=policy.timeouts,
            limits=policy.limits,
            dialect=dialect,
            form=form,
            event=event,
            is_answer=is_answer,
            comes_back=not is_answer and self.reconnects,
            takes_retry=client is None or client.takes_retry,
            request_id=request_id if dialect is Dialect.MCP else None,
            marker=None if policy.end is None else policy.end.marker,
            only_marker=policy.end is not None and policy.end.only is EndsAt.MARKER,
            # A body that was not read may have asked for a stream: only one that was read counts as undeclared.
            is_declared=self.declares is not False or (self.peek is None and self._head_declares is None),
        )
        return kind.adapted(plan)

    # Private: declaration.

    @property
    def _head_declares(self) -> bool | None:
        """The same, as far as the head can tell."""
        if self._policy.stream is StreamMode.NEVER or self._method == "HEAD":
            return False
        if self._dialect is Dialect.OLLAMA:
            return None if self._has_body and self._is_for_records else False
        if self._mcp is _Mcp.YES:
            return self._rpc_declares
        may_be_rpc = self._mcp is _Mcp.BODY and self._has_body
        if not may_be_rpc and self._plainly_declares:
            return not self._names_records
        return None if self._has_body else False

    @property
    def _is_for_records(self) -> bool:
        """True if Ollama answers with NDJSON, unless the body says that it is not to."""
        is_post, path = self._dialect is Dialect.OLLAMA and self._method == "POST", self._path.removesuffix("/")
        return is_post and (self._policy.stream is StreamMode.ALWAYS or path.endswith(OLLAMA_STREAMS))

    @property
    def _names_records(self) -> bool:
        """True if the client asks for NDJSON. Only that of Ollama is promised: of others no last record is known."""
        return names_records(self._client_fields.get(b"accept", _UNSAID))

    @property
    def _plainly_declares(self) -> bool:
        """True if the route, ``Accept`` or the target says so."""
        policy = self._policy
        if policy.stream is StreamMode.ALWAYS or self._accepted.preferred:
            return True
        if self._is_ticket and self._client_accepted.preferred:
            return True
        if self._dialect is Dialect.GEMINI and "alt=sse" in self._query.split("&"):
            return True
        wanted = policy.declaration.query
        if wanted is None:
            return False
        parameters = (pair.partition("=") for pair in self._query.split("&"))
        return any(name == wanted and value.lower() not in _FALSE for name, _, value in parameters)

    @property
    def _rpc_declares(self) -> bool | None:
        if not self._accepted.named or self._method not in ("GET", "POST"):
            return False
        if self._method == "GET":
            return True
        said = self._fields.get(b"mcp-method")
        if said is not None and said[0].strip().lower() == b"initialize":
            return False
        return None if self._has_body else False

    def _body_declares(self, peek: BodyPeek) -> bool:
        if peek.value(_STREAM) is True:
            return True
        rule = self._policy.declaration
        if rule.member is None:
            return False
        value = peek.value(rule.member)
        return type(value) is type(rule.equals) and value == rule.equals

    # Private: MCP (Streamable HTTP, JSON-RPC 2.0).

    def _find_mcp(self) -> _Mcp:
        if self._policy.dialect is Dialect.MCP or not MCP_FIELDS.isdisjoint(self._fields):
            return _Mcp.YES
        is_both = self._accepted.named and self._accepted.json
        return _Mcp.BODY if is_both and self._method == "POST" else _Mcp.NO

    @property
    def _is_rpc(self) -> bool:
        return self._mcp is not _Mcp.NO and self.peek is not None and self.peek.value(_RPC) == "2.0"

    @property
    def _is_rpc_call(self) -> bool:
        """True for a JSON-RPC request whose response may take long: no notification, and not ``initialize``."""
        assert self.peek is not None
        method = self.peek.value(_RPC_METHOD)
        return isinstance(method, str) and method != "initialize" and self.peek.value(_RPC_ID) is not NoValue.ABSENT

    # Private: dialect, kind, client.

    def _dialect_of_head(self) -> Dialect:
        """Guess the service by the request, as far as its head can tell. The paths are those of POST requests."""
        fields = self._fields
        if self._method == "POST":
            path = self._path.removesuffix("/")
            for ending, dialect in PATH_ENDINGS:
                if path.endswith(ending):
                    return dialect
            if path.endswith("/messages") and b"anthropic-version" in fields:
                return Dialect.ANTHROPIC
        is_named = self._policy.dialect is Dialect.OLLAMA
        if self._mcp is _Mcp.YES and not is_named:
            return Dialect.MCP
        if is_named or fields.get(b"user-agent", (b"",))[0][:6].lower() == b"ollama":
            return Dialect.OLLAMA
        if b"anthropic-version" in fields:
            return Dialect.ANTHROPIC
        if b"x-goog-api-client" in fields or b"x-goog-api-key" in fields:
            return Dialect.GEMINI
        return Dialect.GENERIC

    def _is_answer(self, dialect: Dialect) -> bool:
        if self._policy.kind is not StreamKind.AUTO:
            return self._policy.kind is StreamKind.ANSWER
        is_get = self._method in ("GET", "HEAD") and not self._is_ticket
        return not is_get or dialect.is_of_answers or self._policy.end is not None

    @property
    def _client_accepted(self) -> Accepted:
        return accepted(self._client_fields.get(b"accept", _UNSAID)) if self._is_ticket else self._accepted

    def _form(self, dialect: Dialect, client: KnownClient | None) -> tuple[HeartbeatForm, tuple[str, str] | None]:
        """Find the heartbeat form: named, MCP, the client's, the named dialect's, else by what the stream carries."""
        named = self._policy.heartbeat.form
        if named is not HeartbeatForm.AUTO and dialect.understands(named):
            return named, None
        is_unknown = self.peek is None or not self.peek.is_known
        if self._mcp is _Mcp.YES or (self._mcp is _Mcp.BODY and (is_unknown or self._is_rpc)):
            return HeartbeatForm.COMMENT_LINE, None
        if client is not None and dialect in (Dialect.GENERIC, client.service or dialect):
            return client.form, client.event
        if self._policy.dialect is Dialect.AUTO and dialect is not Dialect.GEMINI:
            return HeartbeatForm.AUTO, None
        return dialect.form, None
