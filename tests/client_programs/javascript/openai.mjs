// `openai` for JavaScript, over the responses and the chat completions.

import OpenAI from "openai";
import { ADDENDS, HELLO, LABEL, NOBODY, STORY, SUM, hold } from "./conversations.mjs";

const client = (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const ADD = { name: "add", description: "Add two numbers.", parameters: ADDENDS };
const said = (content) => [{ role: "user", content }];

const responses = {
  async text(place) {
    const body = { model: place.model, temperature: 0, input: HELLO };
    return { text: (await client(place.url).responses.create(body)).output_text };
  },

  async streaming(place) {
    const stream = client(place.url).responses.stream({ model: place.model, temperature: 0, input: HELLO });
    const pieces = [];
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
    }
    const text = (await stream.finalResponse()).output_text;
    return { pieces: pieces.length, joined: pieces.join(""), text };
  },

  async tools(place) {
    const it = client(place.url).responses;
    const common = { model: place.model, temperature: 0, tools: [{ type: "function", ...ADD }] };
    const first = await it.create({ ...common, input: SUM });
    const call = first.output.find((item) => item.type === "function_call");
    const input = [{ type: "function_call_output", call_id: call.call_id, output: "42" }];
    const second = await it.create({ ...common, previous_response_id: first.id, input });
    return { calls: [[call.name, JSON.parse(call.arguments)]], text: second.output_text };
  },

  async MCP(place) {
    const server = { type: "mcp", server_label: LABEL, server_url: place.mcp_url, require_approval: "never" };
    const tools = [{ ...server, allowed_tools: ["add"] }];
    const done = await client(place.url).responses.create({ model: place.model, temperature: 0, input: SUM, tools });
    const calls = done.output.filter((item) => item.type === "mcp_call");
    return { calls: calls.map((call) => [call.name, JSON.parse(call.arguments)]), text: done.output_text };
  },

  async errors(place) {
    return refused(client(place.url).responses.create({ model: NOBODY, input: HELLO }));
  },

  async cancelling(place) {
    const slow = client(place.slow_url).responses;
    const stream = await slow.create({ model: place.slow_model, input: STORY, stream: true });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") break;
    }
    return { next: (await slow.create({ model: place.slow_model, input: HELLO })).output_text };
  },
};

const chat = {
  async text(place) {
    const body = { model: place.model, temperature: 0, messages: said(HELLO) };
    return { text: (await client(place.url).chat.completions.create(body)).choices[0].message.content };
  },

  async streaming(place) {
    const options = { stream_options: { include_usage: true } };
    const body = { model: place.model, temperature: 0, messages: said(HELLO), ...options };
    const stream = client(place.url).chat.completions.stream(body);
    const pieces = [];
    stream.on("content.delta", (event) => pieces.push(event.delta));
    const text = (await stream.finalChatCompletion()).choices[0].message.content;
    return { pieces: pieces.length, joined: pieces.join(""), text };
  },

  async tools(place) {
    const calls = [];
    const add = (addends) => {
      calls.push(["add", addends]);
      return String(addends.a + addends.b);
    };
    const tools = [{ type: "function", function: { ...ADD, function: add, parse: JSON.parse } }];
    const body = { model: place.model, temperature: 0, messages: said(SUM), tools };
    const text = await client(place.url).chat.completions.runTools(body).finalContent();
    return { calls, text };
  },

  async MCP(place) {
    const server = { type: "ephemeral_mcp", server_label: LABEL, server_url: place.mcp_url };
    const body = { model: place.model, temperature: 0, messages: said(SUM) };
    const integrations = [{ ...server, allowed_tools: ["add"] }];
    const done = await client(place.url).chat.completions.create({ ...body, integrations });
    return { text: done.choices[0].message.content };
  },

  async errors(place) {
    return refused(client(place.url).chat.completions.create({ model: NOBODY, messages: said(HELLO) }));
  },

  async cancelling(place) {
    const slow = client(place.slow_url).chat.completions;
    const stream = await slow.create({ model: place.slow_model, messages: said(STORY), stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) break;
    }
    const told = await slow.create({ model: place.slow_model, messages: said(HELLO) });
    return { next: told.choices[0].message.content };
  },
};

async function refused(request) {
  try {
    await request;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status };
  }
}

const dialects = { responses, "chat/completions": chat };
await hold(
  Object.fromEntries(Object.keys(chat).map((feature) => [feature, (place) => dialects[place.dialect][feature](place)])),
);
