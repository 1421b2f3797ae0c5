"""A Flask app on the threaded server that ``flask run`` starts."""

from collections.abc import Iterator

from flask import Flask, Response
from werkzeug.serving import make_server

from tests.e2e.peers.orders import AppFailed, Order, Orders, tell

app = Flask(__name__)
orders = Orders()


@app.get("/stream/<run>")
def stream(run: str) -> Response:
    return Response(_events(run), mimetype="text/event-stream")


@app.get("/broken/<run>")
def broken(run: str) -> Response:
    raise AppFailed(run)


def _events(run: str) -> Iterator[str]:
    tell(run, "opened")
    try:
        while (order := orders.take(run)).verb == "send":
            yield _written(order)
        if order.verb == "fail":
            raise AppFailed(run)
    finally:
        tell(run, "closed")


def _written(order: Order) -> str:
    fields = [("event", order.event), ("id", order.id), *(("data", line) for line in order.data.split("\n"))]
    return "".join(f"{name}: {value}\n" for name, value in fields if value is not None) + "\n"


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print("listening", server.port, flush=True)
    server.serve_forever()
