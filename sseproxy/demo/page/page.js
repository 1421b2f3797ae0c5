// Asks the model both ways at once and draws what comes, when it comes.

const WAYS = [
  { prefix: "direct/", title: "Directly", path: "browser → gateway → model" },
  { prefix: "kept/", title: "Through sseproxy", path: "browser → gateway → sseproxy → model" },
];

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;

// The error that a stream carries when its head can no longer tell.
class StreamError extends Error {}

class Way {
  constructor({ prefix, title, path }) {
    this.prefix = prefix;
    this.root = document.getElementById("way").content.firstElementChild.cloneNode(true);
    this.root.id = `way-${prefix.slice(0, -1)}`;
    this.root.querySelector("h2").textContent = title;
    this.root.querySelector(".path").textContent = path;
    this.status = this.root.querySelector(".status");
    this.line = this.root.querySelector(".line");
    this.text = this.root.querySelector(".answer");
    this.line.setAttribute("aria-label", `Time line: ${title}`);
  }

  reset(seconds) {
    this.counts = { tokens: 0, heartbeats: 0, bytes: 0 };
    this.done = false;
    this.rest = "";
    this.began = performance.now();
    this.text.textContent = "";
    this.line.setAttribute("viewBox", `0 0 ${seconds} ${HEIGHT}`);
    this.now = element("rect", { class: "now", x: 0, y: 0, width: 0, height: HEIGHT });
    this.line.replaceChildren(this.now);
    this.say("waiting", "Waiting for the response head…");
    this.show();
  }

  async run(model, signal) {
    const ticking = setInterval(() => this.show(), 100);
    try {
      await this.ask(model, signal);
    } catch (error) {
      if (signal.aborted) return;
      const what = error instanceof StreamError ? error.message : "Cut";
      this.fail(`${what} after ${this.seconds().toFixed(1)} s and ${this.counts.tokens} tokens`);
    } finally {
      clearInterval(ticking);
      if (!signal.aborted) this.show();
    }
  }

  async ask(model, signal) {
    const messages = [{ role: "user", content: "Why did my answer stop?" }];
    const response = await fetch(`${this.prefix}v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, messages, stream: true }),
      signal,
    });
    if (!response.ok) {
      this.fail(`${response.status} ${response.statusText} after ${this.seconds().toFixed(1)} s`);
      return;
    }
    this.say("begun", `${response.status}, and no word yet…`);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      this.counts.bytes += value.length;
      this.receive(decoder.decode(value, { stream: true }));
    }
    if (this.done) this.say("whole", `Whole after ${this.seconds().toFixed(1)} s`);
    else this.fail(`Ended after ${this.seconds().toFixed(1)} s without [DONE]`);
  }

  receive(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith(":")) this.heartbeat();
      else if (line.startsWith("data:")) this.data(line.slice(5).trim());
    }
    this.show();
  }

  heartbeat() {
    this.counts.heartbeats += 1;
    this.say(this.counts.tokens > 0 ? "streaming" : "begun", "200, silent: heartbeats keep it alive");
    this.mark("heartbeat", HEIGHT * 0.6, HEIGHT);
  }

  data(value) {
    if (value === "[DONE]") {
      this.done = true;
      return;
    }
    const chunk = JSON.parse(value);
    if (chunk.error) throw new StreamError(chunk.error.message);
    const content = chunk.choices[0].delta.content;
    if (!content) return;
    this.say("streaming", "200, the words arrive…");
    this.counts.tokens += 1;
    this.text.append(content);
    this.mark("token", HEIGHT * 0.1, HEIGHT * 0.5);
  }

  fail(text) {
    this.mark("cut", 0, HEIGHT);
    this.say("failed", text);
  }

  say(outcome, text) {
    this.root.dataset.outcome = outcome;
    if (this.status.textContent !== text) this.status.textContent = text; // it is read aloud at each change
  }

  mark(kind, y1, y2) {
    const x = this.seconds();
    this.line.append(element("line", { class: kind, x1: x, x2: x, y1, y2 }));
  }

  seconds() {
    return (performance.now() - this.began) / 1000;
  }

  show() {
    const seconds = this.seconds();
    this.now.setAttribute("width", seconds);
    this.count("seconds", seconds.toFixed(1));
    for (const [name, value] of Object.entries(this.counts)) this.count(name, value.toLocaleString("en"));
  }

  count(name, value) {
    this.root.querySelector(`[data-count="${name}"]`).textContent = value;
  }
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function showFacts(facts) {
  for (const place of document.querySelectorAll("[data-fact]")) place.textContent = facts[place.dataset.fact];
  document.getElementById("push").hidden = !facts.redis;
}

function showAxis(way, seconds) {
  const labels = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const label = document.createElement("span");
    label.textContent = `${Math.round(share * seconds)} s`;
    return label;
  });
  way.root.querySelector(".axis").replaceChildren(...labels);
}

// The longest run there is: both silences, all tokens, and a little room. A multiple of four keeps the axis even.
function duration(facts) {
  const longest = 2 * facts.silence + facts.tokens * facts.between_tokens;
  return 4 * Math.ceil((longest * 1.1) / 4);
}

const facts = await (await fetch("facts.json")).json();
showFacts(facts);
const seconds = duration(facts);
const ways = WAYS.map((way) => new Way(way));
for (const way of ways) showAxis(way, seconds);
document.getElementById("ways").append(...ways.map((way) => way.root));

let running = new AbortController();

function runAgain() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const model = document.getElementById("model").value;
  for (const way of ways) {
    way.reset(seconds);
    way.run(model, signal);
  }
}

document.getElementById("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  runAgain();
});
document.getElementById("model").addEventListener("change", runAgain);
runAgain();
