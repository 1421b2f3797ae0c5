// What an EventSource tells its page, written down as it comes. Nothing here touches EventSource itself.

const TYPES = ["message", "open", "error", "token", "Token", "two words", "é", "end", "heartbeat"];
const watched = {};

function watch(name, url, { credentials = false, closeAfter = Infinity } = {}) {
  const source = new EventSource(url, { withCredentials: credentials });
  const log = [];
  const times = [];
  const home = new URL(url, location).origin;
  let messages = 0;
  const over = new Promise((resolve) => {
    function note(event) {
      times.push(performance.now());
      if (event instanceof MessageEvent) {
        const elsewhere = event.origin === home ? [] : [event.origin];
        log.push([event.type, event.data, event.lastEventId, ...elsewhere]);
        messages += 1;
        if (messages === closeAfter) source.close();
      } else log.push([event.type, source.readyState]);
      if (source.readyState === EventSource.CLOSED) resolve();
    }
    for (const type of TYPES) source.addEventListener(type, note);
  });
  watched[name] = { source, log, times, over };
}
