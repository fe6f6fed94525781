# ruff: noqa: E501 (one sentence is one line)
"""Plots about kindness: a hurt animal, a stranger, a chain of trades, greed."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import FOODS, GEAR, KEEPSAKES, WEARABLES
from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import AFTERNOON, EVENING, World, an


class _Hurt(NamedTuple):
    animal: str
    trouble: str
    """Continues `The bird ...`."""
    care: str
    """What helped, past tense."""
    wrong: str
    """A kind mistake first, past tense, and what the animal did."""
    thanks: str
    """What it can do in return, past tense."""


_HURTS = (
    _Hurt("bird", "could not fly, because one wing was hurt", "made a nest of wool in a box and gave it water, drop by drop",
          "offered it a big sandwich, but it hid its head", "sang at the window at sunrise"),
    _Hurt("duckling", "had lost its mother and peeped and peeped", "walked along the stream with it until a duck called back",
          "tried to be its mother and quacked, but it only looked confused", "swam past with all its brothers and quacked"),
    _Hurt("kitten", "was wet and cold and shaking", "dried it with a towel and warmed some milk",
          "wanted to hug it at once, but it hissed", "came back every evening to purr"),
    _Hurt("hedgehog", "was stuck in an old tin can", "held the can still and pulled it off with a little butter",
          "pulled at it, but the spines pricked", "left a shiny red apple at the door"),
    _Hurt("turtle", "lay on its back and could not turn over", "turned it over slowly and showed it the way to the water",
          "tickled it to cheer it up, but it pulled in its head", "lifted its head from the pond to say hello"),
    _Hurt("lamb", "was caught in a thorny bush", "bent back the thorns, one by one",
          "called it, but it was too afraid to move", "ran to the fence and jumped for joy"),
    _Hurt("puppy", "had a thorn in its paw and cried", "pulled out the thorn and tied a ribbon around the paw",
          "ran up to it too fast, and it crawled under a bush", "followed close behind and wagged its tail"),
    _Hurt("owl", "sat in the bright sun and could not see where to go", "carried it into the cool, dark barn",
          "held out a carrot, but it only blinked", "called softly from the barn at night"),
    _Hurt("butterfly", "was too cold and wet to open its wings", "breathed on it softly and put it on a warm stone",
          "wanted to throw it into the air, but it only fell down", "landed on the tip of a nose"),
    _Hurt("goat", "had its head stuck in a fence", "gave it a leaf to the left, so that it turned its head and came free",
          "pulled it by the tail, and it bleated", "gave milk for the best cheese in the village"),
)  # fmt: skip


def hurt_animal(w: World) -> None:
    """A small animal is in trouble; the first kindness is clumsy, the second is right."""
    h, f, e = w.hero, w.friend, w.elder
    c = w.pick(_HURTS)
    a = c.animal
    if a == h.kind:
        c = _HURTS[0]
        a = c.animal
    place = w.go()
    w.key_nouns.append(a)
    w.sky = "sunny" if a == "owl" else w.pick(("rainy", "windy", "cloudy")) if a in ("kitten", "butterfly") else w.pick(("sunny", "cloudy"))
    intro(w, ("gentle", "kind", "quiet", "thoughtful", "careful", "young"))
    w.para()
    w.say(
        f"One day {h.he} heard a small sound {place.at}. {w.pick(place.spots).capitalize()} sat {an(a)}. It {c.trouble}.",
        f"On the way home {h.n} saw {an(a)} {place.at}. The poor thing {c.trouble}.",
        f"{h.n} was walking {place.at} when {h.he} almost stepped on {an(a)}. It {c.trouble}.",
    )
    w.say(
        f"«Don't be afraid,» said {h.n}. {h.He} {c.wrong}.",
        f"{h.n} wanted to help, so {h.he} {c.wrong}.",
        f"First {h.he} {c.wrong}.",
    )
    w.maybe(0.6, f"«Slowly,» said {e.n}. «It does not know yet that you are kind.»",
            f"{h.n} sat still and thought. What would {h.he} want, if {h.he} were {an(a)}?",
            f"«I did that wrong,» thought {h.n}. «I am a giant to it.»")  # fmt: skip
    w.para()
    w.say(
        f"So {h.he} spoke softly and did not move fast. {h.He} {c.care}.",
        f"This time {h.n} was very gentle. {h.He} {c.care}.",
        f"{h.n} asked {e.n} what to do. Then {h.he} {c.care}.",
    )
    end = w.rnd()
    if end < 0.13:
        w.bad = True
        w.say(f"For three days {h.n} took care of it. But on the fourth morning the {a} lay very still.",
              f"{h.He} did everything right. But the {a} was too weak, and in the night it died.")  # fmt: skip
        w.say(f"«You were good to it,» said {e.n}. «It was not alone.» They buried it under a tree.")
        w.summary = f"{h.n} finds {an(a)} in trouble and takes care of it, but it dies."
        close(w, "sad")
        return
    w.say(
        f"The {a} looked at {h.him} with big round eyes. It was not afraid anymore.",
        f"After a while the {a} grew calm. It was safe.",
        f"At last the {a} was well again.",
    )
    if end < 0.5:
        w.para()
        w.say(f"«You can go home now,» said {h.n}. It was hard to say.", f"{h.n} wanted to keep it. But {an(a)} must live in its own way, and so {h.he} let it go.")
        w.say(f"And the {a} did not forget. Many times after that, it {c.thanks}.", f"The next week, something lovely happened: the {a} {c.thanks}.")
        w.summary = f"{h.n} helps {an(a)} that {c.trouble}, lets it go, and the {a} does not forget."
        close(w, w.pick(("calm", "happy", "calm")), "being gentle helps more than being strong", "love means letting go sometimes")
    else:
        w.para()
        w.say(
            f"«How did you know what to do?» asked {f.n}. «I listened,» said {h.n}.",
            f"{e.n} had watched it all from the path. «Not everyone can do that,» {e.n} said.",
            f"Since then, the {a} {c.thanks}, and everyone called {h.n} the animal doctor.",
        )
        w.summary = f"{h.n} finds {an(a)} that {c.trouble}, makes one mistake, and then saves it."
        close(w, w.pick(("proud", "proud", "happy")), "being gentle helps more than being strong", "you must think about what others need")


_STRANGERS = (
    ("an old woman", "she", "her", "carry a heavy sack up the hill", "I used to be a singer, and now I sing only for you"),
    ("an old man", "he", "his", "look for his glasses in the grass", "I know where the best berries grow"),
    ("a tired sailor", "he", "his", "find a dry place to sleep", "I have seen whales as big as your village"),
    ("a lost peddler", "she", "her", "find the way to the next village", "I have sold needles to a queen"),
    ("a young musician", "she", "her", "catch the song sheets that the wind had stolen", "Now you shall hear the song"),
    ("a tall farmer", "he", "his", "get the cart out of the mud", "My horse likes you, and she does not like many"),
)  # fmt: skip


def stranger(w: World) -> None:
    """Helping a stranger costs something; it comes back in a way nobody planned."""
    h, e = w.hero, w.elder
    who, he, his, need, boast = w.pick(_STRANGERS)
    noun = who.split()[-1]
    item = w.own(GEAR[:1] + GEAR[2:3] + GEAR[4:5] + KEEPSAKES[:6] + WEARABLES[:2])
    t = item.noun
    food = w.pick(FOODS)
    w.key_nouns += [noun, food]
    w.sky = "windy" if "wind" in need else w.pick(("rainy", "windy", "cloudy"))
    w.hour = AFTERNOON
    intro(w, ("kind", "friendly", "polite", "thoughtful", "cheerful", "small"))
    w.para()
    w.say(
        f"One day {e.n} sent {h.him} to the market with one coin to buy {item.a}.",
        f"{h.n} had saved one coin, and {h.he} was on the way to buy {item.a}.",
        f"For weeks {h.n} had wished for {item.a}. Now {h.he} had a coin, and the shop was open until six.",
    )
    item.holder = None
    w.say(
        f"By the road sat {who}. {he.capitalize()} had to {need}, and it was too hard to do alone.",
        f"On the bridge {h.he} met {who}. «Can you help me?» asked the {noun}. «I have to {need}.»",
        f"{who[0].upper() + who[1:]} stood by the road and sighed. {he.capitalize()} had to {need}.",
    )
    w.say(
        f"{h.n} looked at the sun. If {h.he} stopped now, the shop would close. But {h.he} stopped.",
        f"The others walked by. {h.n} did not.",
        f"{h.n} thought of the {t}. Then {h.he} thought of the {noun}, and put down {h.his} bag.",
    )
    w.say(
        f"It took a long time, but together they did it. They shared {h.n}'s {food}, too.",
        f"They worked until both were out of breath. Then they sat down and shared {an(food)}.",
    )
    w.para()
    w.hour = EVENING
    w.say(
        f"When {h.n} came to the shop, it was closed. There would be no {t} today.",
        f"After that, it was too late to buy the {t}.",
    )
    end = w.rnd()
    if end < 0.5:
        item.holder = h
        w.twist = True
        w.say(
            f"The {noun} had come along. «What did you want to buy?» {he} asked, and opened {his} big bag. Inside was {item.a}!",
            f"But the {noun} only laughed. «Is it {item.a} that you want? Then look what I have here!»",
        )
        w.say(f"«A kind {h.kind if h.child else 'heart'} needs no coin,» said the {noun}.", f"«It is yours,» said the {noun}. «You stopped when nobody else did.»")
        w.summary = f"{h.n} helps {who} to {need} and is too late to buy {item.a}, but the {noun} gives {h.him} one."
        close(w, w.pick(("happy", "happy", "calm")), "kindness finds its way back to you", "those who stop for others are not too late")
    else:
        w.say(
            f"But the {noun} sat down with {h.him} by the road. «{boast},» said the {noun}, and told {h.him} all about it.",
            f"«I have no {t} to give you,» said the {noun}. «But {boast[0].lower() + boast[1:] if not boast.startswith('I ') else boast}.» And it was true.",
        )
        w.say(
            f"That was better than any {t}.",
            f"At home {e.n} asked, «Where is the {t}?» «I got something else,» said {h.n}, and smiled." if True else "",
        )
        w.summary = f"{h.n} helps {who} to {need} and cannot buy {item.a}, but does not mind."
        close(w, w.pick(("calm", "proud")), "kindness is worth more than things", "some of the best things cannot be bought")


_TRADERS = (
    ("the baker", "to keep the rain off the bread", ("umbrella", "blanket", "hat")),
    ("the fisher", "to catch fish with", ("rope", "basket", "bucket", "string")),
    ("the farmer", "to carry the eggs in", ("basket", "bucket", "hat")),
    ("the gardener", "for the new roses", ("shovel", "bucket", "rope")),
    ("the tailor", "to finish a coat for the king", ("button", "ribbon", "needle")),
    ("the miller", "to stay warm in the windy mill", ("scarf", "blanket", "mitten")),
    ("the sailor", "to find the way at night", ("lantern", "map")),
    ("the music teacher", "for the village band", ("flute", "drum", "bell", "whistle")),
)  # fmt: skip


def trade_chain(w: World) -> None:
    """The hero wants a thing and trades from hand to hand: each one needs what the last one had."""
    h = w.hero
    wish = w.own(KEEPSAKES)
    t = wish.noun
    one, two = w.two(_TRADERS)
    need1 = w.pick(one[2])
    need2 = w.pick(two[2])
    while need2 in (need1, t) or need1 == t:
        two = w.pick(_TRADERS)
        need1, need2 = w.pick(one[2]), w.pick(two[2])
        if two[0] == one[0]:
            need2 = t
    # The first has need2 to spare, the second owns the wish.
    wish.holder = None
    start = need1
    w.key_nouns += [need1, need2]
    w.sky = w.pick(("sunny", "cloudy"))
    intro(w, ("clever", "polite", "young", "cheerful", "busy", "friendly"))
    w.para()
    w.say(
        f"In the window of {two[0]} lay {wish.a}. {h.n} wanted it more than anything, but {h.he} had only {an('old ' + start)}.",
        f"One day {h.n} saw {wish.a} at the house of {two[0]}. «What do you want for it?» {h.he} asked.",
    )
    asked = w.out[-1].endswith("asked.")
    w.say(
        f"«I would give it for a {need2},» said {two[0]}. «I need one {two[1]}.»",
        f"«Bring me a {need2} {two[1]},» said {two[0]}, «and it is yours.»",
    )
    w.say(
        f"But {h.n} had no {need2}." + (f" {h.He} had only an old {start}." if asked else ""),
        f"{h.n} looked at {h.his} " + ("old " + start) + f". It was not a {need2}. But {h.he} did not give up.",
    )
    w.para()
    w.say(
        f"On the road {h.he} met {one[0]}, who had {an('good ' + need2)} but looked worried. «I need a {need1} {one[1]},» said {one[0]}.",
        f"Then {h.n} heard that {one[0]} was looking for a {need1} {one[1]}. And what hung on the wall there? A {need2}!",
    )
    w.say(
        f"«I have one!» cried {h.n}. So {h.he} gave away the {need1} and got the {need2}.",
        f"«Let's trade,» said {h.n}. Now the {need1} was where it was needed, and {h.n} had a {need2}.",
    )
    end = w.rnd()
    w.para()
    if end < 0.55:
        wish.holder = h
        w.say(
            f"{h.He} ran back to {two[0]} with the {need2}. «A deal is a deal,» said {two[0]}, and gave {h.him} the {wish.full}.",
            f"«Here is your {need2},» said {h.n}. {two[0].capitalize()} laughed and put the {wish.full} into {h.his} {h.paws}.",
        )
        w.say("Now all three of them had just what they needed.", f"An old {start} had turned into {wish.a}!")
        w.summary = f"{h.n} trades an old {start} for a {need2}, and the {need2} for {wish.a}."
        close(w, w.pick(("happy", "proud", "proud")), "what is old for one may be new for another", "it pays to listen to what others need")
    elif end < 0.8:
        food = w.pick(FOODS)
        crier = w.pick(("a little boy", "a little girl"))
        w.say(f"But on the way back {h.he} met {crier} who was crying. «I lost our {need2},» said the child, «and I am afraid to go home.»")
        w.say(f"{h.n} thought of the {wish.full}. It was hard. Then {h.he} gave the {need2} away.",
              f"«Take this one,» said {h.n}, before {h.he} could change {h.his} mind.")  # fmt: skip
        w.say(f"The child's face lit up like a lamp. «Thank you!» That was all {h.n} got, and half of {an(food)}. It was enough.")
        w.summary = f"{h.n} trades an old {start} for a {need2} to get {wish.a}, but gives it to a crying child instead."
        close(w, w.pick(("calm", "happy", "proud")), "giving can feel better than getting")
    else:
        w.bad = True
        w.say(f"But when {h.he} came back, the window was empty. «Somebody bought the {t} an hour ago,» said {two[0]}.")
        w.say(f"So {h.n} stood there with a {need2} that {h.he} did not even want.", f"{h.n} looked at the {need2}. It was a good one. But it was not the {t}.")
        w.summary = f"{h.n} trades an old {start} for a {need2} to get {wish.a}, but comes too late."
        close(w, "sad")


_GREEDY = (
    ("cookies", "a plate of cookies", "cookie"), ("plums", "a bowl of plums", "plum"), ("pancakes", "a tall pile of pancakes", "pancake"),
    ("berries", "a bucket of berries", "berry"), ("buns", "a basket of warm buns", "bun"), ("peaches", "a box of ripe peaches", "peach"),
)  # fmt: skip


def greedy(w: World) -> None:
    """There is enough for all, but the hero wants all of it."""
    h, f, e = w.hero, w.friend, w.elder
    many, dish, one = w.pick(_GREEDY)
    w.key_nouns.append(many)
    w.sky = w.pick(("sunny", "cloudy", "rainy"))
    w.home = True
    intro(w, ("greedy", "hungry", "lively", "merry", "small", "funny"), "")
    w.para()
    w.say(
        f"One day {e.n} put {dish} on the table. «Two for each of us,» said {e.n}, «and two for {f.n}.»",
        f"{e.n} gave {h.him} {dish}. «Share them with {f.n},» said {e.n}.",
        f"The whole house smelled of {many}. «Wait until {f.n} comes,» said {e.n}.",
    )
    w.say(
        f"But {h.n} could not wait. {h.He} ate one. Then {h.he} ate another. «Nobody will miss one more,» {h.he} thought.",
        f"{h.n} took {dish.split(' of')[0].replace('tall pile', 'whole pile')} and hid under the stairs. {h.He} ate and ate.",
        f"«If I share, there will be less for me,» thought {h.n}. So {h.he} ate as fast as {h.he} could.",
    )
    w.say(
        f"Soon there was only one {one} left, and then there was none.",
        f"{h.He} did not stop until the last {one} was gone.",
    )
    w.para()
    w.hour = AFTERNOON
    w.say(
        f"Then {h.his} tummy began to hurt. It was as round and as tight as a drum.",
        f"Oh, how {h.his} tummy ached! {h.n} had to lie down on the floor.",
    )
    if w.chance(0.55):
        w.say(
            f"{f.n} came in. «I brought you the biggest {w.pick(('pear', 'apple', 'carrot'))} from our garden,» {f.he} said. «I wanted to share it.»",
            f"There was a knock. It was {f.n}, who was hungry after a long walk. {f.He} saw the crumbs and said nothing.",
        )
        w.say(
            f"{h.n} felt ashamed. «I ate everything,» {h.he} said. «I am sorry. Tomorrow I will make new ones for you.»",
            f"«I was greedy,» said {h.n}. «There is nothing left for you, and I feel sick.»",
        )
        w.say(
            f"{f.n} sat down beside {h.him} and rubbed {h.his} tummy. The next day they had {many} together, two for each.",
            f"«It's all right,» said {f.n}. And the next time, {h.n} counted them out: one for you, one for me.",
        )
        w.together = True
        w.summary = f"{h.n} eats all the {many} alone, gets a tummy ache, says sorry to {f.n} and learns to share."
        close(w, w.pick(("calm", "happy")), "food tastes better when you share it", "enough is as good as a feast")
    else:
        w.bad = True
        w.say(
            f"Outside, {f.n} and the others were dancing and playing. {h.n} could only lie there and listen.",
            f"{f.n} came to the door, saw the empty dish and went away again.",
        )
        w.maybe(0.6, f"«I wish I had shared,» {h.n} whispered. But there was nothing left to share.")
        w.summary = f"{h.n} eats all the {many} alone, gets a bad tummy ache and stays alone."
        close(w, "sad", "those who eat alone stay alone", "too much of a good thing is not good")
