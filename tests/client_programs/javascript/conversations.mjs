// What every program here does: hold its conversations, and print what came of each as JSON.

export const HELLO = "Say hello.";
export const SUM = "Use add with a=17 and b=25";
export const STORY = "Tell me a story.";
export const NOBODY = "nobody/nothing";
export const LABEL = "adder";
export const ADDENDS = {
  type: "object",
  properties: { a: { type: "integer" }, b: { type: "integer" } },
  required: ["a", "b"],
};

/** Hold each of them in each dialect that is asked for; they give what they saw. */
export async function hold(conversations) {
  const given = JSON.parse(process.argv[2]);
  const told = {};
  for (const dialect of process.argv.slice(3)) {
    told[dialect] = {};
    for (const [feature, conversation] of Object.entries(conversations)) {
      try {
        told[dialect][feature] = await conversation({ dialect, ...given });
      } catch (error) {
        told[dialect][feature] = { failed: `${error.stack}\n${error.responseBody ?? ""}` };
      }
    }
  }
  console.log(JSON.stringify(told));
}
