# flask --app examples/flask_sse/app.py run --port 9000 & sseproxy serve -c examples/flask_sse/sseproxy.yaml
"""The app of flask-sse's own quickstart. Nothing in it knows of sseproxy. Then open http://127.0.0.1:8080/"""

import os

from flask import Flask, render_template_string
from flask_sse import sse

app = Flask(__name__)
app.config["REDIS_URL"] = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
app.register_blueprint(sse, url_prefix="/stream")

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Flask-SSE Quickstart</title>
  <link rel="icon" href="data:,">
</head>
<body>
  <h1>Flask-SSE Quickstart</h1>
  <p>Open <a href="{{ url_for("publish_hello") }}" target="_blank">/hello</a> in another tab.</p>
  <ul id="greetings"></ul>
  <script>
    var source = new EventSource("{{ url_for("sse.stream") }}");
    source.addEventListener("greeting", function(event) {
      var item = document.createElement("li");
      item.textContent = "The server says " + JSON.parse(event.data).message;
      document.getElementById("greetings").append(item);
    }, false);
  </script>
</body>
</html>
"""


@app.route("/")
def index():
    return render_template_string(PAGE)


@app.route("/hello")
def publish_hello():
    sse.publish({"message": "Hello!"}, type="greeting")
    return "Message sent!"
