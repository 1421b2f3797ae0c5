// How does each further Node SDK ask for a stream, and what does it hand out?
//
// Every function takes the base URL and yields what the SDK yields.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createAnthropic as createAnthropic6 } from "ai6-anthropic";
import { createOpenAI as createOpenAI6 } from "ai6-openai";
import { createOpenAICompatible as createOpenAICompatible6 } from "ai6-openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { Client as McpClient, StreamableHTTPClientTransport as McpTransport } from "@modelcontextprotocol/client";
import { Client as McpClient1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as McpTransport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Client as McpClient124 } from "mcp-sdk-1-24/client/index.js";
import { StreamableHTTPClientTransport as McpTransport124 } from "mcp-sdk-1-24/client/streamableHttp.js";
import { Client as UrqlClient, fetchExchange, gql } from "@urql/core";
import { streamText } from "ai";
import { streamText as streamText6 } from "ai6";
import { Ollama } from "ollama";
import OpenAI from "openai";

const QUESTION = "What is SSE?";
const MESSAGES = [{ role: "user", content: QUESTION }];

async function* openaiCompletions(url) {
  const client = new OpenAI({ apiKey: "test", maxRetries: 0, timeout: 120_000, baseURL: `${url}/v1` });
  yield* await client.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: QUESTION, stream: true });
}

// The SDK hands errors out as parts of the stream, and to onError.
const vercel = (stream, model) => async function* (url) {
  const { fullStream } = stream({ model: model(url), prompt: QUESTION, maxRetries: 0, onError() {} });
  for await (const part of fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") yield part.text;
    if (part.type === "finish") yield { finishReason: part.finishReason };
  }
};

const settings = (baseURL) => ({ apiKey: "test", baseURL });
const compatible = (create) => (url) => create({ name: "llm", ...settings(`${url}/v1`) })("gpt-4o");

async function* langchain(url, useResponsesApi) {
  const model = new ChatOpenAI({
    model: "gpt-4o", apiKey: "test", maxRetries: 0, configuration: { baseURL: `${url}/v1` }, useResponsesApi,
  });
  for await (const chunk of await model.stream(QUESTION)) if (chunk.text) yield chunk.text;
}

async function* ollama(url) {
  yield* await new Ollama({ host: url }).chat({ model: "llama3.2", messages: MESSAGES, stream: true });
}

const mcp = (Client, Transport) => async function* (url) {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new Transport(new URL(`${url}/mcp`)));
  try {
    yield await client.callTool({ name: "slow", arguments: {} });
  } finally {
    await client.close();
  }
};

async function* urql(url) {
  const client = new UrqlClient({ url: `${url}/graphql`, exchanges: [fetchExchange], preferGetMethod: false });
  const results = [];
  let error;
  await new Promise((done) => {
    const ended = (result) => {
      results.push(result.data);
      error = result.error;
      if (error || !result.hasNext) done();
    };
    client.query(gql`{ n }`, {}).subscribe(ended);
  });
  yield* results;
  if (error) throw error;
}

export const SDKS = {
  "openai completions": openaiCompletions,
  "ai 7 openai chat": vercel(streamText, (url) => createOpenAI(settings(`${url}/v1`)).chat("gpt-4o")),
  "ai 7 openai responses": vercel(streamText, (url) => createOpenAI(settings(`${url}/v1`)).responses("gpt-4o")),
  "ai 7 openai-compatible": vercel(streamText, compatible(createOpenAICompatible)),
  "ai 7 anthropic": vercel(streamText, (url) => createAnthropic(settings(`${url}/v1`))("claude-test")),
  "ai 6 openai chat": vercel(streamText6, (url) => createOpenAI6(settings(`${url}/v1`)).chat("gpt-4o")),
  "ai 6 openai responses": vercel(streamText6, (url) => createOpenAI6(settings(`${url}/v1`)).responses("gpt-4o")),
  "ai 6 openai-compatible": vercel(streamText6, compatible(createOpenAICompatible6)),
  "ai 6 anthropic": vercel(streamText6, (url) => createAnthropic6(settings(`${url}/v1`))("claude-test")),
  "@langchain/openai chat": (url) => langchain(url, false),
  "@langchain/openai responses": (url) => langchain(url, true),
  ollama,
  "@modelcontextprotocol/client 2": mcp(McpClient, McpTransport),
  "@modelcontextprotocol/sdk 1.32": mcp(McpClient1, McpTransport1),
  "@modelcontextprotocol/sdk 1.24": mcp(McpClient124, McpTransport124),
  "@urql/core": urql,
};
