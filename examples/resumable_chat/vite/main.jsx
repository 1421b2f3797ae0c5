import { useChat } from "@ai-sdk/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

// The conversation has its name in the URL: a reload and a second tab find it there.
const url = new URL(location.href);
const id = url.searchParams.get("chat") ?? crypto.randomUUID();
url.searchParams.set("chat", id);
history.replaceState(null, "", url);

function Chat({ before }) {
  const [text, setText] = useState("What if I reload?");

  // resume: asks for /api/chat/ID/stream when the page is loaded, and when it is seen again. sseproxy answers.
  const { messages, sendMessage, status, stop } = useChat({ id, messages: before, resume: true });
  const isBusy = status === "submitted" || status === "streaming";

  // stop() closes this page's connection, and that stops nothing. DELETE stops the answer, for each tab.
  async function stopAnswer() {
    await stop();
    await fetch(`/api/chat/${id}/stream`, { method: "DELETE" });
  }

  function ask(event) {
    event.preventDefault();
    sendMessage({ text });
  }

  return (
    <main>
      <ol id="messages">
        {messages.map(({ id, role, parts }) => (
          <li key={id} className={role}>{parts.map((part) => part.text ?? "").join("")}</li>
        ))}
      </ol>
      <form onSubmit={ask}>
        <input id="question" aria-label="Question" value={text} onChange={(event) => setText(event.target.value)} />{" "}
        <button id="send" disabled={isBusy}>Ask</button>{" "}
        <button id="stop" type="button" disabled={!isBusy} onClick={stopAnswer}>Stop</button>
      </form>
      <p id="status" role="status">{status}</p>
      <p><a href={url} target="_blank">Open it in a second tab</a></p>
    </main>
  );
}

await fetch("/api/session", { method: "POST" });
const { messages } = await (await fetch(`/api/chat/${id}`)).json();
createRoot(document.getElementById("root")).render(<Chat before={messages} />);
