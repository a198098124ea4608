// `ai`, with `@ai-sdk/openai` over the responses and with `@ai-sdk/openai-compatible` over the chat completions.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import {
  ADDENDS, COLOUR, COLOURS, FIRST, HELLO, LABEL, NOBODY, PICTURE, PNG_URL, PUZZLE, STORY, SUM, TEXTS, TOO_HOT,
  WRONG_KEY, hold,
} from "./conversations.mjs";

const common = { temperature: 0, maxRetries: 0 };
const compatible = (url, apiKey = "none") =>
  createOpenAICompatible({
    name: "service", baseURL: `${url}/v1`, apiKey, includeUsage: true, supportsStructuredOutputs: true,
  });
const openai = (url, apiKey = "none") => createOpenAI({ baseURL: `${url}/v1`, apiKey });
const model = (place, name = place.model, url = place.url, key = undefined) =>
  place.dialect === "responses" ? openai(url, key).responses(name) : compatible(url, key).chatModel(name);
const scripted = (place) => model(place, place.scripted_model, place.scripted_url);

async function text(place) {
  return { text: (await generateText({ ...common, model: model(place), prompt: HELLO })).text };
}

async function streaming(place) {
  const stream = streamText({ ...common, model: model(place), prompt: HELLO });
  const pieces = [];
  for await (const piece of stream.textStream) pieces.push(piece);
  return { pieces: pieces.length, joined: pieces.join(""), text: await stream.text };
}

async function withTools(place, ask) {
  const calls = [];
  const execute = (addends) => {
    calls.push(["add", addends]);
    return String(addends.a + addends.b);
  };
  const add = tool({ description: "Add two numbers.", inputSchema: jsonSchema(ADDENDS), execute });
  const text = await ask({ ...common, model: model(place), prompt: SUM, tools: { add }, stopWhen: isStepCount(4) });
  return { calls, text };
}

const tools = (place) => withTools(place, async (asked) => (await generateText(asked)).text);
const streamedTools = (place) => withTools(place, async (asked) => await streamText(asked).text);

const adder = (place, requireApproval) =>
  openai(place.url).tools.mcp({
    serverLabel: LABEL, serverUrl: place.mcp_url, requireApproval, allowedTools: ["add"],
  });

function served(done) {
  const results = done.toolResults.map((result) => result.output);
  return { calls: results.map((it) => [it.name, JSON.parse(it.arguments)]), text: done.text };
}

async function mcp(place) {
  if (place.dialect === "responses") {
    const tools = { adder: adder(place, "never") };
    return served(await generateText({ ...common, model: model(place), prompt: SUM, tools }));
  }
  const server = { type: "ephemeral_mcp", server_label: LABEL, server_url: place.mcp_url, allowed_tools: ["add"] };
  const providerOptions = { service: { integrations: [server] } };
  return { text: (await generateText({ ...common, model: model(place), prompt: SUM, providerOptions })).text };
}

async function approvals(place) {
  const asked = { ...common, model: model(place), tools: { adder: adder(place, "always") } };
  const messages = [{ role: "user", content: SUM }];
  const first = await generateText({ ...asked, messages });
  const request = first.content.find((part) => part.type === "tool-approval-request");
  const decision = { type: "tool-approval-response", approvalId: request.approvalId, approved: true, providerExecuted: true };
  messages.push(...first.response.messages, { role: "tool", content: [decision] });
  return served(await generateText({ ...asked, messages }));
}

async function structured(place) {
  const output = Output.object({ schema: jsonSchema(COLOURS) });
  return { parsed: (await generateText({ ...common, model: model(place), prompt: COLOUR, output })).output };
}

async function images(place) {
  const content = [{ type: "text", text: PICTURE }, { type: "image", image: PNG_URL }];
  const messages = [{ role: "user", content }];
  return { text: (await generateText({ ...common, model: scripted(place), messages })).text };
}

async function reasoning(place) {
  const providerOptions = {
    openai: { reasoningEffort: "high", forceReasoning: true }, service: { reasoningEffort: "high" },
  };
  const done = await generateText({ maxRetries: 0, model: scripted(place), prompt: PUZZLE, providerOptions });
  return { reasoning: done.reasoningText, text: done.text };
}

async function usage(place) {
  const used = await streamText({ ...common, model: scripted(place), prompt: HELLO }).usage;
  return { input: used.inputTokens, output: used.outputTokens };
}

async function continuing(place) {
  const messages = [{ role: "user", content: place.my_word }];
  const first = await generateText({ ...common, model: scripted(place), messages });
  const next = { role: "user", content: FIRST };
  if (place.dialect === "responses") {
    const previousResponseId = first.providerMetadata.openai.responseId;
    const providerOptions = { openai: { previousResponseId } };
    const asked = { ...common, model: scripted(place), messages: [next], providerOptions };
    return { text: (await generateText(asked)).text };
  }
  messages.push(...first.response.messages, next);
  return { text: (await generateText({ ...common, model: scripted(place), messages })).text };
}

async function cancelling(place) {
  const leaving = new AbortController();
  const stream = streamText({ ...common, model: scripted(place), prompt: STORY, abortSignal: leaving.signal });
  for await (const _ of stream.textStream) {
    leaving.abort();
    break;
  }
  return { next: (await generateText({ ...common, model: scripted(place), prompt: HELLO })).text };
}

async function refusal(asked) {
  try {
    await generateText({ ...common, prompt: HELLO, ...asked });
  } catch (error) {
    return { kind: JSON.parse(error.responseBody).error.code, status: error.statusCode, says: error.message };
  }
}

async function embeddings(place) {
  const url = place.embedder_url;
  const name = place.embedder_model;
  const one = place.client.includes("compatible") ? compatible(url).embeddingModel(name) : openai(url).embedding(name);
  return { vectors: (await embedMany({ model: one, values: TEXTS, maxRetries: 0 })).embeddings };
}

await hold({
  text,
  streaming,
  tools,
  "streamed tools": streamedTools,
  MCP: mcp,
  approvals,
  "structured output": structured,
  images,
  reasoning,
  usage,
  continuing,
  cancelling,
  "error 404": (place) => refusal({ model: model(place, NOBODY) }),
  "error 400": (place) => refusal({ model: model(place), temperature: TOO_HOT }),
  "error 401": (place) => refusal({ model: model(place, place.scripted_model, place.guarded_url, WRONG_KEY) }),
  embeddings,
});
