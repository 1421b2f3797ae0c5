// What does each published Node client make of a stream?
//
// Reads a list of jobs from stdin, each {"id": …, "client": NAME, "url": BASE}, and writes a line of JSON for
// each: {"id": …, "result": [ITEM, …]}, with an "error" if the client raised.

import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { EventSource } from "eventsource";
import { createParser } from "eventsource-parser";
import OpenAI from "openai";

import { ANSWERS } from "./answers.mjs";
import { RECORDS } from "./records.mjs";
import { SDKS } from "./sdks.mjs";

const CONCURRENCY = 64;
const QUESTION = "What is SSE?";
const MESSAGES = [{ role: "user", content: QUESTION }];
const OPTIONS = { apiKey: "test", maxRetries: 0, timeout: 120_000 };

async function* openaiChat(url) {
  const client = new OpenAI({ ...OPTIONS, baseURL: `${url}/v1` });
  yield* await client.chat.completions.create({ model: "gpt-4o", messages: MESSAGES, stream: true });
}

async function* openaiChatHelper(url) {
  const client = new OpenAI({ ...OPTIONS, baseURL: `${url}/v1` });
  const runner = client.chat.completions.stream({ model: "gpt-4o", messages: MESSAGES });
  for await (const chunk of runner) yield chunk;
  yield await runner.finalChatCompletion();
}

async function* openaiResponses(url) {
  const client = new OpenAI({ ...OPTIONS, baseURL: `${url}/v1` });
  yield* await client.responses.create({ model: "gpt-4.1", input: QUESTION, stream: true });
}

async function* openaiResponsesHelper(url) {
  const client = new OpenAI({ ...OPTIONS, baseURL: `${url}/v1` });
  const runner = client.responses.stream({ model: "gpt-4.1", input: QUESTION });
  for await (const event of runner) yield event.type;
  yield await runner.finalResponse();
}

async function* anthropic(url) {
  const client = new Anthropic({ ...OPTIONS, baseURL: url });
  yield* await client.messages.create({
    model: "claude-test", max_tokens: 64, messages: MESSAGES, stream: true,
  });
}

async function* anthropicHelper(url) {
  const client = new Anthropic({ ...OPTIONS, baseURL: url });
  const runner = client.messages.stream({ model: "claude-test", max_tokens: 64, messages: MESSAGES });
  for await (const event of runner) yield event.type;
  yield await runner.finalMessage();
}

async function* googleGenai(url) {
  const client = new GoogleGenAI({ apiKey: "test", httpOptions: { baseUrl: url, timeout: 120_000 } });
  const stream = await client.models.generateContentStream({ model: "gemini-2.5-flash", contents: QUESTION });
  for await (const { sdkHttpResponse, ...chunk } of stream) yield chunk;
}

async function eventsource(url, items) {
  const source = new EventSource(`${url}/events`);
  const take = (event) => items.push([event.type, event.data, event.lastEventId]);
  for (const type of KNOWN_TYPES) source.addEventListener(type, take);
  // An event of the stream may be named error too; it has data.
  const onError = (ended) => (event) => (event.data === undefined ? ended() : take(event));
  await new Promise((ended) => source.addEventListener("error", onError(ended)));
  source.close();
}

// As a page uses it: it comes back until it has been told not to.
async function eventsourceUntilClosed(url) {
  const source = new EventSource(`${url}/events`);
  await new Promise((closed) => { source.onerror = () => source.readyState === EventSource.CLOSED && closed(); });
}

async function eventsourceParser(url, items) {
  const parser = createParser({
    onEvent: (event) => items.push([event.event ?? null, event.data, event.id ?? null]),
    onRetry: (value) => items.push(["retry", value]),
    onError: (error) => items.push([error.type, error.field ?? null]),
  });
  const decoder = new TextDecoder();
  for await (const bytes of (await fetch(`${url}/events`)).body) parser.feed(decoder.decode(bytes, { stream: true }));
}

// EventSource hands out only the types that somebody listens to: all of the recorded ones, and all of ours.
const KNOWN_TYPES = [
  "message", "status", "token", "heartbeat", "ping", "keepalive",
  "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
  "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
  "response.output_text.delta", "response.output_text.done", "response.content_part.done",
  "response.output_item.done", "response.completed",
];

async function fetchEventSource(url, items) {
  const { fetchEventSource: open } = await msFetchEventSource;
  await open(`${url}/events`, {
    openWhenHidden: true,
    onmessage: (event) => items.push([event.event, event.data, event.id, event.retry ?? null]),
    onerror: (error) => { throw error; },
  });
}

// The library is written for pages. No window.document: the other SDKs would refuse to work in a page.
globalThis.window = { fetch, setTimeout, clearTimeout };
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const msFetchEventSource = import("@microsoft/fetch-event-source");

// pause: seconds that the reader takes for each item.
const collecting = (generator) => async (url, items, pause) => {
  for await (const item of generator(url)) {
    items.push(item);
    if (pause) await new Promise((over) => setTimeout(over, pause * 1000));
  }
};

const CLIENTS = {
  "openai chat": collecting(openaiChat),
  "openai chat helper": collecting(openaiChatHelper),
  "openai responses": collecting(openaiResponses),
  "openai responses helper": collecting(openaiResponsesHelper),
  "@anthropic-ai/sdk": collecting(anthropic),
  "@anthropic-ai/sdk helper": collecting(anthropicHelper),
  "@google/genai": collecting(googleGenai),
  eventsource,
  "eventsource until closed": eventsourceUntilClosed,
  "eventsource-parser": eventsourceParser,
  "@microsoft/fetch-event-source": fetchEventSource,
  ...Object.fromEntries(Object.entries({ ...SDKS, ...ANSWERS, ...RECORDS }).map(([name, generator]) => [name, collecting(generator)])),
};

const CLASSES = { "OpenAI.APIError": OpenAI.APIError, "Anthropic.APIError": Anthropic.APIError };

function described(error) {
  const classes = Object.keys(CLASSES).filter((name) => error instanceof CLASSES[name]);
  const { status, code, type, error: body } = error;
  return { classes: [...classes, error.constructor.name], message: error.message, status, code, type, body };
}

// limit: seconds, after which the client counts as hanging.
const hanging = (limit) => new Promise((_, reject) => {
  setTimeout(() => reject(new DOMException("not done in time", "TimeoutError")), limit * 1000);
});

async function run({ id, client, url, limit, pause }) {
  const result = [];
  const outcome = { id, result };
  try {
    await Promise.race([CLIENTS[client](url, result, pause), ...(limit ? [hanging(limit)] : [])]);
  } catch (error) {
    outcome.error = described(error);
  }
  await new Promise((written) => process.stdout.write(`${JSON.stringify(outcome)}\n`, written));
}

async function worker(jobs) {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await run(job);
}

console.log = console.info = console.debug = console.error; // some SDKs print

let input = "";
for await (const text of process.stdin.setEncoding("utf-8")) input += text;
const jobs = JSON.parse(input);
await Promise.all(Array.from({ length: CONCURRENCY }, () => worker(jobs)));
process.exit(0);
