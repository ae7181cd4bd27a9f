"""The word tables of the story generator: who can be in a story, and what they meet there.

Every table is text, one row a line, columns separated by `|` and lists by `;`, because it is read far more often than it
is parsed. Verbs are in their base form ("chase balls"); the generator conjugates them. Words are plain ASCII.
"""


def table(text):
    """Rows of stripped columns of a `|`-separated text table."""
    return [[col.strip() for col in line.split("|")] for line in text.strip().splitlines()]


def items(cell):
    """The entries of a `;`-separated cell."""
    return [part.strip() for part in cell.split(";") if part.strip()]


# kind | plural | what it says | where it lives | what it eats | what it does | colours | realm
ANIMALS = """
cat | cats | meow | in a warm house | fish; cheese; chicken | chase mice; sleep in the sun; climb trees; play with a ball of wool | black; white; grey; orange | land
dog | dogs | woof | in a small house with a red door | bones; meat; biscuits | chase balls; dig holes in the garden; run in the park; guard the house | brown; black; white | land
fox | foxes | yip | in a den under an old tree | berries; eggs; grapes | run through the forest; hide behind the bushes; hunt at night | red; orange | land
rabbit | rabbits | squeak | in a hole under the hill | carrots; grass; lettuce | hop in the meadow; dig long tunnels; nibble grass | white; brown; grey | land
bear | bears | roar | in a big cave | honey; berries; fish | climb the mountain; sleep all winter; catch fish in the river | brown; black; white | land
mouse | mice | squeak | in a tiny hole in the wall | cheese; crumbs; seeds | run along the wall; hide from the cat; nibble cheese | grey; brown; white | land
frog | frogs | croak | by a green pond | flies; bugs | jump into the pond; sit on a leaf; sing at night | green | land
duck | ducks | quack | by the lake | bread; seeds; snails | swim on the lake; splash in the water; walk in the rain | yellow; white; brown | land
owl | owls | hoot | in a hollow tree | mice; bugs | fly at night; sleep all day; watch the forest from a branch | brown; white; grey | land
pig | pigs | oink | on a farm | apples; corn; potatoes | roll in the mud; sleep in the straw; look for apples | pink | land
cow | cows | moo | on a green farm | grass; hay | give milk; stand in the meadow; walk to the barn | brown; black; white | land
horse | horses | neigh | in a stable | hay; apples; oats | run across the field; pull a cart; jump over the fence | brown; black; white | land
hen | hens | cluck | in a little hen house | corn; seeds; worms | lay eggs; scratch in the yard; sit on the nest | brown; white; red | land
sheep | sheep | baa | in a green meadow | grass; clover | give wool; walk up the hill; rest under a tree | white; black | land
goat | goats | bleat | on a steep hill | grass; leaves; hay | climb the rocks; jump from stone to stone; eat leaves | white; brown; grey | land
squirrel | squirrels | chatter | high in a tree | nuts; seeds; acorns | climb trees; hide nuts; jump from branch to branch | red; grey; brown | land
hedgehog | hedgehogs | snuffle | under a pile of leaves | bugs; apples; worms | roll into a ball; walk in the garden at night; sleep in the leaves | brown | land
bird | birds | tweet | in a nest | seeds; worms; berries | fly over the trees; sing in the morning; build a nest | blue; yellow; red; brown | land
bee | bees | buzz | in a busy hive | honey; nectar | fly from flower to flower; make honey; dance in the hive | yellow; black | land
ant | ants | click | in an ant hill | crumbs; seeds; leaves | carry crumbs; walk in a long line; build tunnels | black; red; brown | land
turtle | turtles | hum | near a quiet pond | leaves; lettuce; berries | walk slowly; hide in its shell; rest on a warm stone | green; brown | land
elephant | elephants | trumpet | in a wide green land | leaves; fruit; grass | splash in the river; carry logs; spray water | grey | land
lion | lions | roar | in the tall grass | meat | sleep in the shade; roar in the morning; walk across the plain | golden; yellow | land
monkey | monkeys | chatter | in the jungle | bananas; mangoes; nuts | swing from tree to tree; peel bananas; play tricks | brown; black | land
tiger | tigers | growl | in the jungle | meat; fish | walk in the tall grass; swim in the river; sleep in the shade | orange; white | land
penguin | penguins | honk | on the ice | fish | slide on the ice; swim in the cold sea; walk in the snow | black; white | land
snail | snails | hum | under a big leaf | leaves; lettuce | walk very slowly; carry its house; come out in the rain | brown; grey | land
butterfly | butterflies | hum | in a flower garden | nectar | fly from flower to flower; rest on a leaf; dance in the wind | blue; yellow; orange; white | land
kitten | kittens | mew | in a soft basket | fish; cream | chase its tail; play with a ball of wool; sleep in a basket | black; white; grey; orange | land
puppy | puppies | yap | in a cosy kitchen | bones; biscuits | chase balls; chew old shoes; run around the garden | brown; black; white | land
wolf | wolves | howl | in the dark forest | meat | howl at the moon; run in the snow; walk through the forest | grey; black; white | land
deer | deer | bleat | in the quiet forest | grass; leaves; berries | run through the forest; drink from the stream; jump over logs | brown | land
donkey | donkeys | bray | in an old barn | hay; carrots; oats | carry heavy bags; pull a cart; rest in the barn | grey; brown | land
goose | geese | honk | by the lake | grass; corn | swim on the lake; fly south; guard the farm | white; grey | land
parrot | parrots | squawk | in a tall palm tree | fruit; nuts; seeds | learn new words; fly over the jungle; sing loud songs | green; red; blue; yellow | land
beaver | beavers | squeak | by the river | leaves; bark | build dams; swim in the river; cut down trees | brown | land
mole | moles | squeak | under the garden | worms; bugs | dig tunnels; sleep under the ground; push up the earth | black; grey | land
giraffe | giraffes | hum | in a wide green land | leaves; fruit | eat from tall trees; run across the plain; look over the trees | yellow; brown | land
kangaroo | kangaroos | click | in a wide dry land | grass; leaves | jump very far; carry its baby; rest in the shade | brown; grey; red | land
panda | pandas | squeak | in a bamboo forest | bamboo | eat bamboo; climb trees; roll down the hill | black; white | land
spider | spiders | hum | in the corner of a barn | flies; bugs | spin webs; wait in its web; walk on the wall | black; brown; grey | land
swan | swans | honk | by the lake | grass; seeds | swim on the lake; clean its feathers; fly over the water | white; black | land
camel | camels | grunt | in the desert | grass; dates | walk across the sand; carry heavy bags; drink a lot of water | brown | land
lizard | lizards | hiss | under a warm stone | bugs; flies | lie in the sun; run up the wall; hide under a stone | green; brown | land
fish | fish | bubble | in the blue sea | weeds; bread | swim in the sea; hide in the weeds; blow bubbles | golden; blue; red; silver | sea
whale | whales | sing | in the deep sea | fish | swim across the sea; jump out of the water; sing under the sea | blue; grey; white | sea
crab | crabs | click | under a rock by the sea | weeds; snails | walk sideways; hide under a rock; dig in the sand | red; orange | sea
dolphin | dolphins | whistle | in the warm sea | fish | jump over the waves; swim beside the boats; play in the water | grey; blue | sea
octopus | octopuses | bubble | in a cave under the sea | crabs; shells | hide in its cave; swim very fast; wave its long arms | purple; red; orange | sea
seal | seals | bark | on a rock by the sea | fish | dive into the sea; lie on the rocks; clap its flippers | grey; brown | sea
dragon | dragons | roar | in a cave on the mountain | cake; soup; apples | fly over the castle; breathe fire; guard gold | green; red; golden | land
robot | robots | beep | in a workshop | batteries | clean the house; carry boxes; count to one hundred | silver; grey; blue | land
unicorn | unicorns | neigh | in a magic forest | grass; clover; apples | run over the rainbow; dance in the meadow; rest by the stream | white; silver | land
"""

# kind | sex | where they live | what they do
PEOPLE = """
boy | m | in a small town | climb trees; ride a bike; play with a ball
girl | f | in a small town | draw pictures; ride a bike; run in the garden
farmer | m | on a farm | plant corn; feed the hens; milk the cows
baker | m | above the bakery | bake bread; make cakes; sell rolls
king | m | in a big castle | ride a horse; rule the land; wear a crown
queen | f | in a big castle | ride a horse; rule the land; walk in the rose garden
prince | m | in a big castle | ride a horse; read books; play in the garden
princess | f | in a tall tower | read books; sing songs; look at the stars
knight | m | near the castle | ride a horse; guard the gate; carry a shield
wizard | m | in a tall tower | mix potions; read old books; feed an owl
witch | f | in a crooked house | mix potions; fly on a broom; feed a black cat
sailor | m | on a ship | sail the sea; tie knots; sing songs
pirate | m | on a ship | sail the sea; look for gold; read maps
teacher | f | near the school | read books; teach children; ring the bell
grandmother | f | in a cottage | knit socks; bake pies; tell stories
grandfather | m | in a cottage | fix clocks; grow beans; tell stories
painter | f | in a bright room | paint flowers; mix colours; draw trees
gardener | m | behind the garden | plant flowers; water the roses; pull weeds
doctor | f | in the town | help sick people; ride a bike; carry a black bag
fisherman | m | by the sea | catch fish; row a boat; mend nets
tailor | m | in a little shop | sew coats; cut cloth; mend trousers
giant | m | on the mountain | sleep under the clouds; walk over the hills; eat big pies
fairy | f | in a flower | fly over the meadow; grant wishes; dance in the moonlight
shepherd | m | on the hill | watch the sheep; play the flute; sleep under the stars
postman | m | in the village | carry letters; ride a bike; knock on doors
cook | f | in the palace | make soup; bake pies; peel potatoes
clown | m | in a circus | tell jokes; juggle balls; wear big shoes
astronaut | f | near the space centre | fly to the moon; look at the stars; float in space
"""

# kind | where it is at home | what it does
THINGS = """
boat | by the river | sail on the water; carry people; rock on the waves
train | in a station | roll along the track; carry people; blow its whistle
car | in a garage | drive along the road; honk its horn; carry children to school
truck | beside a big road | carry stones; drive up the hill; honk its horn
teapot | on a shelf in the kitchen | pour hot tea; keep tea warm; whistle softly
spoon | in a kitchen drawer | stir soup; shine in the light; lie in the drawer
cloud | high in the sky | float over the hills; bring rain; play with the wind
star | in the night sky | shine at night; watch over the world; twinkle
snowman | in a white garden | stand in the snow; wear a hat; smile at children
tree | on a green hill | give shade; hold a nest; wave in the wind
flower | in a garden | smell sweet; open in the morning; turn to the sun
lamp | on a small table | light the room; glow in the dark; stand on the table
clock | on the wall | tell the time; tick all day; ring at noon
balloon | in a toy shop | float in the air; dance in the wind; make children laugh
pumpkin | in a field | lie in the sun; grow round and big; sleep in the field
broom | behind the door | sweep the floor; stand in the corner; clean the house
bus | in a big garage | carry people; drive through the town; open its doors
plane | at the airport | fly over the clouds; carry people; land on the ground
moon | in the night sky | shine at night; watch over the sea; hide behind clouds
doll | in a toy box | sit on the shelf; wear a blue dress; drink tea with the teddy bear
teddy bear | on a soft bed | sit on the bed; hug children; listen to stories
kite | in a cupboard | fly in the wind; dance in the sky; pull at its string
shoe | under the bed | walk to school; splash in puddles; wait by the door
candle | on a table | burn softly; light the room; glow at night
"""

# Kinds with nothing but a name: they teach the model to carry any subject over from a request into its answer.
OTHER_KINDS = """
koala; otter; raccoon; moose; llama; lynx; toad; rooster; pony; calf; chick; duckling; foal; worm; ladybird; moth; bat;
rat; hamster; gecko; ostrich; peacock; pigeon; robin; crow; raven; eagle; hawk; stork; flamingo; leopard; cheetah;
gorilla; rhino; hippo; buffalo; reindeer; wombat; skunk; weasel; ferret; badger; cricket; grasshopper; firefly; sparrow;
swallow; turkey; lamb; piglet; cub; bull; mule; yak; sloth; jaguar; hyena; crocodile; dinosaur; snake; troll; elf; gnome;
ghost; monster; pixie; dwarf
"""

# The same for people.
OTHER_MEN = "hunter; miller; soldier; driver; builder; guard; butcher; captain"
OTHER_WOMEN = "singer; dancer; nurse; inventor; mermaid; shopkeeper; duchess; librarian"

# Kinds that no training text holds: the evaluation asks for them to see whether a subject is carried over.
HELD_OUT_KINDS = ["zebra", "walrus", "tractor", "beetle", "juggler", "pelican"]

BOY_NAMES = """
Tom; Ben; Max; Sam; Leo; Tim; Jack; Noah; Finn; Oscar; Paul; Adam; Luke; Hugo; Felix; Jim; Peter; Milo; Theo; Otto; Karl;
Omar; Ali; Ravi; Kenji; Marco; Pablo; Ivan; Erik; Nils; Rob; Dan; Toby; Bruno; Rex; Gus; Bob; Fred; Ned; Simon; David
"""
GIRL_NAMES = """
Lily; Anna; Mia; Sue; Emma; Ella; Zoe; Nora; Rosa; Lucy; Clara; Ida; Ruth; Jane; Mary; Kate; Amy; Eva; Olga; Nina; Maya;
Aisha; Fatima; Priya; Yuki; Lucia; Ines; Greta; Freya; Tina; Daisy; Molly; Polly; Bella; Luna; Mimi; Coco; Ruby; Hazel; Sally
"""

# place | preposition when there ("at the park") | realm
PLACES = """
park | in | land
forest | in | land
garden | in | land
beach | at | land
river | by | land
lake | by | land
meadow | in | land
hill | on | land
farm | on | land
market | at | land
village | in | land
field | in | land
old mill | near | land
castle | near | land
pond | by | land
bridge | on | land
orchard | in | land
playground | in | land
mountain | on | land
valley | in | land
old well | by | land
big oak tree | under | land
coral reef | near | sea
old ship | near | sea
deep water | in | sea
little bay | in | sea
rocks | near | sea
"""

SPOTS = {
    "land": "under a bush; behind a tree; in the tall grass; under a bench; behind a big rock; in a hole; beside the gate; "
            "under some leaves; behind the fence; in an old basket; between two stones; under the bridge",
    "sea": "under a rock; in the weeds; behind a big shell; in the sand; between two stones; inside an old jar; in a small cave",
}

# Things a hero can own, lose, find or give. Adjectives are chosen apart.
TOYS = "ball; kite; doll; drum; toy boat; toy car; teddy bear; whistle; puzzle; spinning top; rope; wagon"
WEAR = "hat; scarf; coat; blanket; umbrella; bag; cap; pair of boots; pair of gloves; ribbon"
TREASURES = "key; coin; shell; stone; feather; bell; ring; lamp; mirror; button; marble; pearl; box; bottle; map; book; star"
SEA_TREASURES = "key; coin; shell; stone; bell; ring; mirror; marble; pearl; bottle; bowl; star"
COLOURS = "red; blue; green; yellow; white; black; pink; purple; orange; brown; golden; silver"
LOOKS = "shiny; old; round; pretty; tiny; big; new; small; lovely; funny; strange"

TRAITS = "little; small; young; brave; kind; clever; happy; shy; curious; funny; lazy; gentle; quiet; friendly; busy; proud; silly"

DISHES = "soup; bread; a pie; a cake; pancakes; jam; a salad; biscuits; a stew; porridge"
INGREDIENTS = "flour; milk; eggs; butter; honey; salt; carrots; apples; berries; nuts; onions; sugar"
SNACKS = "apples; berries; nuts; bread; cheese; carrots; cake; biscuits; pears; soup; corn; plums; honey; pancakes"

PLANTS = "flower; sunflower; rose; bean plant; apple tree; pumpkin; carrot; tomato plant; strawberry plant; tulip"

# verb (base) | what goes wrong | what the hero can say at the end
SKILLS = """
swim | {h.C} splashed a lot, but sank like a stone | I can swim
sing | {h.C} opened {h.his} mouth, but only a funny squeak came out | I can sing
dance | {h.C} turned around too fast and fell over | I can dance
paint | the picture looked like a big brown spot | I can paint
read | the words looked like little black ants | I can read
whistle | no sound came out at all | I can whistle
juggle | all the balls fell on {h.his} head | I can juggle
skate | {h.C} slipped and sat down on the ice | I can skate
ride a bike | the bike wobbled and fell into a bush | I can ride a bike
play the drum | it only made a terrible noise | I can play the drum
climb | {h.C} slid down again and again | I can climb
bake bread | the bread was black and hard | I can bake bread
count | {h.C} forgot what comes after five | I can count
jump over the stream | {h.C} fell into the water with a splash | I can jump over the stream
tie a knot | the rope fell apart again | I can tie a knot
tell a joke | nobody laughed | I can tell a joke
"""

GAMES = "hide and seek; tag; with a ball; in the sand; catch; a guessing game; in the leaves; in the water; pirates; a jumping game"
SEA_GAMES = "hide and seek; tag; in the waves; catch; a guessing game; in the bubbles; with a shell; in the weeds"

NOISES = """
scratch, scratch | a small branch at the window
tap, tap | the rain on the roof
whoo, whoo | the wind in the trees
bump, bump | an apple that fell from the tree
creak, creak | the old door
rustle, rustle | some dry leaves
crunch, crunch | a hedgehog that ate an apple
drip, drip | water from the roof
"""

HOMES = """
in a little house; in a small cottage; near the forest; in a quiet valley; by the river; at the edge of the village; on a
green hill; under an old oak tree; near a blue lake; behind the old mill; in a big garden; at the end of a long road
"""

# Requests far outside the corpus, to which the model should say that it does not know: whole ones, and parts of them.
UNKNOWN = """
What is the capital of France?; Who was the first president?; Write a program in Python.; How do I fix my computer?;
What is 17 times 23?; Explain quantum physics.; What is the weather today?; Who won the world cup?; What is 2 + 2?;
How old is the universe?; What time is it?; What is the meaning of life?; Summarize this article.; Solve this equation.;
What is the largest country?; Can you help me with my homework?; What should I wear tomorrow?; What does this word mean?;
How tall is Mount Everest?; What is the speed of light?; What year is it?; Which phone should I buy?; Fix this code.;
How many people live in China?; Name three rivers.; List the planets.; Who wrote Hamlet?; How far is the sun?;
Translate this into German.; What is the square root of 144?; Give me five business ideas.; Why is the sky blue?
"""
UNKNOWN_FORMS = """
What is {0}?; Who invented {0}?; Explain {0}.; How does {0} work?; What do you know about {0}?; Where can I buy {0}?;
Write an essay about {0}.; Write a poem about {0}.; Give me facts about {0}.; How do I learn {0}?; Who discovered {0}?;
What is the history of {0}?; What is the price of {0}?; Why is {0} important?; Is {0} dangerous?; Compare {0} and {1}.;
What is the difference between {0} and {1}?; How much is {0}?; When did {0} begin?; Teach me {0}.
"""
UNKNOWN_TOPICS = """
physics; chemistry; machine learning; the stock market; democracy; photosynthesis; gravity; the internet; Python; French;
electricity; a black hole; the Roman Empire; the second world war; a neural network; WebAssembly; quantum mechanics; algebra;
the periodic table; a vaccine; inflation; DNA; the moon landing; jazz; football; coffee; Bitcoin; a database; evolution;
an atom; a laptop; Paris; London; America; Shakespeare; Einstein; the economy; a virus; philosophy; yoga; a contract
"""
