// How do programs without a library read a stream of JSON lines in JavaScript?
//
// Every function takes the base URL and yields the records, as it parses them. None skips anything that it is not said
// to.

import { createInterface } from "node:readline";
import { Readable } from "node:stream";

const open = async (url) => (await fetch(`${url}/records`)).body;

// The loop of most examples: the unfinished line is kept, and parsed at the end if there is one.
const split = (wanted) => async function* (url) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of await open(url)) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) if (wanted(line)) yield JSON.parse(line);
  }
  if (wanted(text) && text !== "") yield JSON.parse(text);
};

async function* readline(url) {
  for await (const line of createInterface({ input: Readable.fromWeb(await open(url)) })) yield JSON.parse(line);
}

export const RECORDS = {
  "records split": split(() => true),
  "records split, if line": split((line) => line !== ""),
  "records split, if trimmed": split((line) => line.trim() !== ""),
  "records readline": readline,
};
