// `ai`, with `@ai-sdk/openai` over the responses and with `@ai-sdk/openai-compatible` over the chat completions.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import { ADDENDS, HELLO, LABEL, NOBODY, STORY, SUM, hold } from "./conversations.mjs";

const common = { temperature: 0, maxRetries: 0 };
const compatible = (url) => createOpenAICompatible({ name: "service", baseURL: `${url}/v1`, includeUsage: true });
const openai = (url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const model = (place, name = place.model, url = place.url) =>
  place.dialect === "responses" ? openai(url).responses(name) : compatible(url).chatModel(name);

async function text(place) {
  return { text: (await generateText({ ...common, model: model(place), prompt: HELLO })).text };
}

async function streaming(place) {
  const stream = streamText({ ...common, model: model(place), prompt: HELLO });
  const pieces = [];
  for await (const piece of stream.textStream) pieces.push(piece);
  return { pieces: pieces.length, joined: pieces.join(""), text: await stream.text };
}

async function tools(place) {
  const calls = [];
  const execute = (addends) => {
    calls.push(["add", addends]);
    return String(addends.a + addends.b);
  };
  const add = tool({ description: "Add two numbers.", inputSchema: jsonSchema(ADDENDS), execute });
  const done = await generateText({
    ...common, model: model(place), prompt: SUM, tools: { add }, stopWhen: isStepCount(4),
  });
  return { calls, text: done.text };
}

async function mcp(place) {
  if (place.dialect === "chat/completions") {
    const server = { type: "ephemeral_mcp", server_label: LABEL, server_url: place.mcp_url, allowed_tools: ["add"] };
    const providerOptions = { service: { integrations: [server] } };
    return { text: (await generateText({ ...common, model: model(place), prompt: SUM, providerOptions })).text };
  }
  const server = { serverLabel: LABEL, serverUrl: place.mcp_url, requireApproval: "never", allowedTools: ["add"] };
  const adder = openai(place.url).tools.mcp(server);
  const done = await generateText({ ...common, model: model(place), prompt: SUM, tools: { adder } });
  const results = done.toolResults.map((result) => result.output);
  return { calls: results.map((it) => [it.name, JSON.parse(it.arguments)]), text: done.text };
}

async function errors(place) {
  try {
    await generateText({ ...common, model: model(place, NOBODY), prompt: HELLO });
  } catch (error) {
    return { kind: JSON.parse(error.responseBody).error.code, status: error.statusCode };
  }
}

async function cancelling(place) {
  const slow = model(place, place.slow_model, place.slow_url);
  const leaving = new AbortController();
  const stream = streamText({ ...common, model: slow, prompt: STORY, abortSignal: leaving.signal });
  for await (const _ of stream.textStream) {
    leaving.abort();
    break;
  }
  return { next: (await generateText({ ...common, model: slow, prompt: HELLO })).text };
}

await hold({ text, streaming, tools, MCP: mcp, errors, cancelling });
