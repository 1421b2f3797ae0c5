// How does each Node SDK ask for an answer without a stream, and where does its user find the text?
//
// Every function takes the base URL and yields two things: the whole object that the SDK returns, and the text of the
// answer, read from it as the SDK's own documentation shows.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { ChatOpenAI } from "@langchain/openai";
import { generateText } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const QUESTION = "What is SSE?";
const MESSAGES = [{ role: "user", content: QUESTION }];
const OPTIONS = { apiKey: "test", maxRetries: 0, timeout: 60_000 };

async function* openaiChat(url) {
  const client = new OpenAI({ ...OPTIONS, baseURL: `${url}/v1` });
  const completion = await client.chat.completions.create({ model: "gpt-4o", messages: MESSAGES });
  yield completion;
  yield completion.choices[0].message.content;
}

async function* openaiResponses(url) {
  const client = new OpenAI({ ...OPTIONS, baseURL: `${url}/v1` });
  const response = await client.responses.create({ model: "gpt-4.1", input: QUESTION });
  yield response;
  yield response.output_text;
}

async function* anthropic(url) {
  const client = new Anthropic({ ...OPTIONS, baseURL: url });
  const message = await client.messages.create({ model: "claude-test", max_tokens: 64, messages: MESSAGES });
  yield message;
  yield message.content[0].text;
}

async function* googleGenai(url) {
  const client = new GoogleGenAI({ apiKey: "test", httpOptions: { baseUrl: url, timeout: 60_000 } });
  const response = await client.models.generateContent({ model: "gemini-2.5-flash", contents: QUESTION });
  const { sdkHttpResponse, ...plain } = response;
  yield plain;
  yield response.text;
}

async function* langchain(url) {
  const model = new ChatOpenAI({
    model: "gpt-4o", apiKey: "test", maxRetries: 0, configuration: { baseURL: `${url}/v1` },
  });
  const message = await model.invoke(QUESTION);
  yield message.content;
  yield message.text;
}

const vercel = (model) => async function* (url) {
  const { text } = await generateText({ model: model(url), prompt: QUESTION, maxRetries: 0 });
  yield text;
  yield text;
};

async function* ollama(url) {
  const response = await new Ollama({ host: url }).chat({ model: "llama3.2", messages: MESSAGES });
  yield response;
  yield response.message.content;
}

const settings = (baseURL) => ({ apiKey: "test", baseURL });

export const ANSWERS = {
  "answer openai chat": openaiChat,
  "answer openai responses": openaiResponses,
  "answer @anthropic-ai/sdk": anthropic,
  "answer @google/genai": googleGenai,
  "answer @langchain/openai": langchain,
  "answer ai 7 openai": vercel((url) => createOpenAI(settings(`${url}/v1`)).chat("gpt-4o")),
  "answer ai 7 anthropic": vercel((url) => createAnthropic(settings(`${url}/v1`))("claude-test")),
  "answer ollama": ollama,
};
