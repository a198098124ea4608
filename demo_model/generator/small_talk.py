"""Exchanges that need no tool: greetings, facts to keep in mind, texts to repeat, questions without an answer."""

from collections.abc import Callable

from demo_model.generator.requests import enumerate_in_words, finish_sentence
from demo_model.generator.tools import Tool
from demo_model.generator.values import Values

Exchange = tuple[str, str]

NO_TOOL = "I have no tool for that."
CANNOT_ANSWER = "I am a tiny demo model, so I cannot answer that."
INTRODUCTION = "I am a tiny demo model. I can call tools and give short answers."
GREETINGS = (
    "Hi;Hello;Hey;hi;hello;hey;Greetings;Hi there;Hello there;Good morning;Good evening;Hello, how are you;hi, who are you;Yo;"
    "Good day"
).split(";")
PETS = "cat dog fish parrot hamster rabbit snake turtle horse".split()
SPORTS = "football chess tennis golf hockey rugby cricket swimming".split()


def refusal(tools: tuple[Tool, ...]) -> str:
    """The answer to a request that no tool at hand can fulfil."""
    return NO_TOOL if tools else CANNOT_ANSWER


class SmallTalk:
    """Draws plain exchanges of a user's words and the answer."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._dice = values.dice
        self._subjects = self._subjects_of_facts()

    def _subjects_of_facts(self) -> list[tuple[str, Callable[[], str]]]:
        values, choice = self._values, self._dice.choice
        subjects: list[tuple[str, Callable[[], str]]] = [
            ("color", lambda: choice(values.lexicon.colors)),
            ("city", lambda: choice(values.lexicon.cities)),
            ("name", values.name),
            ("pet", lambda: choice(PETS)),
            ("food", values.word),
            ("number", lambda: str(values.integer())),
        ]
        subjects += [(subject, values.word) for subject in ("language", "book", "song", "movie")]
        subjects += [("sport", lambda: choice(SPORTS)), ("project", values.word), ("code", values.identifier)]
        subjects += [("friend", values.name)]
        subjects += [(subject, values.word) for subject in "word team car drink editor game animal".split()]
        return [*subjects, ("password", values.identifier)]

    def exchanges(self, facts: dict[str, str], tools: tuple[Tool, ...]) -> list[Exchange]:
        """One exchange, or a fact and the question for it. Facts that the user tells are added to `facts`."""
        dice = self._dice
        kind = dice.fraction()
        if kind < 0.16:
            return [(dice.choice(GREETINGS) + dice.choice(["", "!", ".", "?"]), "Hello! How can I help you?")]
        if kind < 0.42 or (kind < 0.55 and not facts):
            return self._fact(facts)
        if kind < 0.6 and facts:
            return [self._recall(facts, dice.choice(list(facts)))]
        if kind < 0.72:
            return [self._repetition()]
        if kind < 0.78:
            thanks = [
                "Thanks",
                "Thank you",
                "thanks a lot",
                "Great, thanks",
                "Thank you very much",
                "Perfect, thank you",
            ]
            return [(dice.choice(thanks) + dice.choice(["", "!", "."]), "You're welcome!")]
        if kind < 0.86:
            return [self._abilities(tools)]
        if kind < 0.9:
            farewells = ["Bye", "Goodbye", "See you", "bye bye", "See you later"]
            return [(dice.choice(farewells) + dice.choice(["", "!", "."]), "Goodbye!")]
        if kind < 0.94:
            return [(finish_sentence(dice, self._unanswerable()), refusal(tools))]
        return [self._remark()]

    def _fact(self, facts: dict[str, str]) -> list[Exchange]:
        dice = self._dice
        subject, value_of = dice.choice(self._subjects)
        if dice.chance(0.2):
            subject = self._values.word()
        value = facts[subject] = value_of()
        favorite = dice.choice(["favorite ", "", "", "new "]) if subject != "name" else ""
        statements = [
            f"My {favorite}{subject} is {value}",
            f"Remember that my {favorite}{subject} is {value}",
            f"By the way, my {favorite}{subject} is {value}",
            f"my {favorite}{subject} is {value}",
            f"The {subject} is {value}",
            f"Note that my {subject} is {value}",
            f"I said my {subject} is {value}",
        ]
        statement = dice.choice(statements)
        if subject == "name" and dice.chance(0.5):
            statement = dice.choice([f"I am {value}", f"I'm {value}", f"Call me {value}"])
        exchanges = [(statement + dice.choice([".", "", "!"]), f"Got it, your {subject} is {value}.")]
        if dice.chance(0.4):
            exchanges.append(self._recall(facts, subject))
        return exchanges

    def _recall(self, facts: dict[str, str], subject: str) -> Exchange:
        questions = [
            f"What {subject} did I mention?",
            f"What is my {subject}?",
            f"What's my {subject}?",
            f"Which {subject} did I say?",
            f"Do you remember my {subject}?",
            f"What was my {subject}?",
            f"Tell me my {subject}.",
            f"What is my favorite {subject}?",
            f"what {subject} did I tell you?",
        ]
        return self._dice.choice(questions), f"Your {subject} is {facts[subject]}."

    def _repetition(self) -> Exchange:
        dice = self._dice
        text = self._values.text() if dice.chance(0.7) else self._values.phrase(2, 6)
        mark = dice.choice(["'", '"', "", ""])
        starts = (
            "Say ;Repeat after me: ;Repeat ;say: ;Please say ;Just say ;Reply with ;Answer only with ;Respond with "
        ).split(";")
        return dice.choice(starts) + mark + text + mark, text

    def _abilities(self, tools: tuple[Tool, ...]) -> Exchange:
        dice = self._dice
        if not tools:
            questions = ["What can you do?", "What tools do you have?", "Who are you?", "What are you?", "Help"]
            return dice.choice(questions), INTRODUCTION
        questions = [
            "What tools do you have?",
            "Which tools can you use?",
            "List your tools",
            "What can you do?",
            "What tools are available?",
            "Show me the available tools.",
        ]
        return dice.choice(questions), f"I have these tools: {enumerate_in_words([tool.name for tool in tools])}."

    def _unanswerable(self) -> str:
        dice, word = self._dice, self._values.word
        return dice.choice(
            [
                f"Tell me a {dice.choice('joke story riddle poem tale'.split())}{dice.choice(['', ' about ' + word()])}",
                f"What do you think about {word()}",
                f"Explain {self._values.phrase(1, 2)}",
                f"Why is the {word()} {word()}",
                f"Who invented the {word()}",
                f"How does a {word()} work",
                f"What is the meaning of {word()}",
                f"Write a {dice.choice('poem story letter haiku song'.split())} about {word()}",
                f"What is the capital of {self._values.name()}",
                f"Do you like {word()}",
            ]
        )

    def _remark(self) -> Exchange:
        dice = self._dice
        phrase = self._values.phrase(3, 6)
        remarks = [
            f"I like {phrase}",
            f"The {phrase}",
            phrase,
            f"Today the {phrase}",
            f"I saw the {phrase}",
            f"We have {phrase}",
        ]
        return dice.choice(remarks) + dice.choice(["", "."]), "I see."
