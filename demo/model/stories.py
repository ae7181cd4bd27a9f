"""The plots: each is one function that tells a short story with cause and effect through a `Tale`.

The hero is always the slot `h`, the place `p`, a friend `f` and a thing `o`. Beside its sentences a plot notes facts,
questions with their answers, from which the chat samples make follow-up turns.
"""
import words
from cast import KINDS, Thing, capital, draw_name, draw_place, draw_thing, draw_who, expand, with_articles

PLOTS = []
ANYONE = ("animal", "child", "person", "other", "thing")
YOUNG = ("animal", "child", "other")

ONE_DAY = "One [|sunny |warm |cold |windy |bright |quiet |fine ][day|day|morning|afternoon], "
HAPPY_END = ("[They were both very happy.|From that day on, they were [best|good] friends.|{h.C} and {f.N} were friends "
             "from that day on.|{h.C} went home with a big smile.|It was a wonderful day.|That night, {h.N} slept very "
             "well.|]")
FRIENDS = {
    "land": [k.kind for k in KINDS.values() if k.group == "animal" and k.realm == "land"]
            + ["boy", "girl", "farmer", "baker", "knight", "wizard", "gardener", "fairy", "shepherd", "sailor"],
    "sea": [k.kind for k in KINDS.values() if k.realm == "sea"],
}
# What differs between the land and the sea: slot | on land | in the sea.
BY_REALM = {
    "stray": ("[followed a butterfly|went too far from home|walked and walked]",
              "[followed a little light|went too far from home|swam and swam]"),
    "homeward": ("[past the old mill|over the hill|along the road|through the dark forest]",
                 "[past the reef|around the rocks|through the tall weeds]"),
    "far": ("[over a bridge and up a hill|past a big tree and a small stream|through a field and a dark wood]",
            "[past a reef and around a big rock|through the weeds and into a dark cave|past an old ship and a big stone]"),
    "trap": ("[in the mud|in a deep hole|in a thorny bush|under a fallen branch|between two rocks]",
             "[in a net|under a heavy stone|in the weeds|between two rocks]"),
    "cure": ("[hot soup|a red apple|warm tea|some honey|a sweet pear]", "[a fresh leaf|a sweet weed|a shiny shell]"),
    "outside": ("ran outside", "swam outside"),
    "progress": ("[Step by step|Little by little]", "Little by little"),
    "game": ("[" + "|".join(words.items(words.GAMES)) + "]", "[" + "|".join(words.items(words.SEA_GAMES)) + "]"),
    "toys": (words.TOYS, words.SEA_TREASURES),
    "treasures": (words.TREASURES, words.SEA_TREASURES),
}


def plot(theme, realms=("land",), groups=("animal", "child", "person", "other")):
    """Registers a plot: the theme one may ask for, and the heroes that it suits."""
    def register(function):
        PLOTS.append((function, theme, realms, groups))
        return function
    return register


class Tale:
    """One story in the making: the sentences so far, the cast, and the facts that can be asked about.

    `want` holds what a request fixed: name, sex, trait, place, friend (a kind), thing, theme.
    """

    def __init__(self, rng, kind, want):
        self.rng, self.want, self.realm = rng, want, kind.realm
        self.sentences, self.facts = [], []
        named = rng.random() < (0.9 if kind.kind in ("boy", "girl") else 0.65)
        self.hero = draw_who(rng, kind, named, (), want.get("name", ""), want.get("trait"), want.get("sex", ""))
        self.cast = [self.hero]
        self.slots = {"h": self.hero, "p": draw_place(rng, self.realm, want.get("place", ""))}

    def fill(self, template):
        """A template with every hole filled, its first letter in upper case."""
        return capital(with_articles(expand(self.rng, template).format(**self.slots)).strip())

    def say(self, *templates):
        """Adds sentences; one that comes out empty is left out."""
        self.sentences += [s for s in map(self.fill, templates) if s]

    def fact(self, question, answer):
        self.facts.append((self.fill(question), self.fill(answer)))

    def let(self, **slots):
        """Fills slots for the rest of the story, each with one expansion of a template."""
        for slot, template in slots.items():
            self.slots[slot] = expand(self.rng, template)

    def by_realm(self, key):
        """The template for the hero's realm."""
        return BY_REALM[key][0 if self.realm == "land" else 1]

    def friend(self, *kinds, slot="f", trait=None):
        """Casts a character of another kind and mostly of another sex: of one of these kinds, or any of the realm."""
        wanted = self.want.get("friend", "") if slot == "f" else ""
        present = [who.kind for who in self.cast]
        if not wanted:
            wanted = self.rng.choice([k for k in kinds or FRIENDS[self.realm] if k not in present])
        sex = {"m": "f", "f": "m", "n": ""}[self.hero.sex] if self.rng.random() < 0.8 else ""
        who = draw_who(self.rng, KINDS[wanted], self.rng.random() < 0.5, [w.name for w in self.cast], "", trait, sex)
        self.cast.append(who)
        self.slots[slot] = who

    def thing(self, table):
        self.slots["o"] = draw_thing(self.rng, table, self.want.get("thing", ""))

    def spot(self):
        """A hiding place, as slot s."""
        self.slots["s"] = self.rng.choice(words.items(words.SPOTS[self.realm]))

    def opening(self):
        """Introduces the hero in one to three sentences, and notes who it is and where it lives."""
        rng, hero = self.rng, self.hero
        at_home = rng.random() < 0.45
        if at_home:
            self.say("[Once upon a time, {h.intro} lived|Long ago, {h.intro} lived|Once there was {h.intro} who lived|"
                     "Once upon a time, there was {h.intro} who lived] {h.home}.")
        elif hero.name and rng.random() < 0.35:
            self.say("{h.N} was {h.a}.")
        else:
            self.say("[Once upon a time, there was|Once upon a time, there was|There once was|Once there was] {h.intro}.")
        if not at_home and rng.random() < 0.3:
            at_home = True
            self.say("{h.He} lived {h.home}.")
        if hero.does and rng.random() < 0.45:
            self.say("{h.He} [loved|liked] to {h.does}.")
            self.fact("What did {h.N} [like|love] to do?", "{h.C} [loved|liked] to {h.does}.")
        if hero.name:
            self.fact("[What was the name of {h.the}|What was {h.the} called]?",
                      "[{h.The} was called {h.N}|The name of {h.the} was {h.N}].")
        if at_home:
            self.fact("Where did {h.N} live?", "{h.C} lived {h.home}.")

    def text(self):
        return " ".join(self.sentences)


@plot("something lost", ("land", "sea"))
def lost_thing(t):
    t.thing(t.by_realm("toys"))
    t.friend()
    t.spot()
    t.opening()
    t.say("{h.C} had {o.a}. [It was {h.his} favourite toy.|{h.He} loved it very much.|{h.He} took it everywhere.|"
          "It was a gift from {h.his} [mother|father|grandmother].]",
          ONE_DAY + "{h.N} went {p.to} [with the {o.n}|to play with the {o.n}].",
          "[But when {h.he} looked around, the {o.n} was gone.|But then {h.he} could not find the {o.n}.|"
          "Suddenly, the {o.n} was gone.]",
          '"[Oh no|Oh dear]! Where is my {o.n}?" [said|cried|asked] {h.N}. {h.He} was very [sad|upset|unhappy].',
          'Then {f.intro} came by. "[What is wrong|Why are you so sad|What happened]?" asked {f.N}.',
          '"I lost my {o.n}," said {h.N}. "[Do not worry|Do not cry]. I will help you [find it|look for it]," said {f.N}.',
          "[They looked everywhere.|They looked here and there.|They looked for a long time.]",
          '[At last, {f.N} looked {s}, and there was the {o.n}!|Then {f.N} found the {o.n} {s}!|"Look!" said {f.N}. '
          'The {o.n} was {s}!]',
          '"[Thank you|Thank you so much|Oh, thank you], my friend!" said {h.N}.', HAPPY_END)
    t.fact("What did {h.N} lose?", "{h.C} lost {h.his} {o.d}.")
    t.fact("Who helped {h.N}?", "{f.C} helped {h.N}.")
    t.fact("Where was the {o.n}?", "The {o.n} was {s}.")


@plot("a new friend", ("land", "sea"), ANYONE)
def new_friend(t):
    t.friend()
    t.let(g=t.by_realm("game"))
    t.opening()
    t.say("{h.C} [was often alone|had no friends|was lonely]. [{h.He} wanted a friend to play with.|"
          '"I wish I had a friend," {h.he} said.]')
    if t.hero.group == "thing":
        t.say(ONE_DAY + "{f.intro} came by and saw {h.N}.")
    else:
        t.say(ONE_DAY + "{h.N} went {p.to} and met {f.intro}.")
    t.say('"[Hello|Hello there|Hi]!" said {h.N}. "[Do you want to play with me|Will you play with me|Can we be friends]?"',
          '"[Yes|Oh yes|Yes, please]!" said {f.N}. "[I was alone, too|I would love to|That would be fun]."',
          "They played {g} [all day|until the sun went down|all afternoon][| and laughed a lot].",
          "[{h.C} was not lonely any more.|Now {h.N} was very happy.|{h.C} felt warm and happy.]", HAPPY_END)
    t.fact("Who did {h.N} meet?", "{h.C} met {f.intro}.")
    t.fact("What did they play?", "They played {g}.")


@plot("food", ("land", "sea"))
def hungry(t):
    t.friend(trait="")
    t.let(e="[" + "|".join(t.hero.eats or words.items(words.SNACKS)) + "]")
    t.opening()
    t.say(ONE_DAY + "{h.N} was very hungry. [There was nothing to eat at home.|{h.His} tummy made a loud noise.|]",
          "{h.He} went {p.to} to look for {e}. [{h.He} looked for a long time.|{h.He} looked here and there.|]",
          '[At last|Then|After a while], {h.he} found [a lot of|some|plenty of] {e}. "[How lucky I am|What a feast|Yum]!" '
          "said {h.N}.",
          "Just then, {f.intro} came by. {f.C} looked [thin|tired|sad|weak]. "
          '"I [am so hungry|have not eaten all day|have nothing to eat]," said {f.N}.',
          '{h.C} [thought for a moment|looked at the {e}|smiled]. "[Come and eat with me|We can share|There is enough for '
          'two]," said {h.N}.',
          "They sat down [|side by side ]and ate together. [The {e} tasted very good.|Soon they were both full.|]",
          '[{h.C} learned that food tastes better when you share it.|"You are very kind," said {f.N}.|'
          '"Thank you," said {f.N}. "You are a good friend."]', HAPPY_END)
    t.fact("What did {h.N} find?", "{h.C} found some {e}.")
    t.fact("Who was hungry, too?", "{f.C} was hungry, too.")


@plot("the rain")
def rain(t):
    t.friend()
    t.let(s="[under a big tree|under a bridge|in an old barn|in a dry cave|under a big leaf|in a little hut]")
    t.opening()
    t.say("One [|warm |quiet |fine ][day|morning|afternoon], {h.N} [went for a walk {p.at}|went {p.to} to play|was {p.at}].",
          "[Suddenly|Then|After a while], the sky [turned grey|became dark] and it began to rain. "
          "[The wind blew hard.|There was loud thunder.|]",
          "{h.C} was [wet and cold|cold and scared|very wet]. {h.He} ran and hid {s}.",
          "There {h.he} [met|saw] {f.intro}.",
          '"[Come in|Come here|Sit next to me]," said {f.N}. "[It is dry here|You can wait here with me|There is room for '
          'two]."',
          "They sat [close together|side by side] and [told stories|sang songs|listened to the rain].",
          "[Soon|After some time|At last], the rain stopped and the sun came out. [There was a beautiful rainbow in the "
          "sky.|A big rainbow stood over the hills.|]",
          '["Thank you," said {h.N}. "The storm was not so bad with you."|{h.C} was not scared any more.|'
          "They jumped in the puddles and laughed.]", HAPPY_END)
    t.fact("Where did {h.N} hide?", "{h.C} hid {s}.")
    t.fact("Who did {h.N} meet?", "{h.C} met {f.intro}.")


@plot("a strange noise", ("land",), ANYONE)
def noise(t):
    sound, cause = t.rng.choice(words.table(words.NOISES))
    t.let(n=capital(sound), c=cause)
    t.opening()
    t.say("One [dark|cold|windy|quiet] night, {h.N} [was in bed|could not sleep|woke up].",
          'There was a strange noise. "{n}!" it went.',
          '{h.C} was [scared|afraid|very scared]. "[Is it a monster|Who is there|What is that]?" {h.he} whispered.',
          "The noise came again. [{h.C} hid under the blanket.|{h.C} did not move at all.|{h.His} heart went thump, thump.]",
          "[Then|At last|But then], {h.N} [was brave|took a deep breath|took a little lamp] and went to look.",
          "It was [only|just] {c}! {h.C} [laughed|began to laugh|had to laugh].",
          '"[How silly I was|I was afraid of nothing|There is no monster here]," {h.he} said.',
          "[{h.C} went back to bed and slept until morning.|Soon {h.N} was fast asleep.|After that, {h.N} was not afraid "
          "of the dark any more.]")
    t.fact("What was the noise?", "It was only {c}.")
    t.fact("Why was {h.N} scared?", "{h.C} was scared because there was a strange noise.")


@plot("learning something new", ("land",), ANYONE)
def learn(t):
    skill, failure, boast = t.rng.choice(words.table(words.SKILLS))
    t.friend()
    t.let(k=skill, b=boast)
    t.opening()
    t.say("{h.C} [wanted to learn to|wished to learn how to|wanted so much to] {k}.",
          ONE_DAY + "{h.he} [tried|tried it for the first time]. " + "[But|Oh dear,] " + failure.replace("{h.C}", "{h.he}") + ".",
          '{h.C} was [sad|angry|ashamed]. "[I will never learn it|It is too hard|I cannot do it]!" {h.he} said.',
          '{f.intro} saw it. "[Try again|Do not give up]! I will [help you|show you how]," said {f.N}.',
          "[Every day, {h.N} tried again.|{h.C} tried again and again.|They practised every [day|morning].]",
          '[At last, it worked|One day, it worked|After a week, it worked]! "[Look|Hooray|See]! {b}!" [cried|shouted|said] '
          "{h.N}.",
          "[{f.C} clapped and cheered.|{f.C} was very proud of {h.him}.|{h.C} was very proud.]",
          "[{h.C} learned that you must not give up.|{h.C} was so happy that {h.he} could not stop smiling.|"
          "Now {h.N} does it every day.|]")
    t.fact("What did {h.N} learn?", "{h.C} learned to {k}.")
    t.fact("Who helped {h.N}?", "{f.C} helped {h.N}.")


@plot("helping a friend", ("land", "sea"))
def stuck(t):
    t.friend(trait="")
    t.let(w=t.by_realm("trap"))
    t.opening()
    t.say(ONE_DAY + "{h.N} was [on the way|going] {p.to}. [Suddenly|Then], {h.he} heard a [small|weak|sad] voice.",
          '"[Help|Help me|Please help me]!" It was {f.intro}. {f.C} was stuck {w}.',
          '"[I am coming|Do not worry|Wait]!" said {h.N}. "I will [help you|get you out]."',
          "{h.C} [pulled and pulled|pulled as hard as {h.he} could|pushed and pulled], but {f.N} did not move.",
          "[Then {h.N} had an idea.|{h.C} did not give up.] {h.He} [found a long rope|called the others|took a strong stick] "
          "and tried [again|once more].",
          '[Pop|Plop|Whoosh]! {f.C} was free. "[Thank you|You saved me|You are so strong]!" said {f.N}.',
          '["That is what friends are for," said {h.N}.|{h.C} was glad that {h.he} could help.|{f.C} hugged {h.N}.]',
          HAPPY_END)
    t.fact("Who was stuck?", "{f.C} was stuck {w}.")
    t.fact("Who helped {f.N}?", "{h.C} helped {f.N}.")


@plot("sharing", ("land", "sea"))
def quarrel(t):
    t.friend()
    t.thing(t.by_realm("toys"))
    t.opening()
    t.say("[{h.His} friend was {f.intro}.|{h.C} had a friend. It was {f.intro}.]",
          ONE_DAY + "they found {o.a} {p.at}.",
          '"[It is mine|I saw it first|Give it to me]!" said {h.N}. "No, [it is mine|I want it|I saw it first]!" said {f.N}.',
          "They [pulled and shouted|were very angry|did not want to share]. Then [{f.N} began to cry|{h.N} began to cry|they "
          "did not talk to each other].",
          '{h.C} [felt bad|was sorry|thought about it]. "[I am sorry|Please forgive me|I was not nice]. '
          '[You can have it first|We can share it|Let us play together]," {h.he} said.',
          '"[I am sorry, too|That is a good idea|Yes, that is better]," said {f.N}.',
          "[They took turns with the {o.n}.|They played with the {o.n} together.|They shared the {o.n} all afternoon.]",
          "[It is much more fun to share.|{h.C} learned that sharing is fun.|They were friends again.|They never fought "
          "again.]")
    t.fact("What did they find?", "They found {o.a}.")
    t.fact("Who was the friend of {h.N}?", "The friend of {h.N} was {f.intro}.")


@plot("a birthday", ("land", "sea"))
def birthday(t):
    t.friend()
    t.thing(t.by_realm("treasures"))
    t.opening()
    t.say("[{h.His} best friend was {f.intro}.|{h.C} had a good friend. It was {f.intro}.]",
          "[One day, it|Soon it|Then it] was the birthday of {f.N}. {h.C} wanted to give {f.him} [a nice gift|something "
          "special|a present].",
          "{h.He} [had no money|did not know what to give]. So {h.he} went {p.to} to [think|look for something].",
          'There {h.he} [found|saw|picked up] {o.a}. "[This is just right|That is perfect|{f.C} will love it]," said {h.N}.',
          "{h.He} [put it in a box|tied a ribbon around it|wrapped it in a big leaf] and took it to {f.N}.",
          '"[Happy birthday|Surprise]!" said {h.N}. {f.C} opened the gift and [smiled|laughed with joy|jumped for joy].',
          '"[It is beautiful|I love it|What a lovely gift]! Thank you, [dear friend|my friend]," said {f.N}.',
          "[They ate cake and sang songs.|They danced until the evening.|It was the best birthday ever.|{h.C} was happy, "
          "too.]")
    t.fact("What did {h.N} give to {f.N}?", "{h.C} gave {f.N} {o.a}.")
    t.fact("Whose birthday was it?", "It was the birthday of {f.N}.")


@plot("a garden")
def plant(t):
    t.slots["o"] = Thing(t.rng.choice(words.items(words.PLANTS)), t.rng.choice(("big", "beautiful", "tall", "lovely")))
    t.friend()
    t.opening()
    t.say(ONE_DAY + '{h.N} found a [tiny|small|round] seed {p.at}. ["What is this?" {h.he} asked.|]',
          "{h.He} [planted it in the ground|put it into the earth|planted it in the garden] and gave it [some water|water "
          "every day].",
          '{f.intro} [laughed|came by and laughed]. "[Nothing will grow there|It is only a seed|That takes too long]," said '
          "{f.N}.",
          "But {h.N} [waited and waited|was patient|did not listen]. [The sun shone and the rain fell.|Days and weeks went "
          "by.]",
          "[Then|One morning], a little green leaf came out of the ground. It grew [taller and taller|bigger and "
          "bigger|every day].",
          "[In the end|At last|In summer], there was {o.a}. {h.C} was [so proud|very proud|very happy].",
          '"[How lovely|You were right|I was wrong]," said {f.N}. [{h.C} smiled.|{h.C} gave {f.him} a new seed.|"You only '
          'have to wait," said {h.N}.]')
    t.fact("What did {h.N} plant?", "{h.C} planted a [tiny|small|little] seed.")
    t.fact("What grew in the garden?", "{o.a} grew there.")


@plot("building something")
def build(t):
    what, foe = t.rng.choice((("sand castle", "a big wave"), ("snowman", "the warm sun"), ("tree house", "a strong wind"),
                              ("tower of stones", "a strong wind"), ("boat", "a big wave"),
                              ("bridge", "the wild river"), ("hut of sticks", "a strong wind")))
    t.slots.update(o=Thing(what, t.rng.choice(("big", "fine", "strong", "beautiful"))), x=foe)
    t.friend()
    t.opening()
    t.say(ONE_DAY + "{h.N} wanted to build a {o.n}. {h.He} worked [all day|very hard|for hours].",
          "[When it was ready, {h.N} was very proud.|It looked very good.|At last, the {o.n} was ready.]",
          "But then {x} came, and the {o.n} was [broken|gone]. {h.C} [sat down and cried|was very sad|wanted to give up].",
          '{f.intro} came by and saw {h.him}. "[Do not be sad|Do not cry|Let us try again]. [We can build it again|I will '
          'help you|Two can do more than one]," said {f.N}.',
          "They worked together, and [soon|in the evening] they had {o.a}. It was even [better|bigger|stronger] than the "
          "first one.",
          '[{h.C} was happy again.|"Together we are strong," said {h.N}.|"Thank you for your help," said {h.N}.]', HAPPY_END)
    t.fact("What did {h.N} build?", "{h.C} built a {o.n}.")
    t.fact("Who helped {h.N}?", "{f.C} helped {h.N}.")


@plot("a race", ("land", "sea"))
def race(t):
    t.friend()
    t.let(v=t.by_realm("progress"))
    t.opening()
    t.say("[{h.C} was not very fast.|{h.C} was slow, but {h.he} never gave up.]",
          ONE_DAY + '{f.intro} said, "I am the fastest [here|of all]. [Nobody can beat me!|Who wants to race with me?]"',
          '"[I will race with you|Let us race|I will try]," said {h.N}. {f.C} [laughed|laughed out loud].',
          "They began the race [in the morning|at noon] {p.at}. {f.C} was [far ahead|very fast], and {h.N} was [slow|far "
          "behind].",
          '"I have [a lot of|so much] time," thought {f.N}, and [lay down to sleep|stopped to rest|stopped to eat].',
          "But {h.N} went on and on. [{h.He} did not stop.|{v}, {h.he} came closer.|]",
          "[When {f.N} looked up, it was too late.|{f.C} started again, but it was too late.] {h.C} had won the race!",
          '[Everyone cheered.|All the others clapped.|"Well done," said {f.N}.] [{f.C} learned not to brag.|'
          "{h.C} was very proud.|{f.C} never laughed at {h.him} again.]")
    t.fact("Who won the race?", "{h.C} won the race.")
    t.fact("Why did {f.N} lose?", "{f.C} lost because {f.he} stopped too soon.")


@plot("the way home", ("land", "sea"), YOUNG)
def lost_way(t):
    t.friend()
    t.let(x=t.by_realm("stray"), w=t.by_realm("homeward"))
    t.opening()
    t.say(ONE_DAY + "{h.N} {x}. [Soon|In the evening], {h.he} was [far away from home|all alone] {p.at}.",
          '"[Where am I|How do I get home]?" said {h.N}. {h.He} was lost and [began to cry|very scared|did not know what to '
          "do].",
          'Then {h.he} [saw|met] {f.intro}. "[Please help me!|Can you help me?] I [am lost|cannot find my way home]," said '
          "{h.N}.",
          '"[Follow me|Come with me|I know the way]," said {f.N}. "[It is not far|I will show you the way|You will be home '
          'soon]."',
          "They went {w} [|together ]and came to {h.his} home.",
          '{h.His} mother [was waiting at the door|was so glad|hugged {h.him}]. "[There you are|I missed you so much|Welcome '
          'home]!" she said.',
          "[{h.C} thanked {f.N} and went to bed.|{h.C} never went so far away again.|{h.C} was safe and happy.]")
    t.fact("Who showed {h.N} the way?", "{f.C} showed {h.N} the way home.")
    t.fact("Why was {h.N} sad?", "{h.C} was sad because {h.he} was lost.")


@plot("a wish", ("land",), ANYONE)
def wish(t):
    t.thing("lamp; coin; ring; star; bottle; shell; bell; mirror")
    t.friend(trait="")
    t.let(x="[{h.N} found {o.a} {p.at}|{h.N} saw {o.a} on the ground]" if t.hero.group != "thing"
          else "{h.N} saw {o.a} on the ground", y="[well|happy again|never sad again]")
    t.opening()
    t.say(ONE_DAY + t.slots["x"] + ". [It was shining in the sun.|It was very strange.|]",
          'A voice said, "I am a magic {o.n}. You have one wish."',
          "{h.C} thought for a long time. {h.He} wanted [a big cake|a lot of gold|a new house|to be very strong].",
          "But then {h.he} saw {f.intro}, who was [sick|very sad|all alone|poor and cold].",
          '"I wish that {f.N} is {y}," said {h.N}.',
          '[At once|In a flash], {f.N} began to [smile|laugh|dance]. "[Thank you, dear {h.kind}|How kind you are]," said '
          "{f.N}.",
          "[{h.C} did not need gold any more.|{h.C} had found a friend, and that was better than gold.|The {o.n} was gone, "
          "but {h.N} had a new friend.]")
    t.fact("What did {h.N} find?", "{h.C} found {o.a}.")
    t.fact("What did {h.N} wish?", "{h.C} wished that {f.N} was {y}.")


@plot("cooking")
def cook(t):
    t.friend()
    t.let(d="[" + "|".join(words.items(words.DISHES)) + "]", i="[" + "|".join(words.items(words.INGREDIENTS)) + "]")
    t.let(v="were" if t.slots["i"].endswith("s") else "was")
    t.opening()
    t.say(ONE_DAY + "{h.N} wanted to make {d}. {h.He} [put on a white apron|took a big bowl|took a big pot].",
          'But there {v} no more {i}. "[What can I do now?|Oh dear!]" said {h.N}.',
          '{h.C} went to {f.intro} and asked, "[Do you have some {i}|Can you give me some {i}]?"',
          '"[Yes, of course|Of course|Here you are]," said {f.N}. "[May I help you|Can I come and help|What are you '
          'making]?"',
          "They [mixed and stirred|cooked together|worked side by side]. [Soon it smelled wonderful.|The kitchen was warm "
          "and smelled good.|]",
          '[Then|In the evening], they sat down and ate. "[It is delicious|This is very good|Yum]," said {f.N}.',
          "[{h.C} smiled.|They ate until they were full.|They gave some to all the neighbours.|There was even some left "
          "for the next day.]")
    t.fact("What did {h.N} make?", "{h.C} made {d}.")
    t.fact("What did {h.N} need?", "{h.C} needed {i}.")


@plot("going to sleep", ("land",), ANYONE)
def sleepless(t):
    t.friend()
    t.let(y="[the sea|the moon|a little star|the wind]")
    t.opening()
    t.say("One [night|evening], {h.N} could not sleep. [The moon was too bright.|It was too quiet.|{h.He} was thinking "
          "about the day.|]",
          "[{h.He} turned to the left and to the right.|{h.He} counted the stars.|{h.He} drank some water.] But {h.he} was "
          "still awake.",
          'Then {f.intro} [looked in at the window|came by|heard {h.him}]. "Why are you not asleep?" asked {f.N}.',
          '"I [do not know|am not tired|cannot close my eyes]," said {h.N}.',
          "So {f.N} [sang a soft song|told a long story|whispered a little poem] about {y}.",
          "{h.C} listened. {h.His} eyes became [heavy|small|tired]. [Soon|Slowly], {h.he} fell asleep.",
          '"[Good night|Sleep well|Sweet dreams]," [said|whispered] {f.N}[| and went home].')
    t.fact("Who came to {h.N}?", "{f.C} came to {h.N}.")
    t.fact("What was the song or the story about?", "It was about {y}.")


@plot("telling the truth", ("land",), YOUNG)
def truth(t):
    t.thing("vase; plate; cup; window; lamp; bowl; mirror; clock; teapot; jar; pot")
    t.friend("grandmother", "grandfather", "teacher", "baker", "farmer", "cook", "bear", "goat", "painter", "tailor")
    t.opening()
    t.say("One [day|afternoon], {h.N} was playing in the house of {f.intro}. {h.He} [ran too fast|jumped too high|was not "
          "careful] and [hit|bumped into] {o.the}.",
          "[Crash|Crack|Bang]! The {o.n} was broken. {h.C} was [scared|afraid|very sorry].",
          '"[I could hide it|I could say it was the wind|Nobody saw me]," thought {h.N}. But {h.he} [felt bad|did not want '
          "to lie].",
          'So {h.he} went to {f.N} and said, "I broke your {o.n}. [I am so sorry|Please forgive me|It was my fault]."',
          '{f.C} [was quiet for a moment|looked at {h.him}|was not angry]. "[Thank you for telling the truth|It was brave to '
          'tell me|It is good that you told me]," said {f.N}.',
          "[They cleaned the floor together.|They fixed it with some glue.|Then {f.N} hugged {h.him}.] "
          "[{h.C} felt much better.|{h.C} was glad.|{h.C} learned that it is best to tell the truth.]")
    t.fact("What did {h.N} break?", "{h.C} broke {o.the}.")
    t.fact("Was {f.N} angry?", "No, {f.N} was not angry.")


@plot("a treasure", ("land", "sea"))
def treasure(t):
    t.friend()
    t.thing(t.by_realm("treasures"))
    t.spot()
    t.let(w=t.by_realm("far"))
    t.opening()
    t.say(ONE_DAY + "{h.N} found an old map. [There was a red cross on it.|It showed the way to a treasure.]",
          '{h.C} went to {h.his} friend, {f.intro}. "Look at this! [Let us find the treasure!|Will you come with me?]" '
          "{h.he} said.",
          "They went {w} until they came {p.to}.",
          "There they [began to dig|looked everywhere]. [At last|Then|Suddenly], {f.N} found an old chest {s}.",
          'In the chest was {o.a}. "[How beautiful|What a treasure|We did it]!" said {h.N}.',
          "[They shared the treasure.|They took it home together.|But the best treasure was a good friend.|They told the "
          "story to everyone.]")
    t.fact("What was in the chest?", "In the chest was {o.a}.")
    t.fact("Where was the chest?", "The chest was {s}.")


@plot("school", ("land",), YOUNG)
def school(t):
    t.friend()
    t.friend("owl", "goose", "bear", "turtle", "elephant", "lion", slot="g")
    t.opening()
    t.say('Soon it was the first day of school. {h.C} was [nervous|shy|a little scared]. "[What if nobody likes me|What if '
          'I am all alone]?" {h.he} asked.',
          '"[You will see, it will be fun|Do not worry|Just be kind]," said {h.his} [mother|father|grandmother].',
          'The teacher was {g.intro}. "[Welcome|Good morning]! [Please sit down|Find a seat]," said {g.N}.',
          '{h.C} sat next to {f.intro}. "[Hello|Hi], I am new here," said {h.N}. "[So am I|Me, too]," said {f.N}.',
          "They [sang|painted|counted|read] together and [shared their lunch|played in the yard|laughed a lot].",
          'When {h.N} came home, {h.he} said, "[School is fun|I have a new friend|I want to go again tomorrow]!"')
    t.fact("Who was the teacher?", "The teacher was {g.intro}.")
    t.fact("Who sat next to {h.N}?", "{f.C} sat next to {h.N}.")


@plot("being useful", ("land",), ("thing",))
def useful(t):
    t.friend("boy", "girl", "farmer", "baker", "wizard", "mouse", "cat", "bird")
    t.opening()
    t.say("[But nobody needed {h.him} any more.|But everyone had forgotten {h.him}.|But {h.he} was old, and nobody looked at "
          "{h.him}.] {h.C} was [sad|lonely|very sad].",
          '"[I wish someone needed me,|What am I good for?|Nobody wants me,]" {h.he} thought.',
          ONE_DAY + "{f.intro} came by. {f.C} [looked at|saw|stopped in front of] {h.N} and smiled.",
          '"[What a lovely {h.kind}!|I need a~ {h.kind} like you,|You are just right for me,]" {f.he} said.',
          "From then on, {h.N} could help every day. [{h.He} worked hard and was never sad again.|{h.C} was [proud and "
          "happy|very proud].|{h.C} and {f.N} were always together.]",
          '[Everyone is good for something.|"It is good to help," said {h.N}.|"Now I am happy," said {h.N}.]')
    t.fact("Why was {h.N} sad?", "{h.C} was sad because nobody needed {h.him}.")
    t.fact("Who came by?", "{f.C} came by.")


@plot("kindness", ("land", "sea"))
def kindness(t):
    t.friend(trait="")
    t.opening()
    t.say("One [cold winter|winter|year], {f.intro} was [hungry|cold|sick and weak]. Nobody wanted to help {f.him}.",
          "But {h.N} [was kind|had a good heart]. {h.He} [gave {f.N} some food|took {f.N} home|brought {f.N} a warm meal]. "
          '"[You will be well soon|Stay with me]," {h.he} said.',
          '{f.C} [got better|grew strong again] and said, "[I will never forget this|One day, I will help you, too|You are so '
          'kind]."',
          "[Later|In spring|Some time later], {h.N} [fell into a deep hole|was caught in a net|was in danger] {p.at}. "
          '"[Help|Please help]!" {h.he} [cried|called].',
          "{f.C} heard it and [came at once|came as fast as {f.he} could]. {f.He} [pulled {h.him} out|set {h.him} free|saved "
          "{h.him}].",
          '"You helped me, and now I have helped you," said {f.N}. [A kind deed is never lost.|They were friends '
          "forever.|{h.C} hugged {f.him}.]")
    t.fact("Who saved {h.N}?", "{f.C} saved {h.N}.")
    t.fact("Why did {f.N} help?", "{f.C} helped because {h.N} had been kind.")


@plot("being sick", ("land", "sea"))
def sick(t):
    t.friend()
    t.let(e=t.by_realm("cure"), x=t.by_realm("outside"))
    t.opening()
    t.say(ONE_DAY + "{h.N} was sick. [{h.His} head was hot.|{h.He} felt very weak.|] {h.He} had to stay in bed.",
          '"[How boring!|I am so sad,|I want to play,]" {h.he} said. [Outside, the others were playing.|{h.He} felt very '
          "alone.|]",
          'Then there was a knock at the door. It was {f.intro}. "I [heard|was told] that you are sick," said {f.N}.',
          "{f.C} brought {e} and [told a funny story|read from a book|sang a little song]. {h.C} [laughed|began to "
          "smile|felt better].",
          '"You are the best [medicine|friend] of all," said {h.N}.',
          "[The next day|After two days|Soon], {h.N} was well again, and they [played together|went {p.to}|{x}].")
    t.fact("What did {f.N} bring?", "{f.C} brought {e}.")
    t.fact("Why was {h.N} in bed?", "{h.C} was sick.")


@plot("finding something", ("land", "sea"))
def give_back(t):
    t.friend()
    t.thing(words.TREASURES + "; " + words.WEAR if t.realm == "land" else words.SEA_TREASURES)
    t.opening()
    t.say(ONE_DAY + '{h.N} was {p.at}. There {h.he} found {o.a}. "[How nice!|What is this?|How pretty!]" said {h.N}.',
          "{h.C} [wanted to keep it|liked it very much]. But then {h.he} thought, \"[Someone has lost it|It is not "
          'mine|Someone may miss it]."',
          'So {h.he} asked everyone, "Is this your {o.n}?" But they all said no.',
          "[At last|Then|In the evening], {h.he} met {f.intro}. {f.C} was [looking for something|sad]. \"[That is my "
          '{o.n}|You found my {o.n}|My {o.n}]!" said {f.N}.',
          '{h.C} gave it back. "[Thank you so much|You are very honest|How kind of you]," said {f.N}, and gave {h.him} [a '
          "hug|a cake|a flower].",
          "[{h.C} went home and was very happy.|{h.C} knew that it was right.|{h.C} had no {o.n}, but {h.he} had a new "
          "friend.]")
    t.fact("What did {h.N} find?", "{h.C} found {o.a}.")
    t.fact("Who had lost the {o.n}?", "{f.C} had lost the {o.n}.")


def day_out(rng):
    """A story of two children, told in the plural."""
    first, sex = draw_name(rng, "n")
    tale = Tale(rng, KINDS["girl" if sex == "f" else "boy"], {"name": first, "trait": "", "sex": sex})
    tale.slots["m"], _ = draw_name(rng, "m" if sex == "f" else "f", (first,))
    tale.friend("dog", "cat", "duck", "bird", "rabbit", "farmer", "squirrel", "frog")
    tale.thing(words.TOYS)
    tale.let(g=tale.by_realm("game"))
    tale.say("{h.N} and {m} [were friends|were brother and sister|lived in the same village]."
             if rng.random() < 0.6 else "",
             ONE_DAY + "{h.N} and {m} went {p.to}. [They took {o.a} with them.|The sun was shining.|They were very happy.|]",
             '"[What can we do|What shall we play]?" asked {h.N}. "[Let us play|We can play] {g}," said {m}.',
             "They [ran and jumped|played and laughed|played for a long time]. Then they saw {f.intro}.",
             '{f.C} [looked sad|was all alone|looked at them]. "[Come and play with us!|Do you want to play with us?]" said '
             "{m}.",
             "[So they all played together.|Then they were three, and it was even more fun.|They shared their lunch with "
             "{f.N}.]",
             "In the evening, {h.N} and {m} went home. They were [tired but happy|tired|hungry and happy]. "
             '["That was a good day," said {h.N}.|"Can we go again tomorrow?" asked {m}.|]')
    return tale


def tell(rng, kind_name, want=None):
    """A finished `Tale` about a hero of that kind, by a plot that suits it (`want["theme"]` fixes the plot)."""
    kind, want = KINDS[kind_name], want or {}
    fitting = [function for function, theme, realms, groups in PLOTS
               if kind.realm in realms and kind.group in groups and want.get("theme", theme) == theme]
    tale = Tale(rng, kind, want)
    rng.choice(fitting)(tale)
    return tale
