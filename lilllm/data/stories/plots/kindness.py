# ruff: noqa: E501 (one sentence is one line)
"""Plots about kindness: a hurt animal, a stranger, a chain of trades, greed."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import FOODS, GEAR, KEEPSAKES, WEARABLES
from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import AFTERNOON, EVENING, Item, World, an


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
          "tried to hug it at once, but it hissed", "came back and purred around {n}'s legs"),
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
          "tried to throw it into the air, but it only fell down", "landed on the tip of {n}'s nose"),
    _Hurt("goat", "had its head stuck in a fence", "gave it a leaf to the left, so that it turned its head and came free",
          "pulled it by the tail, and it bleated", "gave milk for the best cheese in the village"),
)  # fmt: skip


def hurt_animal(w: World) -> None:
    """A small animal is in trouble; the first kindness is clumsy, the second is right."""
    h, e = w.hero, w.elder
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
        f"{day(w)}, {h.n} heard a small sound {place.at}. {w.pick(place.spots).capitalize()} sat {an(a)}. It {c.trouble}.",
        f"On the way home {h.n} saw {an(a)} {place.at}. The poor thing {c.trouble}.",
        f"{h.n} was walking {place.at}. {place.detail} All at once {h.he} almost stepped on {an(a)}. It {c.trouble}.",
        f"{h.n} was walking {place.at} when {h.he} almost stepped on {an(a)}. It {c.trouble}.",
    )
    w.say(
        f"«Don't be afraid,» said {h.n}. But {h.he} was in too much of a hurry. {h.He} {c.wrong}.",
        f"{h.n} wanted to help, so {h.he} {c.wrong}.",
        f"First {h.he} {c.wrong}.",
    )
    w.maybe(0.6, f"«Slowly,» said {e.n}. «It does not know yet that you are kind.»",
            f"{h.n} sat still and thought. What would {h.he} want, if {h.he} were {an(a)}?",
            f"«I did that wrong,» thought {h.n}. «I am a giant to it.»")  # fmt: skip
    w.para()
    w.say(
        f"So {h.he} sat down and did not move for a long time. Then {h.he} {c.care}.",
        f"So {h.he} spoke softly and did not move fast. {h.He} {c.care}.",
        f"This time {h.n} was very gentle. {h.He} {c.care}.",
        f"{h.n} asked {e.n} what to do. Then {h.he} {c.care}.",
    )
    _let_go(w, c)


def _let_go(w: World, c: _Hurt) -> None:
    h, f, e, a = w.hero, w.friend, w.elder, c.animal
    thanks = c.thanks.format(n=h.n)
    end = w.rnd()
    if end < 0.13:
        w.bad = True
        w.say(f"For three days {h.n} took care of it. But on the fourth morning the {a} lay very still.",
              f"{h.He} did everything right. But the {a} was too weak, and in the night it died.")  # fmt: skip
        w.say(f"«You were good to it,» said {e.n}. «It was not alone.» They buried it under a tree.",
              f"{h.n} and {e.n} buried it under a tree and put a flower on the spot.")  # fmt: skip
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
        w.say(f"«You can go home now,» said {h.n}. It was hard to say.",
              f"Then it was time to say goodbye. {h.n} stood and waved until the {a} was out of sight.", f"{h.n} wanted to keep it. But {an(a)} must live in its own way, and so {h.he} let it go.")
        w.say(f"And the {a} did not forget. A few days later, it {thanks}.", f"The next week, something lovely happened: the {a} {thanks}.")
        w.summary = f"{h.n} helps {an(a)} that {c.trouble}, lets it go, and the {a} does not forget."
        close(w, w.pick(("calm", "happy", "calm")), "being gentle helps more than being strong", "love means letting go sometimes")
    else:
        w.para()
        w.say(
            f"«How did you know what to do?» asked {f.n}. «I listened,» said {h.n}.",
            f"{e.n} had watched it all from the path. «Not everyone can do that,» said {e.n}.",
            f"{f.n} had seen it all and told the whole village. From that day on they called {h.n} the animal doctor.",
            f"The next day the {a} {thanks}, and everyone called {h.n} the animal doctor.",
        )
        w.summary = f"{h.n} finds {an(a)} that {c.trouble}, makes one mistake, and then saves it."
        close(w, w.pick(("proud", "proud", "happy")), "being gentle helps more than being strong", "you must think about what others need")


class _Stranger(NamedTuple):
    who: str
    he: str
    his: str
    need: str
    done: str
    """How it was done, past tense, subject `they`."""
    gift: str
    """What the stranger gives instead of the thing, past tense."""


_STRANGERS = (
    _Stranger("an old woman", "she", "her", "carry a heavy sack up the hill", "carried the sack together, step by step",
              "sang {him} a song, so soft and sweet that even the birds sat down to listen"),
    _Stranger("an old man", "he", "his", "find his glasses in the grass", "crawled about on their knees and found them under a fern",
              "showed {him} a secret place where the best berries grew"),
    _Stranger("a tired sailor", "he", "his", "find a dry place to sleep", "made a bed of hay in an empty barn",
              "told {him} about whales as big as the whole village"),
    _Stranger("a lost peddler", "she", "her", "find the way to the next village", "walked to the end of the woods, where the road began",
              "taught {him} how to call an owl with two thumbs"),
    _Stranger("a young singer", "she", "her", "catch the song sheets that the wind had stolen", "ran and jumped until they had caught the very last one",
              "sat down on a stone and sang all of the songs, just for {him}"),
    _Stranger("a tall farmer", "he", "his", "get his cart out of the mud", "put branches under the wheels and pushed and pushed",
              "let {him} ride home on the tall brown horse"),
)  # fmt: skip


def stranger(w: World) -> None:
    """Helping a stranger costs the hero a thing; what comes back is something else."""
    h, e = w.hero, w.elder
    s = w.pick(_STRANGERS)
    noun, they = s.who.split()[-1], s.he.capitalize()
    item = w.wish(GEAR[:1] + GEAR[2:3] + GEAR[4:5] + KEEPSAKES[:6] + WEARABLES[:2])
    t = item.noun
    food = w.pick(FOODS)
    w.key_nouns += [noun, food]
    w.sky = "windy" if "wind" in s.need else w.pick(("rainy", "windy", "cloudy"))
    w.hour = AFTERNOON
    intro(w, ("kind", "friendly", "polite", "thoughtful", "cheerful", "small"))
    w.para()
    w.say(
        f"{day(w)}, {e.n} sent {h.him} to the market with one coin to buy {item.a}.",
        f"{h.n} had saved one coin, and {h.he} was on the way to buy {item.a}.",
        f"For weeks {h.n} had wished for {item.a}. Now {h.he} had a coin, and the shop was open until six.",
    )
    w.say(
        f"By the road sat {s.who}. {they} had to {s.need}, and it was too hard to do alone.",
        f"On the bridge {h.he} met {s.who}. «Can you help me?» asked the {noun}. «I cannot do it alone.» {they} had to {s.need}.",
        f"{s.who[0].upper() + s.who[1:]} stood by the road and sighed. {they} had to {s.need}.",
    )
    w.say(
        f"{h.n} looked at the sun. If {h.he} stopped now, the shop would close. But {h.he} stopped.",
        "The others walked by. " + f"{h.n} did not.",
        f"{h.n} thought of the {t}. Then {h.he} thought of the {noun}, and put down {h.his} bag.",
    )
    w.say(
        f"It took a long time. They {s.done}. Then they shared {h.n}'s {food}.",
        f"They {s.done}. When it was done, they sat down and shared {an(food)}.",
        f"They {s.done}, and all the while they talked like old friends.",
    )
    _too_late(w, s, item)


def _too_late(w: World, s: _Stranger, item: Item) -> None:
    h, e, noun, t = w.hero, w.elder, s.who.split()[-1], item.noun
    w.para()
    w.hour = EVENING
    w.say(
        f"When {h.n} came to the shop, it was closed. There would be no {t} today.",
        f"But now it was too late to buy the {t}. The shop was dark.",
    )
    if w.chance(0.5):
        item.holder = h
        w.twist = True
        w.say(
            f"The {noun} had come along. «What did you want to buy?» {s.he} asked, and opened {s.his} big bag. Inside was {item.a}!",
            f"«Is it {item.a} that you want?» asked the {noun}, who had come along, and began to laugh. «Then look what I have here!»",
            f"But the {noun}, who had come along, only laughed and opened a big bag. It was full of things, and right on top lay {item.a}!",
        )
        w.say(
            f"The {noun} smiled. «Keep your coin. It is a gift.»",
            f"The {noun} put it into {h.his} {h.paws}. «It is yours. You stopped when nobody else did.»",
            f"The {noun} put it into {h.his} {h.paws} and would not take the coin.",
        )
        w.summary = f"{h.n} helps {s.who} to {s.need} and is too late to buy {item.a}, but the {noun} gives {h.him} one."
        close(w, w.pick(("happy", "happy", "calm")), "kindness finds its way back to you", "those who stop for others are not too late")
        return
    gift = s.gift.format(him=h.n)
    w.say(
        f"The {noun} had no {t} to give away, but {s.he} {gift}.",
        f"«I have no {t} for you,» said the {noun}. «But I have something else.» And {s.he} {gift}.",
    )
    w.say(
        f"That was better than any {t}.",
        f"At home {e.n} asked, «Where is the {t}?» «I got something else,» said {h.n}, and smiled.",
        f"{h.n} would not have given that away for ten of the best things in the shop.",
    )
    w.home = w.out[-1].startswith("At home")
    w.summary = f"{h.n} helps {s.who} to {s.need} and cannot buy {item.a}, but gets something better."
    close(w, w.pick(("calm", "happy")), "kindness is worth more than things", "some of the best things cannot be bought")


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
    wish = w.wish(KEEPSAKES)
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
    a1, a2 = an(need1), an(need2)
    w.key_nouns += [need1, need2]
    w.sky = w.pick(("sunny", "cloudy"))
    intro(w, ("clever", "polite", "young", "cheerful", "busy", "friendly"))
    w.para()
    w.say(
        f"In the window of {two[0]} lay {wish.a}. {h.n} wanted it more than anything, but {h.he} had only {an('old ' + start)}.",
        f"{day(w)}, {h.n} saw {wish.a} at the house of {two[0]}. «What do you want for it?» {h.he} asked.",
    )
    asked = w.out[-1].endswith("asked.")
    w.say(
        f"{two[0].capitalize()} would give it away, but only for {a2} {two[1]}.",
        f"«I would give it for {a2},» said {two[0]}. «I need one {two[1]}.»",
        f"«Bring me {a2} {two[1]},» said {two[0]}, «and it is yours.»",
    )
    w.say(
        f"But {h.n} had no {need2}." + (f" {h.He} had only an old {start}." if asked else ""),
        f"{h.n} looked at {h.his} old {start}. It was not {a2}. But {h.he} did not give up.",
    )
    w.para()
    w.say(
        f"On the road {h.he} met {one[0]}, who had {an('good ' + need2)} but looked worried. «If only I had {a1} {one[1]},» said {one[0]}.",
        f"Then {h.n} heard that {one[0]} was looking for {a1} {one[1]}. And what hung on the wall there? {a2[0].upper() + a2[1:]}!",
    )
    w.say(
        f"«I have one!» cried {h.n}. So {h.he} gave away the {need1} and got the {need2}.",
        f"So they traded. Now the {need1} was where it was needed, and {h.n} had {a2}.",
        f"«Let's trade,» said {h.n}. Now the {need1} was where it was needed, and {h.n} had {a2}.",
    )
    _after_trade(w, wish, need1, need2, two[0])


def _after_trade(w: World, wish: Item, start: str, need2: str, owner: str) -> None:
    h, t, a2 = w.hero, wish.noun, an(need2)
    end = w.rnd()
    w.para()
    if end < 0.55:
        wish.holder = h
        w.say(
            f"{h.He} ran back to {owner} with the {need2}. «A deal is a deal,» said {owner}, and gave {h.him} the {wish.full}.",
            f"{h.He} ran all the way back, and soon the {wish.full} lay in {h.his} {h.paws}.",
            f"«Here is your {need2},» said {h.n}. {owner.capitalize()} laughed and put the {wish.full} into {h.his} {h.paws}.",
        )
        w.say("Now all three of them had just what they needed.", f"An old {start} had turned into {wish.a}!")
        w.summary = f"{h.n} trades an old {start} for {a2}, and the {need2} for {wish.a}."
        close(w, w.pick(("happy", "proud", "proud")), "what is old for one may be new for another", "it pays to listen to what others need")
    elif end < 0.8:
        food = w.pick(FOODS)
        crier = w.pick(("a little boy", "a little girl"))
        w.say(f"But on the way back {h.he} met {crier} who was crying. The child had lost {a2} and was afraid to go home.",
              f"But on the way back {h.he} met {crier} who was crying. «I lost our {need2},» said the child, «and I am afraid to go home.»")
        w.say(f"{h.n} thought of the {wish.full}. It was hard. Then {h.he} gave the {need2} away.",
              f"«Take this one,» said {h.n}, before {h.he} could change {h.his} mind.")  # fmt: skip
        w.say(f"The child's face lit up like a lamp. That was all {h.n} got, and half of {an(food)}. It was enough.")
        w.summary = f"{h.n} trades an old {start} for {a2} to get {wish.a}, but gives it to a crying child instead."
        close(w, w.pick(("calm", "happy", "proud")), "giving can feel better than getting")
    else:
        w.bad = True
        w.say(f"But when {h.he} came back, it was too late. Somebody else had bought the {t} an hour before.",
              f"But when {h.he} came back, the window was empty. «Somebody bought the {t} an hour ago,» said {owner}.")
        w.say(f"So {h.n} stood there with {a2} that {h.he} did not even want.", f"{h.n} looked at the {need2}. It was a good one. But it was not the {t}.")
        w.summary = f"{h.n} trades an old {start} for {a2} to get {wish.a}, but comes too late."
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
        f"{day(w)}, {e.n} put {dish} on the table. «Two for each of us,» said {e.n}, «and two for {f.n}.»",
        f"{e.n} gave {h.him} {dish} to share with {f.n}.",
        f"{e.n} gave {h.him} {dish}. «Share them with {f.n},» said {e.n}.",
        f"The whole house smelled of {many}. «Wait until {f.n} comes,» said {e.n}.",
    )
    w.say(
        f"But {h.n} could not wait. {h.He} ate one. Then {h.he} ate another, and one more, and one more.",
        f"{h.n} took all the {many} and hid under the stairs. {h.He} ate and ate.",
        f"But sharing meant that there would be less for {h.him}. So {h.he} ate as fast as {h.he} could.",
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
            f"In came {f.n} with a big {w.pick(('pear', 'cake', 'melon'))} under one arm. {f.He} had brought it to share.",
            f"{f.n} came in. «I brought you the biggest {w.pick(('pear', 'apple', 'carrot'))} from our garden,» {f.he} said. «I wanted to share it.»",
            f"There was a knock. It was {f.n}, who was hungry after a long walk. {f.He} saw the crumbs and said nothing.",
        )
        w.say(
            f"{h.n} felt ashamed and told {f.him} everything. {h.He} promised to bake new ones the next day.",
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
            f"{f.n} waited outside for a long time. Then {f.he} went to play with somebody else.",
            f"Outside, {f.n} and the others were dancing and playing. {h.n} could only lie there and listen.",
            f"{f.n} came to the door, saw the empty dish and went away again.",
        )
        w.maybe(0.6, f"Now {h.n} had all the {many} and nobody to play with.", f"«I wish I had shared,» {h.n} whispered. But there was nothing left to share.")
        w.summary = f"{h.n} eats all the {many} alone, gets a bad tummy ache and stays alone."
        close(w, "sad", "those who eat alone stay alone", "too much of a good thing is not good")
