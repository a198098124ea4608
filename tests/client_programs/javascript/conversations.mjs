// What every program here does: hold its conversations, and print what came of each as JSON.

export const HELLO = "Say hello.";
export const SUM = "Use add with a=17 and b=25";
export const STORY = "Tell me a story.";
export const PICTURE = "What is this?";
export const PUZZLE = "Solve it.";
export const FIRST = "What did I say first?";
export const COLOUR = "Name a colour.";
export const COLOURS = {
  type: "object",
  properties: { colour: { type: "string", enum: ["red", "green"] } },
  required: ["colour"],
  additionalProperties: false,
};
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const PNG_URL = `data:image/png;base64,${PNG}`;
export const NOBODY = "nobody/nothing";
export const WRONG_KEY = "sk-wrong";
export const TOO_HOT = 9;
export const LABEL = "adder";
export const TEXTS = ["four", "x"];
export const ADDENDS = {
  type: "object",
  properties: { a: { type: "integer" }, b: { type: "integer" } },
  required: ["a", "b"],
};

/** Hold each that is asked for in each dialect; they give what they saw. */
export async function hold(conversations) {
  const given = JSON.parse(process.argv[2]);
  const told = {};
  for (const [number, [dialect, features]] of Object.entries(JSON.parse(process.argv[3])).entries()) {
    told[dialect] = {};
    const place = { dialect, ...given, word: `${given.word}${number}` };
    place.my_word = `My word is ${place.word}.`;
    for (const feature of features) {
      try {
        told[dialect][feature] = await conversations[feature](place);
      } catch (error) {
        told[dialect][feature] = { failed: `${error.stack}\n${error.responseBody ?? ""}` };
      }
    }
  }
  console.log(JSON.stringify(told));
}
