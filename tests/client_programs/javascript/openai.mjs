// `openai` for JavaScript, over the responses, the chat completions, and the routes around them.

import OpenAI from "openai";
import {
  ADDENDS, COLOUR, COLOURS, FIRST, HELLO, LABEL, NOBODY, PICTURE, PNG_URL, PUZZLE, STORY, SUM, TEXTS, TOO_HOT,
  WRONG_KEY, hold,
} from "./conversations.mjs";

const client = (url, apiKey = "none") => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const ADD = { name: "add", description: "Add two numbers.", parameters: ADDENDS };
const said = (content) => [{ role: "user", content }];
const sure = (place) => ({ model: place.model, temperature: 0 });
const FORMAT = { type: "json_schema", name: "colour", schema: COLOURS, strict: true };

async function refused(request) {
  try {
    await request;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, says: error.message };
  }
}

/** The model's call over the responses, and what it says of the result. */
async function answeredResponse(place, ask) {
  const common = { ...sure(place), tools: [{ type: "function", ...ADD }] };
  const first = await ask({ ...common, input: SUM });
  const call = first.output.find((item) => item.type === "function_call");
  const input = [{ type: "function_call_output", call_id: call.call_id, output: "42" }];
  const second = await ask({ ...common, previous_response_id: first.id, input });
  return { calls: [[call.name, JSON.parse(call.arguments)]], text: second.output_text };
}

function adder(place, approval) {
  const server = { type: "mcp", server_label: LABEL, server_url: place.mcp_url, require_approval: approval };
  return [{ ...server, allowed_tools: ["add"] }];
}

function served(done) {
  const calls = done.output.filter((item) => item.type === "mcp_call");
  return { calls: calls.map((call) => [call.name, JSON.parse(call.arguments)]), text: done.output_text };
}

const scriptedResponse = (place, body) =>
  client(place.scripted_url).responses.create({ model: place.scripted_model, ...body });

const responses = {
  text: async (place) => ({
    text: (await client(place.url).responses.create({ ...sure(place), input: HELLO })).output_text,
  }),

  async streaming(place) {
    const stream = client(place.url).responses.stream({ ...sure(place), input: HELLO });
    const pieces = [];
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
    }
    const text = (await stream.finalResponse()).output_text;
    return { pieces: pieces.length, joined: pieces.join(""), text };
  },

  tools: (place) => answeredResponse(place, (body) => client(place.url).responses.create(body)),

  "streamed tools": (place) =>
    answeredResponse(place, (body) => client(place.url).responses.stream(body).finalResponse()),

  async MCP(place) {
    const body = { ...sure(place), input: SUM, tools: adder(place, "never") };
    return served(await client(place.url).responses.create(body));
  },

  async approvals(place) {
    const common = { ...sure(place), tools: adder(place, "always") };
    const asked = await client(place.url).responses.create({ ...common, input: SUM });
    const request = asked.output.find((item) => item.type === "mcp_approval_request");
    const input = [{ type: "mcp_approval_response", approval_request_id: request.id, approve: true }];
    return served(await client(place.url).responses.create({ ...common, input, previous_response_id: asked.id }));
  },

  async "structured output"(place) {
    const body = { ...sure(place), input: COLOUR, text: { format: FORMAT } };
    return { parsed: (await client(place.url).responses.parse(body)).output_parsed };
  },

  async images(place) {
    const picture = { type: "input_image", image_url: PNG_URL, detail: "auto" };
    const content = [{ type: "input_text", text: PICTURE }, picture];
    return { text: (await scriptedResponse(place, { input: said(content) })).output_text };
  },

  async reasoning(place) {
    const done = await scriptedResponse(place, { input: PUZZLE, reasoning: { effort: "high" } });
    const thought = done.output.find((item) => item.type === "reasoning");
    return { reasoning: thought.content.map((part) => part.text).join(""), text: done.output_text };
  },

  async usage(place) {
    const body = { model: place.scripted_model, input: HELLO };
    const { usage } = await client(place.scripted_url).responses.stream(body).finalResponse();
    return { input: usage.input_tokens, output: usage.output_tokens };
  },

  async continuing(place) {
    const first = await scriptedResponse(place, { input: place.my_word });
    const second = await scriptedResponse(place, { input: FIRST, previous_response_id: first.id });
    return { text: second.output_text };
  },

  async "token counting"(place) {
    const common = { model: place.model, input: SUM, tools: [{ type: "function", ...ADD }] };
    const counted = await client(place.url).responses.inputTokens.count(common);
    const { usage } = await client(place.url).responses.create({ ...common, temperature: 0 });
    return { counted: counted.input_tokens, used: usage.input_tokens };
  },

  async cancelling(place) {
    const stream = await scriptedResponse(place, { input: STORY, stream: true });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") break;
    }
    return { next: (await scriptedResponse(place, { input: HELLO })).output_text };
  },

  refusal: (url, body, key) => refused(client(url, key).responses.create({ input: HELLO, ...body })),
};

const answer = (completion) => completion.choices[0].message.content;
const scriptedChat = (place, content, body = {}) =>
  client(place.scripted_url).chat.completions.create({
    model: place.scripted_model, messages: said(content), ...body,
  });
const COUNTED = { stream_options: { include_usage: true } };

const chat = {
  text: async (place) => ({
    text: answer(await client(place.url).chat.completions.create({ ...sure(place), messages: said(HELLO) })),
  }),

  async streaming(place) {
    const body = { ...sure(place), messages: said(HELLO), ...COUNTED };
    const stream = client(place.url).chat.completions.stream(body);
    const pieces = [];
    stream.on("content.delta", (event) => pieces.push(event.delta));
    const text = answer(await stream.finalChatCompletion());
    return { pieces: pieces.length, joined: pieces.join(""), text };
  },

  tools: (place) => ranTools(place, {}),

  "streamed tools": (place) => ranTools(place, { stream: true }),

  async MCP(place) {
    const server = { type: "ephemeral_mcp", server_label: LABEL, server_url: place.mcp_url };
    const body = { ...sure(place), messages: said(SUM), integrations: [{ ...server, allowed_tools: ["add"] }] };
    return { text: answer(await client(place.url).chat.completions.create(body)) };
  },

  async "structured output"(place) {
    const { type, ...json_schema } = FORMAT;
    const body = { ...sure(place), messages: said(COLOUR), response_format: { type, json_schema } };
    return { parsed: (await client(place.url).chat.completions.parse(body)).choices[0].message.parsed };
  },

  async images(place) {
    const picture = { type: "image_url", image_url: { url: PNG_URL } };
    return { text: answer(await scriptedChat(place, [{ type: "text", text: PICTURE }, picture])) };
  },

  async reasoning(place) {
    const done = await scriptedChat(place, PUZZLE, { reasoning_effort: "high" });
    return { reasoning: done.choices[0].message.reasoning_content, text: answer(done) };
  },

  async usage(place) {
    const body = { model: place.scripted_model, messages: said(HELLO), ...COUNTED };
    const { usage } = await client(place.scripted_url).chat.completions.stream(body).finalChatCompletion();
    return { input: usage.prompt_tokens, output: usage.completion_tokens };
  },

  async continuing(place) {
    const { message } = (await scriptedChat(place, place.my_word)).choices[0];
    const messages = [...said(place.my_word), message, ...said(FIRST)];
    return { text: answer(await scriptedChat(place, "", { messages })) };
  },

  async cancelling(place) {
    const stream = await scriptedChat(place, STORY, { stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) break;
    }
    return { next: answer(await scriptedChat(place, HELLO)) };
  },

  refusal: (url, body, key) =>
    refused(client(url, key).chat.completions.create({ messages: said(HELLO), ...body })),
};

async function ranTools(place, more) {
  const calls = [];
  const add = (addends) => {
    calls.push(["add", addends]);
    return String(addends.a + addends.b);
  };
  const tools = [{ type: "function", function: { ...ADD, function: add, parse: JSON.parse } }];
  const body = { ...sure(place), messages: said(SUM), tools, ...more };
  return { text: await client(place.url).chat.completions.runTools(body).finalContent(), calls };
}

const dialects = { responses, "chat/completions": chat };
const conversations = Object.fromEntries(
  Object.keys(responses).map((feature) => [feature, (place) => dialects[place.dialect][feature](place)]),
);
const refusal = (place, ...more) => dialects[place.dialect].refusal(...more);

await hold({
  ...conversations,
  "error 404": (place) => refusal(place, place.url, { model: NOBODY }),
  "error 400": (place) => refusal(place, place.url, { model: place.model, temperature: TOO_HOT }),
  "error 401": (place) => refusal(place, place.guarded_url, { model: place.scripted_model }, WRONG_KEY),

  async embeddings(place) {
    const made = await client(place.embedder_url).embeddings.create({ model: place.embedder_model, input: TEXTS });
    return { vectors: made.data.map((one) => one.embedding) };
  },

  async models(place) {
    const models = [];
    for await (const one of client(place.url).models.list()) models.push(one.id);
    return { models };
  },
});
