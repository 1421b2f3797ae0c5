"""What does a server in front of the proxy make impossible, and which tests of the proxy does it leave out?

Each row is a limit of that server, and never a defect here. `docs/library.md` shows the same table, and a test holds it
to this one. With ``DOOR_LIMITS=strict`` what is left out runs all the same, and has to fail.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

UVICORN: Final = "uvicorn"
AIOHTTP: Final = "aiohttp"


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that is impossible. uvicorn, aiohttp: what happens behind it instead; nothing if all is well.

    tests: what is left out, by the server: a file, ``file::test``, or ``file::test[part of its parameters]``,
    whose end is ``$``.
    """

    what: str
    tests: Mapping[str, Sequence[str]]
    uvicorn: str = ""
    aiohttp: str = ""


LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "names of header fields",
        uvicorn="in lower case, both ways",
        tests={
            UVICORN: (
                "test_authorize.py::test_what_the_service_is_asked",
                "test_cors.py::test_a_failing_upstream_is_readable",
                "test_cors.py::test_a_preflight_belongs_to_the_route_of_what_it_asks_for",
                "test_cors.py::test_a_preflight_is_answered_here",
                "test_cors.py::test_a_stream_that_was_promised_early",
                "test_cors.py::test_an_opened_ticket_says_what_its_own_route_says",
                "test_cors.py::test_answers_of_ours_are_readable",
                "test_cors.py::test_event_streams_are_readable",
                "test_cors.py::test_the_answer_to_a_reconnect_is_readable",
                "test_cors.py::test_the_head_of_a_route_comes_last",
                "test_cors.py::test_the_word_of_the_upstream_is_replaced",
                "test_cors.py::test_tickets_across_origins",
                "test_cors.py::test_whichever_route_a_ticket_is_of_its_page_can_end_it",
                "test_cors.py::test_without_the_option_it_is_the_upstreams_business",
                "test_event_streams.py::test_a_part_of_a_stream_is_none_of_ours",
                "test_event_streams.py::test_a_route_that_never_streams",
                "test_event_streams.py::test_codings_that_cannot_be_undone",
                "test_event_streams.py::test_of_several_content_types_the_last_counts",
                "test_event_streams.py::test_other_coded_bodies_stay_coded",
                "test_event_streams.py::test_other_content_types_are_none_of_ours",
                "test_event_streams.py::test_what_is_added_and_removed",
                "test_ndjson.py::test_what_is_none_of_ours_is_untouched",
                "test_request_ids.py::test_the_trace_of_a_client_goes_on_as_it_came",
                "test_requests.py::test_a_gateway_is_warned_of_by_whichever_field_it_sends[Forwarded]",
                "test_requests.py::test_a_gateway_is_warned_of_by_whichever_field_it_sends[X-Real-IP]",
                "test_requests.py::test_a_gateway_is_warned_of_by_whichever_field_it_sends[X-Forwarded-Prefix]",
                "test_requests.py::test_a_peer_that_should_be_trusted_is_warned_of_once",
                "test_requests.py::test_fields_go_on_as_they_are",
                "test_requests.py::test_fields_that_connection_names_stay_here",
                "test_requests.py::test_header_rules_come_last",
                "test_requests.py::test_hop_by_hop_fields_stay_here",
                "test_requests.py::test_whatever_else_an_untrusted_peer_says_in_the_name_of_a_proxy_is_removed",
                "test_responses.py::test_204_has_neither_body_nor_length",
                "test_responses.py::test_304_keeps_its_length",
                "test_responses.py::test_a_body_that_ends_with_the_connection",
                "test_responses.py::test_a_chunked_body_with_extensions_and_trailers",
                "test_responses.py::test_a_response_passes_as_it_is",
                "test_responses.py::test_a_second_response_in_the_packet_of_the_first_is_nobodys",
                "test_responses.py::test_an_answer_to_head_keeps_its_length",
                "test_responses.py::test_an_upgrade_that_is_only_advertised_is_none",
                "test_responses.py::test_an_upstream_that_keeps_http_10_alive",
                "test_responses.py::test_an_upstream_that_speaks_http_10",
                "test_responses.py::test_header_rules",
                "test_responses.py::test_hop_by_hop_fields_stay_here",
                "test_responses.py::test_interim_responses_are_dropped",
                "test_responses.py::test_interim_responses_in_packets_of_their_own",
                "test_responses.py::test_nothing_but_a_date_is_added_to_an_empty_head",
                "test_responses.py::test_pieces_go_on_as_they_come",
                "test_responses.py::test_what_is_read_leniently_is_written_anew",
                "test_ticket_abuse.py::test_whatever_is_wrong_with_a_ticket_looks_the_same",
                "test_tickets.py::test_the_bytes_of_fields_and_body",
            )
        },
    ),
    Limit(
        "reason phrases",
        uvicorn="those of the standard",
        tests={
            UVICORN: (
                "journal/test_joining.py::test_only_the_first_client_gets_cookies_and_the_date",
                "journal/test_joining.py::test_what_is_no_stream_goes_to_all_who_wait_as_far_as_it_is_kept",
                "journal/test_joining.py::test_what_is_no_stream_goes_to_its_one_client_whole_and_is_not_kept[500 Oh]",
                "test_authorize.py::test_a_no_is_passed_on",
                "test_event_streams.py::test_an_event_stream_with_any_status[203 Other]",
                "test_event_streams.py::test_an_event_stream_with_any_status[429 Too Many]",
                "test_event_streams.py::test_an_event_stream_with_any_status[500 Oops]",
                "test_responses.py::test_a_reason_may_be_missing",
                "test_responses.py::test_any_status_is_passed_on",
                "test_responses.py::test_redirects_are_passed_on[307 Temporary]",
                "test_responses.py::test_redirects_are_passed_on[308 Permanent]",
            )
        },
    ),
    Limit(
        "`Date`",
        uvicorn="the server writes it, in place of the service; none with `--no-date-header`",
        tests={
            UVICORN: (
                "test_responses.py::test_a_response_without_a_date_gets_one",
                "test_upstream_failures.py::test_an_error_has_a_date",
            )
        },
    ),
    Limit(
        "WebSocket",
        uvicorn="answered by uvicorn: 403, or 400 if the handshake is not its own",
        tests={
            UVICORN: (
                "test_auth.py::test_a_foreign_page_has_nothing_done_in_its_visitors_name[fields10]",
                "test_auth.py::test_a_web_socket_is_logged_in_too",
                "test_auth.py::test_others_are_logged_in[fields6]",
                "test_authorize_doors.py::test_a_client_that_leaves_ends_the_question[Upgrade]",
                "test_authorize_doors.py::test_a_tunnel_is_opened_for_those_who_may",
                "test_authorize_doors.py::test_no_tunnel_is_opened_for_others",
                "test_circles.py::test_nothing_is_left_of_requests_that_ended_in_any_way[tunnel]",
                "test_idle.py::test_only_an_answer_has_a_limit",
                "test_outages.py::test_a_websocket_waits_too",
                "test_tickets.py::test_a_request_to_switch_protocols_is_kept_as_an_ordinary_one",
                "journal/test_losses.py::test_a_preflight_and_a_handshake_read_no_run",
                "journal/test_unusual_requests.py::test_a_websocket_of_the_route_is_tunnelled",
                "test_tunnels.py::test_a_101_that_does_not_say_upgrade_is_a_502",
                "test_tunnels.py::test_a_client_that_does_not_read_slows_the_upstream_down",
                "test_tunnels.py::test_a_refused_websocket_leaves_an_ordinary_connection",
                "test_tunnels.py::test_a_silent_tunnel_is_closed",
                "test_tunnels.py::test_a_tunnel_goes_on_until_the_end_of_a_drain",
                "test_tunnels.py::test_a_tunnel_that_opens_during_a_drain_ends_with_it",
                "test_tunnels.py::test_all_that_a_client_has_sent_arrives_although_it_has_left",
                "test_tunnels.py::test_an_upstream_that_does_not_read_slows_the_client_down",
                "test_tunnels.py::test_bytes_flow_both_ways",
                "test_tunnels.py::test_bytes_that_come_with_the_heads_are_kept",
                "test_tunnels.py::test_header_rules_hold_for_a_101",
                "test_tunnels.py::test_requests_behind_a_refused_upgrade_are_served",
                "test_tunnels.py::test_the_client_closes",
                "test_tunnels.py::test_the_upstream_closes",
                "test_tunnels.py::test_websocket_with_a_real_client_and_server",
            )
        },
    ),
    Limit(
        "another `Upgrade`",
        uvicorn="goes on as a plain request",
        aiohttp="goes on as a plain request",
        tests={
            UVICORN: (
                "test_tunnels.py::test_a_client_that_vanishes_while_the_upstream_takes_nothing_is_noticed",
                "test_tunnels.py::test_a_wish_that_has_to_wait_for_its_turn",
                "test_tunnels.py::test_an_upgrade_with_a_body",
                "test_tunnels.py::test_an_upstream_that_does_not_take_the_rest_is_cut_off",
                "test_tunnels.py::test_an_upstream_that_is_gone_before_anybody_listens",
                "test_tunnels.py::test_nor_is_anything_lost_of_what_has_been_read_already",
                "test_tunnels.py::test_what_is_behind_a_refused_protocol_is_another_request",
            ),
            AIOHTTP: (
                "test_tunnels.py::test_a_client_that_does_not_read_slows_the_upstream_down[x-own]",
                "test_tunnels.py::test_a_client_that_vanishes_while_the_upstream_takes_nothing_is_noticed",
                "test_tunnels.py::test_a_wish_that_has_to_wait_for_its_turn",
                "test_tunnels.py::test_all_that_a_client_has_sent_arrives_although_it_has_left[x-own]",
                "test_tunnels.py::test_an_upstream_that_does_not_read_slows_the_client_down[x-own]",
                "test_tunnels.py::test_an_upstream_that_does_not_take_the_rest_is_cut_off",
                "test_tunnels.py::test_an_upstream_that_is_gone_before_anybody_listens",
                "test_tunnels.py::test_bytes_flow_both_ways[x-own]",
                "test_tunnels.py::test_nor_is_anything_lost_of_what_has_been_read_already",
                "test_tunnels.py::test_the_client_closes[x-own]",
                "test_tunnels.py::test_the_upstream_closes[x-own]",
                "test_tunnels.py::test_what_is_behind_a_refused_protocol_is_another_request",
            ),
        },
    ),
    Limit(
        "a target in absolute form",
        uvicorn="its authority is lost: `Host` counts; without a path it is refused",
        aiohttp="without a path no route of the app matches",
        tests={
            UVICORN: (
                "test_targets.py::test_absolute_form_is_reduced[http://a.test-/]",
                "test_targets.py::test_absolute_form_is_reduced[http://a.test?q=1]",
                "test_targets.py::test_absolute_form_names_the_host_for_http_10",
                "test_targets.py::test_absolute_form_names_the_host_whatever_host_says",
                "test_targets.py::test_options_for_the_server_as_a_whole[http://a.test]",
                "test_tickets.py::test_absolute_targets",
            ),
            AIOHTTP: (
                "test_targets.py::test_absolute_form_is_reduced[http://a.test-/]",
                "test_targets.py::test_absolute_form_is_reduced[http://a.test?q=1]",
                "test_targets.py::test_options_for_the_server_as_a_whole[http://a.test]",
            ),
        },
    ),
    Limit(
        "an empty query, as in `/a?`",
        uvicorn="the question mark is lost",
        tests={
            UVICORN: (
                "test_targets.py::test_verbatim[b'/x?']",
                "test_targets.py::test_verbatim[b'/?']",
                "test_targets.py::test_verbatim_behind_a_base_path[b'/x?']",
                "test_targets.py::test_verbatim_behind_a_base_path[b'/?']",
                "test_tickets.py::test_the_target_goes_on_as_it_is[/a?$]",
            )
        },
    ),
    Limit(
        "`OPTIONS *`, and encoded line breaks in a path",
        aiohttp="no route of the app matches: 404",
        tests={
            AIOHTTP: (
                "test_targets.py::test_options_for_the_server_as_a_whole[*]",
                "test_targets.py::test_verbatim[b'/%00%0d%0a']",
                "test_targets.py::test_verbatim_behind_a_base_path[b'/%00%0d%0a']",
            )
        },
    ),
    Limit(
        "HTTP/1.0 and 1.2",
        uvicorn="1.0 gets chunks all the same, and its connection closes; 1.2 is refused",
        aiohttp="1.2 is refused",
        tests={
            UVICORN: (
                "test_leaving.py::test_a_client_of_http_10_hears_it_in_its_own_words",
                "test_ndjson.py::test_http_10_gets_a_reset",
                "test_request_bodies.py::test_continue_is_not_said_to_http_10",
                "test_responses.py::test_an_upstream_that_wants_another_protocol_says_which[HTTP/1.0]",
                "test_responses.py::test_http_10_clients_get_no_chunks[chunked]",
                "test_responses.py::test_http_10_clients_may_keep_a_connection",
                "test_targets.py::test_a_later_version_is_answered_as_this_one",
                "test_upstream_failures.py::test_over_a_unix_socket_a_broken_body_without_chunks_is_warned_of[HTTP/1.0]",
            ),
            AIOHTTP: ("test_targets.py::test_a_later_version_is_answered_as_this_one",),
        },
    ),
    Limit(
        "`Expect: 100-continue`",
        uvicorn="asks for a body that is here already",
        tests={UVICORN: ("test_request_bodies.py::test_continue_is_not_said_when_the_body_is_here",)},
    ),
    Limit(
        "connections",
        uvicorn="closed when the server ends, and not when the proxy drains, nor behind a stream without a word",
        aiohttp="closed when the server ends, and not when the proxy drains; closed behind a request body in chunks",
        tests={
            UVICORN: (
                "test_broken_ends.py::test_a_stream_closes_the_connection_without_a_word[stream]",
                "test_broken_ends.py::test_nor_does_one_that_begins_during_a_drain_say_so",
                "test_leaving.py::test_a_stream_of_the_delay_is_drained_like_any_other",
                "test_leaving.py::test_an_idle_connection_is_closed_by_the_drain_and_not_before",
                "test_ndjson.py::test_its_end_is_found_in_the_body_also_for_a_client_that_closes",
                "test_sent_away.py::test_a_stream_that_comes_in_time_is_drained_as_one",
                "test_sent_away.py::test_it_is_sent_away_with_a_stream_that_ends",
                "test_sent_away.py::test_one_that_asks_during_the_drain_is_sent_away_at_its_end",
            ),
            AIOHTTP: (
                "test_leaving.py::test_an_idle_connection_is_closed_by_the_drain_and_not_before",
                "test_sent_away.py::test_one_that_asks_during_the_drain_is_sent_away_at_its_end",
                "test_tickets.py::test_a_chunked_body_goes_on_with_its_length",
                "test_tickets.py::test_trailers_go_nowhere",
                "test_upstream_failures.py::test_no_request_follows_one_whose_body_means_nothing[chunked]",
            ),
        },
    ),
    Limit(
        "malformed requests, large heads, TLS, `server.connections`",
        uvicorn="the server's",
        aiohttp="the server's",
        tests={
            UVICORN: (
                "test_circles.py::test_nothing_is_left_of_requests_that_ended_in_any_way[a head without end]",
                "test_connection.py",
                "test_connection_abuse.py",
                "test_connection_limit.py",
                "test_handshakes.py",
                "test_hostile.py",
            ),
            AIOHTTP: (
                "test_circles.py::test_nothing_is_left_of_requests_that_ended_in_any_way[a head without end]",
                "test_connection.py",
                "test_connection_abuse.py",
                "test_connection_limit.py",
                "test_handshakes.py",
                "test_hostile.py",
                "test_ticket_abuse.py::test_no_id_is_ever_logged",
            ),
        },
    ),
)

_ID = re.compile(r"^(?:.*tests/proxy/)?(?P<test>[^\[]+)(?:\[(?P<parameters>.*)\])?$", re.DOTALL)


def limit_of(nodeid: str) -> str | None:
    """Return the row that leaves a test out; ``None``: there is none."""
    found = _ID.match(nodeid)
    assert found is not None
    parameters = found["parameters"] or ""
    for door in (UVICORN, AIOHTTP):
        if door in parameters.split("-"):
            rows = (row for limit in LIMITS for row in limit.tests.get(door, ()))
            return next((row for row in rows if _covers(row, found["test"], parameters)), None)
    return None


def _covers(row: str, test: str, parameters: str) -> bool:
    name, _, part = row.removesuffix("]").partition("[")
    is_meant = part in f"{parameters}$"
    return (test == name and is_meant) or test.startswith(f"{name}::")


def table() -> str:
    """Return what is impossible, for the docs."""
    head = ["| | behind uvicorn | inside an aiohttp app |", "|---|---|---|"]
    rows = ((each.what, each.uvicorn or "as ever", each.aiohttp or "as ever") for each in LIMITS)
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])
