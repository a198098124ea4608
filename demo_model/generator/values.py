"""Made-up values: words, names, paths, times, numbers and whatever else an argument or a result may hold."""

import string

from demo_model.generator.dice import Dice
from demo_model.generator.lexicon import Lexicon

CONSONANTS = "bcdfghjklmnpqrstvwxz"
VOWELS = "aeiouy"
HEXADECIMAL = "0123456789abcdef"


class Values:
    """Draws values from a lexicon."""

    def __init__(self, dice: Dice, lexicon: Lexicon) -> None:
        self.dice = dice
        self.lexicon = lexicon

    # ---- words

    def invented_word(self, low: int = 2, high: int = 3) -> str:
        """`low` to `high` syllables that mean nothing."""
        return "".join(self._syllable() for _ in range(self.dice.between(low, high)))

    def _syllable(self) -> str:
        start = self.dice.choice(CONSONANTS) + self.dice.choice(VOWELS)
        return start + (self.dice.choice(CONSONANTS) if self.dice.chance(0.3) else "")

    def jumble(self) -> str:
        """Letters and digits without any order."""
        return "".join(self.dice.choice(string.ascii_letters + string.digits) for _ in range(self.dice.between(3, 9)))

    def pieced_word(self) -> str:
        """A word put together from pieces of the vocabulary."""
        count = self.dice.weighted([1, 2, 3], [3, 5, 2])
        pieces = (
            self.dice.choice(self.lexicon.pieces)
            if self.dice.chance(0.75)
            else self.dice.choice(string.ascii_lowercase)
            for _ in range(count)
        )
        return "".join(pieces)[:16]

    def word(self) -> str:
        kind = self.dice.fraction()
        if kind < 0.38:
            return self.dice.choice(self.lexicon.words)
        if kind < 0.6:
            return self.dice.choice(self.lexicon.documentation)
        return self.pieced_word() if kind < 0.8 else self.invented_word()

    def noun(self) -> str:
        if not self.dice.chance(0.35):
            return self.dice.choice(self.lexicon.nouns)
        return self.invented_word() if self.dice.chance(0.5) else self.word().lower()

    def name(self) -> str:
        return self.invented_word().capitalize() if self.dice.chance(0.3) else self.dice.choice(self.lexicon.names)

    def contraction(self) -> str:
        usual = ["it's", "don't", "I'm", "what's", "let's", "can't", "doesn't", "that's", "we're", "you'll"]
        return self.dice.choice(usual + [self.name() + "'s", self.word() + "'s"] * 5)

    def odd_word(self) -> str:
        """A word with signs or digits."""
        between, word = self.dice.between, self.word
        return self.dice.one_of(
            lambda: f"#{between(1, 999)}",
            lambda: f"{word()}-{word()}",
            lambda: f"{word()}_{word()}",
            lambda: f"{between(1, 100)}%",
            lambda: f"${between(1, 99)}",
            lambda: f"({word()})",
            lambda: f"{word()}:",
            lambda: f"{word()},",
            lambda: f"{word()}/{word()}",
            lambda: f"v{between(0, 9)}.{between(0, 9)}",
            lambda: f"@{word()}",
            lambda: f"{word()}+{word()}",
            lambda: f"{word()}={between(0, 9)}",
            lambda: word().capitalize(),
            lambda: word().upper(),
            lambda: f"<{word()}>",
            lambda: f"{word()}!",
            lambda: f"[{word()}]",
            lambda: f"{between(0, 9)}x{between(0, 9)}",
            lambda: "-",
            lambda: "&",
            self.contraction,
            self.contraction,
            self.contraction,
            self.dotted_name,
            self.dotted_name,
            lambda: str(self.decimal()),
            lambda: str(between(0, 9999)),
            self.clock_time,
            lambda: f"{word()}?",
        )

    def phrase(self, low: int = 1, high: int = 4) -> str:
        count = self.dice.between(low, high)
        return " ".join(self.odd_word() if self.dice.chance(0.12) else self.word() for _ in range(count))

    def text(self) -> str:
        phrase = self.phrase(1, 6)
        return phrase.capitalize() if self.dice.chance(0.4) else phrase

    def topic(self) -> str:
        return self.dice.one_of(
            self.word, self.name, self.phrase, lambda: self.phrase(1, 3), lambda: self.name() + " " + self.name()
        )

    # ---- hosts, files, addresses

    def host(self) -> str:
        labels = "".join(self.word().lower() + "." for _ in range(self.dice.weighted([1, 2], [4, 1])))
        return labels + self.dice.choice(self.lexicon.top_level_domains)

    def dotted_name(self) -> str:
        endings = ["local", "service", "conf", "bak", "tar.gz", "lock"]
        return self.dice.one_of(
            self.file_name,
            self.host,
            lambda: f"{self.word()}.{self.word()}",
            lambda: f"{self.word()}.{self.word()}.{self.word()}",
            self.version,
            lambda: self.word() + "." + self.dice.choice(endings),
        )

    def version(self) -> str:
        start = self.dice.choice(["v", "", ""])
        numbers = ".".join(str(self.dice.between(0, 30)) for _ in range(self.dice.between(2, 3)))
        return start + numbers + (self.dice.choice(["-rc1", "-beta", "a1", "-dev"]) if self.dice.chance(0.12) else "")

    def mail(self) -> str:
        user = self.dice.one_of(
            lambda: self.word().lower(),
            lambda: self.name().lower(),
            lambda: f"{self.name().lower()}.{self.word().lower()}",
            lambda: f"{self.word()}{self.dice.between(1, 99)}",
        )
        return user + "@" + self.host()

    def file_name(self) -> str:
        stem = self.word()
        stem += self.dice.choice("_-") + self.word() if self.dice.chance(0.3) else ""
        stem += str(self.dice.between(1, 99)) if self.dice.chance(0.2) else ""
        return stem + "." + self.dice.choice(self.lexicon.extensions)

    def path(self) -> str:
        dice, word = self.dice, self.word
        directories, extensions = self.lexicon.directories, self.lexicon.extensions
        if dice.chance(0.06):
            short = [".", "..", "/", "~", "./", "/tmp", ".env", ".gitignore"]
            return dice.choice([*short, "./" + word(), "~/" + word(), "../" + word()])
        if dice.chance(0.03):
            return f"/{dice.choice(directories)}/{word()} {word()}.{dice.choice(extensions)}"
        depth = dice.between(0, 3)
        folder = "/".join(dice.choice(directories) if dice.chance(0.7) else word() for _ in range(depth))
        if dice.chance(0.6):
            last = self.file_name()
        else:
            last = word() if dice.chance(0.7) else word() + dice.choice("-_.") + word()
        if folder:
            return ("/" if dice.chance(0.7) else dice.choice(["./", "~/", ""])) + folder + "/" + last
        return last if dice.chance(0.5) else "/" + last

    def url(self) -> str:
        dice = self.dice
        address = dice.choice(["https://", "http://"]) + dice.choice(["", "www.", "api."]) + self.host()
        address += f":{dice.between(80, 9999)}" if dice.chance(0.08) else ""
        for _ in range(dice.between(0, 2)):
            address += "/" + (self.dotted_name() if dice.chance(0.15) else self.word())
        return address + (f"?{self.word()}={self.word()}" if dice.chance(0.08) else "")

    def glob(self) -> str:
        dice, word, extensions = self.dice, self.word, self.lexicon.extensions
        return dice.one_of(
            lambda: "*." + dice.choice(extensions),
            lambda: "**/*." + dice.choice(extensions),
            lambda: word() + "*",
            lambda: "*" + word() + "*",
            self.file_name,
            lambda: f"{word()}_*.{dice.choice(extensions)}",
            lambda: f"**/{word()}*",
        )

    # ---- times

    def clock_time(self) -> str:
        return f"{self.dice.between(0, 23):02}:{self.dice.between(0, 59):02}"

    def date(self) -> str:
        return f"{self.dice.between(1990, 2030)}-{self.dice.between(1, 12):02}-{self.dice.between(1, 28):02}"

    def timestamp(self) -> str:
        dice = self.dice
        start = f"{self.date()}{dice.choice('TTT ')}{self.clock_time()}:{dice.between(0, 59):02}"
        offsets = [
            "Z",
            "Z",
            "",
            "+00:00",
            f".{dice.between(0, 999):03}Z",
            f"+{dice.between(0, 12):02}:00",
            f"-{dice.between(0, 11):02}:{dice.choice(['00', '30'])}",
            f"+{dice.between(0, 12):02}:00",
        ]
        return start + dice.choice(offsets)

    def time_zone(self) -> str:
        dice = self.dice
        if dice.chance(0.08):
            fixed = f"Etc/GMT{dice.choice('+-')}{dice.between(1, 12)}"
            return dice.choice(["UTC", "GMT", "UTC", "Etc/UTC", "EST", fixed])
        if dice.chance(0.6):
            return dice.choice(self.lexicon.zones)
        continent = dice.choice(self.lexicon.continents)
        city = dice.choice(self.lexicon.cities) if dice.chance(0.6) else self.name()
        return f"{continent}/{city.replace(' ', '_')}"

    # ---- numbers, codes, expressions

    def integer(self) -> int:
        size, between = self.dice.fraction(), self.dice.between
        if size < 0.25:
            return between(0, 9)
        if size < 0.6:
            return between(10, 99)
        if size < 0.8:
            return between(100, 999)
        return between(1000, 99999) if size < 0.88 else -between(1, 999)

    def decimal(self) -> float:
        dice = self.dice
        number = dice.uniform(-90, 90) if dice.chance(0.4) else dice.uniform(0, 10 ** dice.between(1, 4))
        return round(number, dice.between(1, 3))

    def number(self) -> int | float:
        return self.integer() if self.dice.chance(0.6) else self.decimal()

    def few(self) -> int:
        return self.dice.between(1, 60)

    def days_to_shift(self) -> int:
        return self.dice.between(1, 400) * (1 if self.dice.chance(0.8) else -1)

    def phone(self) -> str:
        return self.dice.choice(["+", "+", ""]) + str(self.dice.between(10**6, 10**12))

    def hexadecimal(self, length: int) -> str:
        return "".join(self.dice.choice(HEXADECIMAL) for _ in range(length))

    def identifier(self) -> str:
        dice = self.dice
        return dice.one_of(
            self.jumble,
            lambda: "+" + str(dice.between(10**8, 10**11)),
            lambda: self.word() + "-" + self.word(),
            lambda: str(dice.between(1, 99999)),
            lambda: dice.choice("ABCXYZ") + dice.choice("QRT") + "-" + str(dice.between(1, 999)),
            lambda: self.invented_word() + "-" + str(dice.between(1, 99)),
            lambda: self.hexadecimal(dice.between(4, 8)),
        )

    def ticker(self) -> str:
        return "".join(self.dice.choice(string.ascii_uppercase) for _ in range(self.dice.between(2, 5)))

    def expression(self) -> str:
        dice = self.dice
        start = f"{dice.between(1, 99)} {dice.choice('+-*/')} {dice.between(1, 99)}"
        return start + (f" {dice.choice('+-*/')} {dice.between(1, 99)}" if dice.chance(0.3) else "")

    def sql(self) -> str:
        columns = self.dice.choice(["*", "count(*)", "id", "name"])
        statement = f"SELECT {columns} FROM {self.dice.choice(self.lexicon.nouns)}"
        return statement + (f" LIMIT {self.dice.between(1, 50)}" if self.dice.chance(0.4) else "")

    # ---- lists

    def strings(self) -> list[str]:
        draws = (self.word, self.word, self.name, self.file_name, self.path, self.dotted_name, self.phrase)
        return [self.dice.one_of(*draws) for _ in range(self.dice.between(1, 4))]

    def numbers(self) -> list[int | float]:
        count = self.dice.between(1, 6)
        return [self.decimal() if self.dice.chance(0.15) else self.integer() for _ in range(count)]
