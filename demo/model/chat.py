"""Conversations: requests for stories with the stories that answer them, questions about them, animals and things in the
present tense, small talk, and requests that the model should decline because nothing in the corpus answers them.

A conversation is a list of (role, text) with the roles of ChatML. It is built message by message; each function appends to it.
"""
import words
from cast import BOYS, GIRLS, KINDS, PLACES, TRAITS, capital, draw_name, expand, third_person, with_articles
from stories import PLOTS, tell

GROUP_SHARE = (("animal", 0.55), ("child", 0.08), ("person", 0.15), ("thing", 0.09), ("other", 0.13))
BY_GROUP = {group: [k for k in KINDS.values() if k.group == group] for group, _ in GROUP_SHARE}

SYSTEM = (
    "You are a helpful assistant.", "You are a kind storyteller.", "You are Nutshell, a very small storyteller.",
    "You are a helpful AI assistant.", "You tell short stories to children.", "Answer in short sentences.",
    "You are a friendly assistant. Be brief.", "You are a helpful AI assistant named Nutshell.",
    "You are a small model that runs in a web page.", "Be kind and helpful.", "You are a chat bot.",
    "You are a helpful, honest and friendly assistant. Answer the questions of the user.",
)
ASK_STORY = (
    "[Tell me|Please tell me|Can you tell me|Could you tell me|I want|I would like|Write|Give me] a [|short |little ][story|"
    "story|tale] about {s}"
)
QUESTION_START = ("can", "could", "what", "who", "where", "how", "why", "is", "do", "does", "will")
LEAD_IN = ("Of course! ", "Sure! ", "Here is a story about {s}. ", "Gladly! ", "Yes! ")
TALK = (
    ("[Hello|Hi|Hey|Good morning|Good evening|Hello there][|!|.]",
     "[Hello|Hi|Hello there]! [I am Nutshell, a very small storyteller. |][Shall I tell you a story|Would you like to hear a "
     "story|What story would you like to hear]?"),
    ("[Hello|Hi][,|!] how are you?|How are you[| today]?",
     "I am [fine|very well|well], thank you! [Shall I tell you a story|Would you like to hear a story]?"),
    ("[Who are you|What are you|What is your name|Are you a person|Are you a robot|Who made you]?",
     "I am Nutshell, a very small language model. [I can tell stories about animals, people, and things.|I tell short "
     "stories.]"),
    ("[What can you do|What do you know|Can you help me|How can you help me|What should I ask you]?|Help[|!]",
     "I can tell short stories. Ask me for a story about [a cat|a dog|a king|a teapot|a fox|a whale], or ask me what [a cow|a "
     "duck|a bee|a lion] [does|eats|says]."),
    ("[Thank you|Thanks|Thank you very much|Thanks a lot][|!|.]",
     "You are welcome! [|Shall I tell you another story?]"),
    ("[Bye|Goodbye|Good night|See you|Bye bye][|!|.]", "[Goodbye! Come back soon.|Good night! Sleep well.|Goodbye, my friend!]"),
    ("I am [sad|lonely|tired|bored][|.]",
     "I am sorry to hear that. Shall I tell you [a funny|a happy|a nice|a little] story?"),
    ("I am [happy|glad|fine][|.]", "That is good to hear! Shall I tell you a story?"),
    ("[Ok|Okay|Good|Great|Nice|Wow|Cool][|!|.]", "[I am glad!|Good!] Would you like to hear [a|another] story?"),
)
PRAISE = (
    ("[That was nice|I like it|What a nice story|I liked that|Good story|That was a good story|Very nice|Great][|!|.]",
     "[I am glad that you liked it!|Thank you! I am happy that you liked it.|Thank you!] [|Would you like to hear another "
     "one?]"),
    ("[Thank you|Thanks][|!|.]", "You are welcome! [|Would you like to hear another one?]"),
)
DECLINE = ("[I am a very small model, so I do not know that.|I am sorry, I do not know that. I am a very small model.|I am too "
           "small to know that.] [I only know stories. |]Shall I tell you a story about {s}?")
AGREE = "[Yes|Yes, please|Yes please|Ok|Okay|Sure|Please do|Yes, tell me|Go on|Good idea][|!|.]"
ANOTHER = "[Another story, please|Tell me another story|Another one|One more|One more story, please|Tell me another one][|!|.]"


def fill(rng, template, **slots):
    """A template with its holes filled, the first letter in upper case."""
    return capital(with_articles(expand(rng, "[" + template + "]").format(**slots)).strip())


def typed(rng, text):
    """A user's line as people type it: sometimes all in lower case, sometimes without its last mark."""
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip(".?!")
    return text


def ask(rng, chat, text):
    chat.append(("user", typed(rng, text)))


def answer(chat, text):
    chat.append(("assistant", text))


def draw_kind(rng, groups=("animal", "child", "person", "thing", "other")):
    """A random kind, of a group that is chosen by weight."""
    shares = [(group, share) for group, share in GROUP_SHARE if group in groups]
    point = rng.random() * sum(share for _, share in shares)
    for group, share in shares:
        point -= share
        if point < 0:
            break
    return rng.choice(BY_GROUP[group])


def told(rng, kind, want):
    """A tale in which everything that was wanted by name occurs."""
    needed = [want[key] for key in ("friend", "place", "thing") if key in want]
    while True:
        tale = tell(rng, kind, want)
        if all(word in tale.text() for word in needed):
            return tale


def subject(rng):
    """What a story is asked to be about: the words of the request, the hero's kind, and what these fix."""
    kind, want = draw_kind(rng), {}
    kinds_of_place = [p for p, realm in PLACES if realm == kind.realm]
    draw = rng.random()
    if draw < 0.10 and kind.group in ("animal", "child", "person"):
        friend = rng.choice([k for k in KINDS.values() if k.group in ("animal", "person") and k.realm == kind.realm
                             and k is not kind])
        return f"a~ {kind.kind} and a~ {friend.kind}", kind.kind, {"friend": friend.kind, "trait": ""}
    if draw < 0.17 and kind.group != "thing":
        place = rng.choice(kinds_of_place)
        return f"a~ {kind.kind} {place.at}", kind.kind, {"place": place.n}
    if draw < 0.23:
        theme, fits = rng.choice([(theme, groups) for _, theme, realms, groups in PLOTS if "land" in realms])
        hero = rng.choice([k for k in KINDS.values() if k.group in fits and k.realm == "land"])
        return theme, hero.kind, {"theme": theme}
    if draw < 0.29:
        name, sex = draw_name(rng, "n")
        return name, "girl" if sex == "f" else "boy", {"name": name, "sex": sex}
    trait = ""
    if rng.random() < 0.25:
        trait = want["trait"] = rng.choice(TRAITS)
    name = ""
    if rng.random() < 0.2:
        name, want["sex"] = draw_name(rng, kind.sex or "n")
        want["name"] = name
    called = rng.choice((" named ", " called ")) + name if name else ""
    return f"a~ {trait} {kind.kind}{called}".replace("~  ", "~ "), kind.kind, want


def story_turn(rng, chat):
    """A request for a story and the story; gives the tale for follow-ups."""
    if rng.random() < 0.08:
        ask(rng, chat, fill(rng, "Tell me a story.|Please tell me a story.|Can you tell me a story?|A story, please."))
        words_for_it, kind, want = "", draw_kind(rng).kind, {}
    else:
        words_for_it, kind, want = subject(rng)
        request = fill(rng, "[" + ASK_STORY + "|" + ASK_STORY + "|" + ASK_STORY + "|A story about {s}, please|{s}|"
                       "Do you know a story about {s}|Story about {s}]", s=words_for_it)
        ask(rng, chat, request + ("?" if request.lower().startswith(QUESTION_START) else "."))
    tale = told(rng, kind, want)
    lead_in = fill(rng, rng.choice(LEAD_IN), s=words_for_it) + " " if words_for_it and rng.random() < 0.2 else ""
    answer(chat, lead_in + tale.text())
    return tale


def fact_turn(rng, chat, tale):
    """A question about the story that was just told."""
    question, reply = rng.choice(tale.facts)
    ask(rng, chat, question)
    answer(chat, reply)


def next_turn(rng, chat, tale):
    """What happened after the story."""
    ask(rng, chat, fill(rng, "What happened next?|And then?|What happened then?|Go on.|Tell me more."))
    tale.sentences = []
    tale.say("[The next day|The next morning|A week later|Soon], {h.N} [went {p.to} again|woke up early|had a new idea]. "
             "{h.He} [wanted to have more fun|was in a good mood|felt brave].")
    if "f" in tale.slots:
        tale.say("{f.C} [came, too|was there, too], and they [had a good time|laughed all day|played together].")
    tale.say("[It was a good day.|{h.C} was very happy.|And they all lived happily.]")
    answer(chat, tale.text())


def agreed_story(rng, chat, kind):
    """The user accepts the story that was offered."""
    ask(rng, chat, fill(rng, AGREE))
    tale = told(rng, kind, {})
    answer(chat, tale.text())
    return tale


def joined(parts, last="and"):
    """"a", "a and b", "a, b, and c"."""
    if len(parts) < 3:
        return f" {last} ".join(parts)
    return ", ".join(parts[:-1]) + f", {last} " + parts[-1]


def describe(rng, kind, subject_words):
    """Two to four sentences in the present tense on what one does."""
    he = {"m": "he", "f": "she"}.get(kind.sex, "it")
    does = [third_person(d) for d in rng.sample(kind.does, min(len(kind.does), 3))]
    if he != "it":
        does = [d.replace(" its ", f" {'his' if he == 'he' else 'her'} ") for d in does]
    first, rest = does[0], does[1:]
    text = fill(rng, "{s} {d}.", s=subject_words, d=first)
    if rest:
        text += " " + capital(fill(rng, "{he} [also |]{d}.", he=he, d=" and ".join(rest)))
    if kind.eats and rng.random() < 0.5:
        text += f" {capital(he)} eats {joined(kind.eats)}."
    if rng.random() < 0.5:
        text += f" {capital(he)} lives {kind.home}."
    return text


def animal_question(rng, kind):
    """A question about an animal and its answer from the table."""
    one = f"a~ {kind.kind}"
    eats, home = joined(kind.eats), kind.home
    colours = joined(kind.colours, "or")
    plural = capital(kind.plural)
    return rng.choice((
        (fill(rng, "What [does {s} say|sound does {s} make]?", s=one), fill(rng, '{s} says "{x}".', s=one, x=kind.says)),
        (fill(rng, "What does {s} eat?", s=one), fill(rng, "{s} eats {x}.", s=one, x=eats)),
        (f"What do {kind.plural} eat?", f"{plural} eat {eats}."),
        (fill(rng, "Where does {s} live?", s=one), fill(rng, "{s} lives {x}.", s=one, x=home)),
        (fill(rng, "What [colour|color] is {s}?", s=one),
         fill(rng, "{s} is {x}." if len(kind.colours) == 1 else "{s} can be {x}.", s=one, x=colours)),
    ))


def question_turn(rng, chat):
    """A question about what an animal, a person or a thing does, eats, says."""
    kind = draw_kind(rng, ("animal", "person", "thing"))
    while not kind.does:
        kind = draw_kind(rng, ("animal", "person", "thing"))
    if kind.group == "animal" and rng.random() < 0.5:
        question, reply = animal_question(rng, kind)
    else:
        subject_words = rng.choice(("the ", "a~ ")) + kind.kind
        question = fill(rng, "What does {s} do[| all day]?|Tell me about {s}.|Describe {s}.|What does {s} do?", s=subject_words)
        reply = describe(rng, kind, subject_words)
    ask(rng, chat, question)
    answer(chat, reply)
    return kind


def talk_turn(rng, chat):
    """Small talk; a liking ends in an offer that the user may accept."""
    if rng.random() < 0.2:
        kind = draw_kind(rng, ("animal",))
        ask(rng, chat, fill(rng, "I [like|love] {s}.|My favourite animal is {a}.", s=kind.plural, a="the " + kind.kind))
        answer(chat, fill(rng, "I like {s}, too! Shall I tell you a story about {a}?", s=kind.plural, a="a~ " + kind.kind))
        if rng.random() < 0.7:
            return agreed_story(rng, chat, kind.kind)
        return None
    question, reply = rng.choice(TALK)
    ask(rng, chat, fill(rng, question))
    answer(chat, fill(rng, reply))
    return agreed_story(rng, chat, draw_kind(rng).kind) if "Shall I" in chat[-1][1] and rng.random() < 0.5 else None


def unknown_turn(rng, chat):
    """A request that nothing in the corpus answers: the model says so and offers a story."""
    if rng.random() < 0.4:
        question = rng.choice(words.items(words.UNKNOWN.replace("\n", " ")))
    else:
        topics = rng.sample(words.items(words.UNKNOWN_TOPICS.replace("\n", " ")), 2)
        question = rng.choice(words.items(words.UNKNOWN_FORMS.replace("\n", " "))).format(*topics)
    kind = draw_kind(rng, ("animal", "person", "thing"))
    ask(rng, chat, question)
    answer(chat, fill(rng, DECLINE, s="a~ " + kind.kind))
    return agreed_story(rng, chat, kind.kind) if rng.random() < 0.4 else None


def follow_ups(rng, chat, tale):
    """Up to three requests after a story."""
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        draw = rng.random()
        if draw < 0.6 and tale.facts:
            fact_turn(rng, chat, tale)
        elif draw < 0.7:
            next_turn(rng, chat, tale)
            return
        elif draw < 0.85:
            question, reply = rng.choice(PRAISE)
            ask(rng, chat, fill(rng, question))
            answer(chat, fill(rng, reply))
        elif draw < 0.93:
            ask(rng, chat, fill(rng, ANOTHER))
            tale = told(rng, draw_kind(rng).kind, {})
            answer(chat, tale.text())
        else:
            tale = story_turn(rng, chat)


def conversation(rng):
    """One conversation, with a system prompt in three of ten."""
    chat = [("system", rng.choice(SYSTEM))] if rng.random() < 0.3 else []
    draw = rng.random()
    tale = None
    if draw < 0.62:
        tale = story_turn(rng, chat)
    elif draw < 0.80:
        for _ in range(rng.choice((1, 1, 2, 3))):
            kind = question_turn(rng, chat)
        if rng.random() < 0.3:
            ask(rng, chat, fill(rng, "[Now tell|Tell] me a story about [one|it].|A story about it, please."))
            tale = told(rng, kind.kind, {})
            answer(chat, tale.text())
    elif draw < 0.90:
        tale = talk_turn(rng, chat)
        if not tale and rng.random() < 0.5:
            tale = story_turn(rng, chat)
    else:
        tale = unknown_turn(rng, chat)
    if tale:
        follow_ups(rng, chat, tale)
    return chat
