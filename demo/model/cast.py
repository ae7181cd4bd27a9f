"""Who and what a story is about: characters with their pronouns, places, things, and the template language.

A template is a sentence with two kinds of placeholders. `[a|b|c]` is replaced by a random alternative (they nest, and an
alternative may be empty); `{h.his}` is filled from the story's cast. `a~ word` becomes "a word" or "an word" by the sound of
the word. Every random choice comes from the one generator that the story was given.
"""
import re

import words

ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
ARTICLE = re.compile(r"\b([Aa])~ (\w+)")
PRONOUNS = {
    "m": ("he", "him", "his", "himself"),
    "f": ("she", "her", "her", "herself"),
    "n": ("it", "it", "its", "itself"),
}


def expand(rng, template):
    """Replaces every `[a|b]` by one of its alternatives, the innermost first."""
    while True:
        match = ALTERNATIVES.search(template)
        if not match:
            return template
        template = template[:match.start()] + rng.choice(match.group(1).split("|")) + template[match.end():]


def capital(text):
    """The text with its first letter, which may follow a quotation mark, in upper case."""
    for i, char in enumerate(text):
        if char.isalpha():
            return text[:i] + char.upper() + text[i + 1:]
    return text


def with_articles(text):
    """Settles `a~`: "an" before a vowel sound, else "a"."""
    def settle(match):
        word = match.group(2)
        vowel = word[0].lower() in "aeiou" and not word.lower().startswith(("uni", "use", "one"))
        return match.group(1) + ("n " if vowel else " ") + word
    return ARTICLE.sub(settle, text)


def third_person(phrase):
    """"chase balls" to "chases balls"."""
    verb, _, rest = phrase.partition(" ")
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + (" " + rest if rest else "")


class Kind:
    """What all cats, or all kings, or all teapots share.

    `group` is "animal", "child", "person", "thing", or "other" where nothing but the name is known.
    """

    def __init__(self, kind, group, sex="", plural="", says="", home="", eats=(), does=(), colours=(), realm="land"):
        self.kind, self.group, self.sex, self.plural, self.says = kind, group, sex, plural, says
        self.home, self.eats, self.does, self.colours, self.realm = home, eats, does, colours, realm


def load_kinds():
    """Every kind of the word tables, by name, in the order of the tables."""
    kinds = {}
    for kind, plural, says, home, eats, does, colours, realm in words.table(words.ANIMALS):
        kinds[kind] = Kind(kind, "animal", "", plural, says, home, words.items(eats), words.items(does),
                           words.items(colours), realm)
    for kind, sex, home, does in words.table(words.PEOPLE):
        group = "child" if kind in ("boy", "girl") else "person"
        kinds[kind] = Kind(kind, group, sex, home=home, does=words.items(does))
    for kind, home, does in words.table(words.THINGS):
        kinds[kind] = Kind(kind, "thing", home=home, does=words.items(does))
    for kind in words.items(words.OTHER_KINDS.replace("\n", " ")):
        kinds[kind] = Kind(kind, "other")
    for table, sex in ((words.OTHER_MEN, "m"), (words.OTHER_WOMEN, "f")):
        for kind in words.items(table):
            kinds[kind] = Kind(kind, "person", sex)
    return kinds


KINDS = load_kinds()
BOYS = words.items(words.BOY_NAMES.replace("\n", " "))
GIRLS = words.items(words.GIRL_NAMES.replace("\n", " "))
HOMES = words.items(words.HOMES.replace("\n", " "))
TRAITS = words.items(words.TRAITS)


def invented_name(rng):
    """A name that no list holds, so that names are copied from the request and not only recalled."""
    syllables = [rng.choice("BDFGKLMNPRSTVZ").lower() + rng.choice("aeiou") for _ in range(rng.choice((2, 2, 2, 3)))]
    return capital("".join(syllables) + rng.choice(("", "", "", "n", "s")))


class Who:
    """A character. `name` may be empty: then the story says "the cat"."""

    def __init__(self, kind, sex, name, trait, home, does):
        self.kind, self.sex, self.name, self.trait, self.home, self.does = kind.kind, sex, name, trait, home, does
        self.group, self.eats, self.realm = kind.group, kind.eats, kind.realm
        self.the = "the " + kind.kind
        self.The = "The " + kind.kind
        self.N = name or self.the
        self.C = name or self.The
        self.he, self.him, self.his, self.himself = PRONOUNS[sex]
        self.He, self.His = capital(self.he), capital(self.his)
        self.a = "a~ " + (trait + " " if trait else "") + kind.kind
        self.named = " named " + name if name else ""
        self.intro = self.a + self.named


def draw_name(rng, sex, taken=()):
    """A name of that sex (either, for "n") with another initial than the names that are taken, and its sex."""
    if sex == "n":
        sex = rng.choice("mf")
    initials = {name[0] for name in taken if name}
    while True:
        name = invented_name(rng) if rng.random() < 0.08 else rng.choice(BOYS if sex == "m" else GIRLS)
        if name[0] not in initials:
            return name, sex


def draw_who(rng, kind, named, taken=(), name="", trait=None, sex=""):
    """A character of that kind; what is not given is random. `sex` is a preference, which the kind or a known name overrides.

    Without a name, an animal or a thing is "it".
    """
    if name:
        sex = kind.sex or ("m" if name in BOYS else "f" if name in GIRLS else sex or rng.choice("mf"))
    elif named:
        name, sex = draw_name(rng, kind.sex or sex or "n", taken)
    else:
        sex = kind.sex or "n"
    if trait is None:
        trait = rng.choice(TRAITS) if rng.random() < 0.7 else ""
    does = rng.choice(kind.does).replace(" its ", " " + PRONOUNS[sex][2] + " ") if kind.does else ""
    return Who(kind, sex, name, trait, kind.home or rng.choice(HOMES), does)


class Place:
    """A place: `n` "park", `the` "the park", `at` "in the park", `to` "to the park"."""

    def __init__(self, n, preposition):
        self.n, self.the = n, "the " + n
        self.at, self.to = f"{preposition} the {n}", f"to the {n}"


PLACES = [(Place(name, preposition), realm) for name, preposition, realm in words.table(words.PLACES)]


def draw_place(rng, realm, name=""):
    """A place of that realm, or the named one."""
    return rng.choice([p for p, where in PLACES if (p.n == name if name else where == realm)])


class Thing:
    """A thing: `n` "kite", `d` "red kite", `a` "a red kite", `the` "the red kite"."""

    def __init__(self, n, adjective):
        self.n, self.d = n, f"{adjective} {n}"
        self.a, self.the = "a~ " + self.d, "the " + self.d


def draw_thing(rng, table, name=""):
    """A thing of a `;`-separated table, or the named one, with a colour or a look."""
    adjective = rng.choice(words.items(words.COLOURS if rng.random() < 0.6 else words.LOOKS))
    return Thing(name or rng.choice(words.items(table)), adjective)
