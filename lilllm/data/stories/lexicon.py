# ruff: noqa: E501 (one sentence is one line)
"""The words of the story world: names, animals, places, things and what they are like.

Facts only (what a thing looks like, how it breaks, where it can hide); sentences live
in `scenes` and in the plots.
"""

from typing import NamedTuple

GIRLS = tuple(
    "Mia Lily Anna Rosa Nora Ella Zoe Ruby Clara Ivy Maya Lucy Sara Tess June Hana Amy Molly "
    "Emma Dora Nina Leah Priya Alma Kate Wren Bea Lola Jane Fern Kim Olive Sofia Ada".split()
)
BOYS = tuple(
    "Ben Tom Sam Leo Max Tim Finn Omar Jack Noah Theo Luca Eli Hugo Jay Kofi Will Oscar Ravi "
    "Dan Joe Adam Milo Ian Pete Alex Nick Toby Ned Kenji Felix Paul Gus Otto".split()
)
ANIMAL_GIRLS = tuple("Pip Hazel Daisy Poppy Tilly Dot Clover Honey Willow Mimi Pearl Tansy".split())
ANIMAL_BOYS = tuple(
    "Bramble Rusty Biscuit Moss Nutmeg Barley Pepper Tuck Bolt Twig Flint Ozzy".split()
)
NAMES = frozenset(GIRLS + BOYS + ANIMAL_GIRLS + ANIMAL_BOYS)

HEROES = tuple(
    "rabbit bear fox mouse squirrel hedgehog otter badger beaver mole raccoon panda "
    "chipmunk hamster cat dog".split()
)
"""Animals that walk, talk and carry things in stories: all of them have paws."""

ACTIVITIES = (
    "paint pictures", "climb trees", "sing silly songs", "dig deep holes", "build tall towers",
    "draw funny faces", "jump in puddles", "run fast", "bake little cakes", "read old books",
    "dance in the kitchen", "hop on one foot", "count the clouds", "collect smooth stones",
    "whistle happy tunes", "swim like a fish", "roll down hills", "splash in the pond",
    "play hide and seek", "watch the clouds", "tell jokes", "skip down the lane",
    "explore new places", "pick wild berries", "chase butterflies", "make mud pies",
    "swing very high", "clap and stamp", "feed the ducks", "ask questions", "listen to stories",
    "spin in circles", "sail paper boats", "plant seeds", "wave at the birds", "laugh at funny hats",
)  # fmt: skip
"""What a hero loves to do; the first word is the verb."""


class Place(NamedTuple):
    """A place out of doors that a child or a woodland animal can walk to."""

    noun: str
    at: str
    """Where somebody is, such as `in the park`."""
    spots: tuple[str, ...]
    """Where a small thing can lie unseen."""
    detail: str
    """A sentence of what one sees or hears there."""
    busy: tuple[str, str]
    """Something to do there that takes both hands: as `to ...` and in the past tense."""


PLACES = (
    Place("park", "in the park", ("under a bench", "behind the big oak tree", "beside the fountain"),
          "Pigeons walked up and down as if they owned the place.",
          ("feed the pigeons", "fed the pigeons")),
    Place("beach", "at the beach", ("behind a gray rock", "under some seaweed", "beside a sandcastle"),
          "The waves rolled in and out, in and out.",
          ("build a sandcastle", "built a sandcastle")),
    Place("woods", "in the woods", ("under a pile of leaves", "beside a fallen log", "behind a mossy stump"),
          "Dry leaves crunched at every step.",
          ("climb over a log", "climbed over a log")),
    Place("garden", "in the garden", ("under the cabbage leaves", "behind the shed", "between two flower pots"),
          "Fat bees buzzed around the flowers.",
          ("water the flowers", "watered the flowers")),
    Place("meadow", "in the meadow", ("in the tall grass", "beside an ant hill", "under a yellow flower"),
          "The grass was so tall that it tickled.",
          ("pick flowers", "picked flowers")),
    Place("pond", "by the pond", ("among the reeds", "under a willow tree", "beside a muddy log"),
          "A frog sat on a leaf and blinked.",
          ("throw bread to the ducks", "threw bread to the ducks")),
    Place("hill", "on the hill", ("behind a round rock", "in a patch of clover", "under a thorny bush"),
          "From the top, the whole village looked as small as a toy.",
          ("roll down the grass", "rolled down the grass")),
    Place("farm", "on the farm", ("in the hay", "behind the barn", "under the old cart"),
          "The hens clucked and scratched in the dust.",
          ("pet the goats", "petted the goats")),
    Place("market", "at the market", ("under an apple cart", "behind a stack of boxes", "next to the bread stand"),
          "It smelled of warm bread and ripe peaches.",
          ("carry the bread", "carried the bread")),
    Place("orchard", "in the orchard", ("under an apple tree", "beside the ladder", "behind a basket of pears"),
          "Ripe apples hung from every branch.",
          ("pick apples", "picked apples")),
    Place("river", "by the river", ("between two wet stones", "under the bridge", "among the ferns"),
          "The water hurried along and sparkled.",
          ("skip stones", "skipped stones")),
    Place("field", "in the field", ("beside the old fence", "between two rows of corn", "behind the scarecrow"),
          "A scarecrow in a torn hat stood all alone in the middle.",
          ("shake hands with the scarecrow", "shook hands with the scarecrow")),
)  # fmt: skip


class Thing(NamedTuple):
    """A thing somebody can own and carry."""

    noun: str
    looks: tuple[str, ...]
    """Adjectives that suit it."""
    play: str
    """What one does with it: completes `to ...`, with `it` for the thing."""


def _things(table: str) -> tuple[Thing, ...]:
    rows = (line.split("|") for line in table.strip().splitlines())
    return tuple(
        Thing(noun.strip(), tuple(looks.split()), play.strip()) for noun, looks, play in rows
    )


TOYS = _things("""
ball|red blue yellow round|bounce it against the wall
doll|soft little pretty old|give it tea
kite|red yellow purple long|fly it in the wind
boat|wooden white tiny green|sail it in the tub
drum|loud round golden new|beat it and march
whistle|silver shiny loud tin|blow it like a train
truck|yellow big strong green|fill it with sand
train|wooden green long fast|push it along the floor
robot|silver shiny square funny|make it walk
puppet|silly woolly striped funny|make it talk in a funny voice
teddy|fluffy brown soft old|hug it at night
wagon|red wooden small sturdy|pull it up and down the lane
horn|brass loud shiny golden|blow it in the morning
flute|wooden thin silver long|play a tune on it
hoop|orange light round big|roll it down the path
""")
KEEPSAKES = _things("""
button|golden shiny round blue|polish it
shell|pink smooth white curly|hold it to one ear
marble|green glass blue tiny|roll it along the floor
ring|silver thin shiny pretty|wear it on Sundays
key|old rusty golden tiny|wonder what it opens
coin|gold old shiny copper|flip it in the air
bell|tiny brass silver bright|ring it
feather|long white soft blue|tickle noses with it
ribbon|purple silky yellow pink|tie it in a bow
stone|smooth flat gray lucky|rub it with one thumb
necklace|blue pretty glass long|wear it to parties
pencil|short purple sharp new|draw with it
book|thick old blue heavy|read it aloud
map|old torn paper secret|look at it by candle light
crayon|orange green short waxy|draw with it
""")
WEARABLES = _things("""
hat|straw red floppy warm|wear it everywhere
scarf|woolly long green striped|wrap it around twice
cape|red shiny long velvet|run so that it flew behind
mitten|woolly warm blue fuzzy|wear it in the cold
sock|striped woolly orange soft|wear it to bed
crown|paper golden shiny tall|wear it at breakfast
apron|white checkered big clean|wear it for baking
""")
GEAR = _things("""
umbrella|yellow big striped old|twirl it
lantern|small brass bright old|light the way with it
basket|brown round light strong|carry berries in it
bucket|tin blue small rusty|fill it with water
blanket|soft green cozy warm|snuggle under it
shovel|small red sturdy new|dig with it
cup|blue tiny painted white|drink cocoa from it
spoon|wooden long big silver|stir soup with it
rope|long thick strong brown|jump over it
backpack|green big new heavy|carry everything in it
pillow|fluffy square white soft|sleep on it
jar|glass clear big empty|keep treasures in it
""")
CARRIED = TOYS + KEEPSAKES + WEARABLES + GEAR

FOODS = (
    "apple", "pear", "muffin", "cookie", "sandwich", "carrot", "bun", "peach", "pancake",
    "plum", "cake", "pie", "banana", "turnip",
)  # fmt: skip
"""Things to eat that one can count and cut in two."""

FLOWERS = ("daisies", "tulips", "roses", "violets", "bluebells")

CHILD_TRAITS = (
    "kind", "curious", "cheerful", "clever", "gentle", "quiet", "busy", "brave", "funny", "young",
    "polite", "playful", "dreamy", "thoughtful", "lively", "friendly", "small", "merry", "careful",
)  # fmt: skip

ASK_VERBS = frozenset(
    "paint climb sing dig build draw jump run bake read dance hop count collect whistle swim roll "
    "splash play watch tell skip explore pick chase make swing clap stamp feed ask listen spin "
    "sail plant laugh bounce fly blow fill push hug pull polish hold wear ring tickle "
    "tie rub twirl carry drink stir sleep find lose fix mend share help promise look wait "
    "learn try throw catch wash sweep grow cry whisper shout knock walk cook eat hide open "
    "break cut give keep bring visit follow reach float balance ride skate juggle "
    "win trade sell wish lift shake hear smell "
    "touch taste remember forget believe wave march protect save search".split()
)
ASK_ADJECTIVES = frozenset(
    set(" ".join(" ".join(t.looks) for t in CARRIED).split())
    | set(CHILD_TRAITS)
    | set(
        "happy sad proud calm scared afraid tired hungry thirsty lost broken angry lonely sorry safe "
        "ready empty full dark bright loud cold hot wet dry muddy sticky sweet sour huge "
        "tall short deep high low fast slow easy sunny windy rainy snowy cloudy foggy gray "
        "hungry sleepy shy grumpy lazy stubborn greedy careless bored worried jealous patient "
        "strange special favorite perfect beautiful delicious crooked sharp heavy weak strong "
        "wonderful terrible nervous upset glad excited honest fair selfish frozen slippery bumpy "
        "fresh crisp stormy icy noisy tiny narrow wide wild tame bold wise foolish messy clean "
        "dusty hollow golden surprised pleased thin fat cool".split()
    )
) - {"old", "new", "little", "big", "fast", "light", "spinning", "gold", "glass", "paper", "tin", "brass", "copper"}  # fmt: skip
ASK_NOUNS = frozenset(
    {t.noun for t in CARRIED}
    | set(HEROES)
    | {p.noun for p in PLACES}
    | set(FOODS)
    | set(FLOWERS)
    | set(
        "bird duck frog turtle snail owl lamb goat pony butterfly bee kitten puppy hen goose crow "
        "fish bug spider ant cow horse sheep pig egg nest tree branch leaf leaves bush grass flower "
        "seed sunflower pumpkin bean tomato rain snow wind storm thunder cloud rainbow puddle mud "
        "sun moon star stars sky night shadow bench bridge fence gate door window wall roof attic "
        "kitchen table chair bed stairs tower castle sandcastle ladder stick string glue tape "
        "needle thread hammer nail wheel box bag bowl pot plate broom soap paint brush bread soup "
        "butter jam honey milk cocoa berries nuts cheese tea sugar flour birthday party present gift song "
        "story joke game race prize bike skates fair picnic letter card picture secret promise "
        "friend neighbor baker farmer sailor grandma grandpa baby brother sister house hole log "
        "cave stream lake island boots coat pocket balloon candle clock mirror lamp fountain "
        "barn hay path lane mouse spot nose tail ear paw wing web shop train bus vase ice foot hand "
        "knee dinner breakfast lunch road school market bread letter lie truth rule "
        "fox wolf dragon ghost giant king queen cart sack hill sea wave dog cat slide doctor oak thorn "
        "balloon dot mill hut fog water puddles puppet fire pumpkin sister berry berries cookies plums "
        "pancakes buns peaches clouds stones butterflies cakes books trees ducks boats birds hats jokes "
        "seeds stories pies pictures tummy face voice crumbs crown tooth cellar shed yard "
        "heart summer spring winter city village forest valley corner lap shirt sand".split()
    )
)
