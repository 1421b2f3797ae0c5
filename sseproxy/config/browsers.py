"""Which keys make up for what a browser's `EventSource` cannot do? (docs/eventsource.md)

Each option is off where it is not named; a section with nothing in it, `{}`, switches it on with its defaults.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from sseproxy.config.fields import (
    VARIABLE,
    AnyText,
    Binding,
    BodySize,
    Boolean,
    CookieName,
    EndsAtWord,
    EventName,
    Exposed,
    FieldName,
    LimitedDuration,
    MarkerValue,
    Origins,
    ReopenWord,
    Secret,
    Template,
    TicketPath,
)
from sseproxy.config.sections import Section
from sseproxy.config.values import BadValue, describe
from sseproxy.core.eventsource.policies import CookieAuth, TicketPolicy
from sseproxy.core.stream.end_message import EndsAt

_TICKETS, _AUTH = TicketPolicy(), CookieAuth("")


def section_or_off(value: object) -> object:
    """``None`` for ``off``. What stands in a section is the section's own business."""
    if value is not None and value != "off" and not isinstance(value, Mapping | Section):
        raise BadValue(f"expected a mapping or off, got {describe(value)}")
    return None if value == "off" else value


def may_be_off(schema: dict[str, Any]) -> None:
    """Let editors accept ``off`` in place of a section."""
    schema["anyOf"] += [{"const": "off"}, VARIABLE]


or_off = BeforeValidator(section_or_off)


def switchable(description: str) -> Any:
    """A section that is off when it is left out, and that ``off`` switches off where it would be inherited."""
    return Field(default=None, description=description, json_schema_extra=may_be_off)


class TicketsSection(Section):
    """Requests that are kept until a GET asks for them."""

    path: TicketPath = Field(
        default=_TICKETS.path, description="A request to this path and the real target behind it is kept."
    )
    ttl: LimitedDuration = Field(default=_TICKETS.ttl, description="A ticket that is not opened is gone after this.")
    max_body: BodySize = Field(
        default=_TICKETS.max_body, description="Bytes of a request body, at most 32MiB; more is refused: 413."
    )
    bind: Binding = Field(
        default=(_TICKETS.bind, _TICKETS.bind_cookie),
        description="Who may open a ticket: none (anyone with its URL), cookie:NAME (who has that cookie), address.",
    )
    reopen: ReopenWord = Field(
        default=_TICKETS.reopen,
        description="A further GET of a ticket: never (204, which ends an EventSource), or always (sent again).",
    )


class AuthSection(Section):
    """A login cookie that becomes a request header."""

    cookie: CookieName | None = Field(default=None, description="The name of the cookie; required.")
    header: FieldName = Field(
        default=_AUTH.header, description="The header to set. A request that already has it keeps it."
    )
    format: Template = Field(
        default=_AUTH.format, description="The value of the header, with {value} in place of the cookie's."
    )
    strip_cookie: Boolean = Field(default=_AUTH.strip_cookie, description="The cookie itself does not go on.")


class EndEventSection(Section):
    """The event that tells a page of the end."""

    name: EventName = Field(default="end", description="Its type, for addEventListener().")
    data: AnyText = Field(default="", description="Its data; may have several lines.")


class EndSection(Section):
    """What is said to an `EventSource` at a clean end of the upstream."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_left_out(cls, value: object) -> object:
        return without_nothing(value, ("event",))

    event: Annotated[EndEventSection | None, or_off] = switchable(
        "An event that tells the page of the end; left out or off: none."
    )
    stop_reconnect: Boolean = Field(
        default=True, description="The automatic reconnect after a clean end is answered 204, and the browser stops."
    )
    marker: MarkerValue | None = Field(
        default=None,
        description="The event that ends each stream of the service: its data, {data: TEXT} or {event: NAME}. "
        "Behind it every end is a clean one.",
    )
    only: EndsAtWord = Field(
        default=EndsAt.END,
        description="Which clean ends are meant: end (each), or marker (behind the marker; after any other the "
        "browser comes back).",
    )
    secret: Secret | None = Field(
        default=None, description="For replicas that answer each other's reconnects; left out: made up at the start."
    )


class CORSSection(Section):
    """Which pages of other origins may read the responses."""

    origins: Origins = Field(
        default=(), description="Origins such as https://app.example, or * for all of them; required."
    )
    credentials: Boolean = Field(default=False, description="With cookies.")
    expose: Exposed = Field(
        default=(), description="Response fields that pages may read, such as Mcp-Session-Id; * for all of them."
    )


# Off, left out and inherited are three things. ``end:`` with nothing behind it says nothing, so the route inherits;
# ``end: off`` switches off what it would inherit; ``end: {}`` switches it on, with its defaults. Pydantic sees None for
# the first two. So a key with nothing behind it is removed before it sees the mapping, and ``off`` becomes None.


def without_nothing(value: object, names: tuple[str, ...]) -> object:
    """A mapping without those of `names` that have nothing behind them: to be inherited, not switched off."""
    if not isinstance(value, Mapping):
        return value
    return {key: inner for key, inner in value.items() if inner is not None or key not in names}
