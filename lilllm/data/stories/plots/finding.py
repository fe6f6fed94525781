# ruff: noqa: E501 (one sentence is one line)
"""Plots about looking: for a lost thing, for what makes a strange noise."""

from lilllm.data.stories.lexicon import CARRIED, WEARABLES, Place
from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import EVENING, Item, World, an


def lost_thing(w: World) -> None:
    """The hero left something where both hands were needed, and must remember where."""
    h, e = w.hero, w.elder
    w.sky = w.pick(("sunny", "windy", "cloudy"))
    worn = w.chance(0.12)
    item = w.own(WEARABLES[:3] if worn else CARRIED)
    first = w.go()
    second = w.go(first)
    where, other = (first, second) if w.chance(0.5) else (second, first)
    intro(w)
    t = item.noun
    w.say(
        f"{h.He} had {item.a}, and {he_took(w)}.",
        f"{h.His} favorite thing was {item.a}. {e.n} had given it to {h.him}.",
        f"{e.n} had once given {h.him} {item.a}, and {h.n} loved it very much.",
        f"Wherever {h.he} went, {h.his} {item.full} went too.",
    )
    w.para()
    a, b, today = first.busy[1], second.busy[1], day(w)
    w.say(
        f"{today}, {h.n} {a} {first.at}. After lunch {h.he} {b} {second.at}.",
        f"In the morning {h.n} went out and {a} {first.at}. In the afternoon {h.he} {b} {second.at}.",
        f"It was a busy day. First {h.n} {a} {first.at}, and then {h.he} {b} {second.at}.",
    )
    w.hour = EVENING
    w.say(
        f"But when {h.he} came home, the {t} was gone!",
        f"In the evening {h.n} reached for the {t}, but it was not there.",
        f"Then, at dinner, {h.he} jumped up. The {t} was not there!",
        f"Only at home did {h.he} see that the {t} was missing.",
    )
    if worn:
        _on_the_hero(w, item)
        return
    w.say(
        f"{h.He} looked under the bed. {h.He} looked behind the door. Nothing.",
        f"{h.n} turned every pillow over, but it was not in the house.",
        f"{h.He} searched the kitchen and the stairs, and even the soup pot. No {t}.",
        "Was it under the table? No. Was it in the bed? No.",
    )
    w.para()
    w.say(
        f"«When did you have it last?» asked {e.n}.",
        f"«Close your eyes and think,» said {e.n}. «What did you do today?»",
        f"«Things do not walk away,» said {e.n}. «Where did you put it down?»",
        f"{e.n} sat down beside {h.him}. «Let's walk through your day again,» said {e.n}.",
        f"{e.n} told {h.him} to sit down, to breathe and to think of the whole day, from the beginning.",
    )
    if w.chance(0.45):
        w.say(
            f"«Maybe it is {other.at},» said {h.n}. They went to look, but the {t} was not there.",
            f"{h.n} ran back to the {other.noun} first. It was the wrong place.",
            f"First they searched {other.at}, {w.pick(other.spots)}. They found only a snail.",
        )
    w.say(
        f"{h.n} thought hard. «I needed both {h.paws} to {where.busy[0]},» {h.he} said. «So I put it down!»",
        f"Then {h.n} remembered. {h.He} could not hold the {t} and {where.busy[0]} at the same time!",
        f"«I put it down to {where.busy[0]}!» cried {h.n}.",
        f"Slowly it came back to {h.him}. To {where.busy[0]}, {h.he} had put the {t} on the ground.",
    )
    _search_right_place(w, item, where)


def he_took(w: World) -> str:
    """How fond the hero is of a thing, continuing `... had a red kite, and`."""
    he = w.hero.he
    return w.pick((
        f"{he} took it everywhere",
        f"{he} would not leave home without it",
        f"it was the best thing {he} owned",
        f"nothing else was so dear to {w.hero.him}",
    ))  # fmt: skip


def _on_the_hero(w: World, item: Item) -> None:
    h, e, t = w.hero, w.elder, item.noun
    w.say(
        f"{h.n} looked in every room. {h.He} even looked in the oven.",
        f"{h.He} crawled under the table and shook out all the boots. No {t}.",
    )
    w.say(
        f"{h.n} was sure that it was gone forever, and {h.his} lip began to shake.",
        f"«I lost my {t}!» {h.he} cried. «I will never see it again!»",
        f"«It is gone forever,» said {h.n}, and {h.his} lip began to shake.",
    )
    w.para()
    w.say(
        f"{e.n} looked at {h.him} and began to laugh. «Have you looked in the mirror?»",
        f"{e.n} tried not to laugh. «Come here,» said {e.n}, and held up a mirror.",
        f"«How strange,» said {e.n}. «I can see it from here.»",
        f"{e.n} looked at {h.him} for a moment, began to laugh and pointed at the mirror.",
    )
    w.say(
        f"{h.n} put one {h.paw} up and felt it. {h.He} had been wearing the {t} all along!",
        f"There was the {t}. {h.n} was wearing it! {h.He} had worn it the whole time.",
    )
    w.twist = w.home = True
    w.summary = (
        f"{h.n} looks everywhere for a lost {t} and then finds out that {h.he} is wearing it."
    )
    close(w, "happy", "it helps to stay calm and look close by first")


def _search_right_place(w: World, item: Item, where: Place) -> None:
    h, e, t = w.hero, w.elder, item.noun
    spot = w.pick(where.spots)
    item.holder = None
    w.para()
    w.say(
        f"They took a lamp and hurried to the {where.noun}.",
        f"Off they went to the {where.noun}, as fast as they could.",
        f"It was getting dark, but {e.n} took {h.his} {h.paw} and they went to the {where.noun}.",
    )
    end = w.rnd()
    if end < 0.45:
        item.holder = h
        w.say(
            f"There, {spot}, lay the {t}!",
            f"And {spot} there was something {item.adj}. It was the {t}!",
            f"{h.n} looked {spot}. «Here it is!» {h.he} shouted.",
        f"{h.n} saw it first. {spot[0].upper() + spot[1:]}, the {item.full} was waiting for {h.him}.",
        )
        w.say(
            f"{h.n} hugged the {t} and promised to take better care of it.",
            f"{h.He} picked it up and held it tight all the way home.",
            "It was a little dusty, but nothing was broken.",
        )
        w.summary = f"{h.n} loses {item.a}, remembers leaving it {where.at} and finds it {spot}."
        close(w, w.pick(("calm", "happy", "calm")), "it helps to stop and think",
              "you should look after the things you love")  # fmt: skip
    elif end < 0.7:
        f = w.friend
        item.holder = h
        w.together = True
        w.say(
            f"{an(f.kind).capitalize()} was sitting {spot} with the {t} in {f.his} {f.paws}.",
            f"But somebody had found it already. {an(f.kind).capitalize()} stood there and held the {t}.",
        )
        w.say(
            f"«Is this yours?» {f.he} asked. «I kept it safe for you. My name is {f.n}.»",
            f"«I waited here,» said the {f.kind}. «I knew that someone would miss it. I am {f.n}.»",
        f"{f.His} name was {f.n}, and {f.he} had kept it safe all afternoon.",
        )
        w.say(
            f"«Oh, thank you!» said {h.n}. «Will you play with me tomorrow?» {f.n} nodded.",
            f"{h.n} thanked {f.him} three times. «Come and play with me!» {h.he} said.",
        f"{h.n} thanked {f.him} three times, and the two walked home side by side.",
        )
        w.summary = f"{h.n} loses {item.a} {where.at}, and {f.n}, who kept it safe, becomes a new friend."
        close(w, "happy", "a stranger can be a friend you do not know yet",
              "it is good to give back what you find")  # fmt: skip
    else:
        w.bad = True
        w.say(
            f"But {spot} there was nothing. They looked until it was too dark to see.",
            f"{h.n} looked {spot}, and then {w.pick(where.spots)}. The {t} was gone.",
            f"They were too late. Somebody had taken the {t} away.",
        )
        w.say(
            f"«I am sorry,» said {e.n}. «Some lost things do not come back.»",
        f"{h.n} asked everyone who came by, but nobody had seen it.",
            f"The next day they looked again, but nobody ever found the {t}.",
        )
        w.summary = f"{h.n} leaves {item.a} {where.at}, goes back too late and never finds it again."
        close(w, "sad", "a thing you love should not be left lying around")


_NOISES = (
    ("a soft scratching", "a mother cat with four tiny kittens", "in an old drawer", "cat", (0, 1, 3)),
    ("a slow tap, tap, tap", "a loose branch that knocked on the glass", "at the window", "branch", (0, 1)),
    ("a low humming", "a jar full of bees, sleepy and cross", "behind a box", "jar", (0, 1, 3)),
    ("a deep snoring", "an old owl, fast asleep", "up on a beam", "owl", (0, 2)),
    ("a tiny squeak", "a little mouse that was stuck in a boot", "in the corner", "mouse", (0, 1, 2, 3)),
    ("a strange flapping", "a small bird that had lost its way", "under the roof", "bird", (0, 2)),
    ("a thump and a bump", "a fat frog that jumped from pot to pot", "behind the flower pots", "frog", (1, 3)),
    ("a long, sad whistle", "an empty bottle in the wind", "on the window sill", "bottle", (0, 1)),
)  # fmt: skip
_OLD_ROOMS = (
    ("attic", "in the attic", "up the stairs"), ("shed", "in the shed", "across the yard"),
    ("barn", "in the old barn", "over the grass"), ("cellar", "in the cellar", "down the steps"),
)  # fmt: skip


def strange_noise(w: World) -> None:
    """A noise at night; each guess is worse than the last; the truth is small."""
    h, f = w.hero, w.friend
    noise, truth, where, noun, rooms = w.pick(_NOISES)
    room, at, way = _OLD_ROOMS[w.pick(rooms)]
    w.sky = "windy" if noun in ("branch", "bottle") else w.pick(("windy", "cloudy", "rainy"))
    w.key_nouns += [noun, room]
    w.hour = EVENING
    intro(w, ("curious", "brave", "quiet", "young", "clever", "small"))
    w.para()
    w.say(
        f"{'That evening' if w.today else 'One evening'}, {f.n} came to stay the night. They were already in bed when they heard a noise {at}. It was {noise}.",
        f"{'That' if w.today else 'One'} night, {f.n} was sleeping at {h.n}'s house. Then there came {noise} from the {room}. They both sat up in bed.",
        f"{h.n} and {f.n} were playing by the fire when they heard it: {noise}. It came from the {room}.",
    )
    guess = w.pick(("a dragon", "a ghost", "a giant", "a hungry wolf", "a thief"))
    w.say(
        f"«It must be {guess},» whispered {f.n}. «Don't go!»",
        f"{f.n} hid under a blanket. «It's {guess}!»",
        f"{f.n} was sure that it was {guess}, and hid under a blanket.",
        f"«Maybe it is {guess},» said {f.n} in a small voice.",
    )
    w.say(
        f"{h.n}'s knees were shaking, but {h.he} stood up. Nobody could sleep with {guess} in the house.",
        f"«{guess.capitalize()} would be much louder,» said {h.n}, but {h.his} knees were shaking.",
        f"{h.n} swallowed hard. «We will not know until we look,» {h.he} said.",
        f"{h.n} wanted to hide too. But even more, {h.he} wanted to know.",
    )
    w.para()
    light = w.pick(("a candle", "a lantern", "a small lamp"))
    w.say(
        f"So they took {light} and went {way}, one step at a time.",
        f"With {light} in {h.his} {h.paw}, {h.n} went first {way}. {f.n} held on to {h.his} sleeve.",
        f"{h.n} lit {light}. Together they tiptoed {way}.",
    )
    w.say(
        "The noise grew louder. A big shadow moved on the wall!",
        "There it was again, and this time it was very close.",
        "The door creaked. Inside it was as dark as ink.",
    )
    w.say(
        f"{h.n} held up the light, and {where} they saw {truth}.",
        f"«Who is there?» called {h.n}. Nobody answered. And then they saw it: {truth}, {where}.",
        f"{h.n} took a deep breath and looked. There, {where}, was {truth}!",
    )
    w.twist = True
    w.together = w.home = True
    w.say(
        f"«So that is our monster!» said {f.n}.",
        f"They looked at each other, and then they began to laugh. So much for {guess}!",
        f"«Hello, {guess[2:]},» said {h.n}, and they both began to laugh.",
        f"«That is not {guess} at all,» said {f.n}, and let out a long breath.",
    )
    w.para()
    _after_noise(w, noun)
    w.summary = (
        f"{h.n} and {f.n} think that the noise {at} is {guess}, but it is only {truth}."
    )
    close(w, w.pick(("happy", "proud", "calm", "proud")),
          "most monsters are small when you look at them closely",
          "it is better to look than to guess")  # fmt: skip


def _after_noise(w: World, noun: str) -> None:
    h, f = w.hero, w.friend
    if noun in ("cat", "owl", "bird", "mouse", "frog"):
        kind = {
            "cat": f"They brought the {noun} a bowl of milk and a soft blanket.",
            "owl": f"They tiptoed out again, because they did not want to wake the {noun}.",
            "bird": f"They opened the window, and the {noun} flew out into the night.",
            "mouse": f"{h.n} turned the boot over, and the {noun} ran home.",
            "frog": f"{f.n} carried the {noun} back to the wet grass.",
        }
        w.say(kind[noun])
    elif noun == "jar":
        w.say("They carried the jar outside very carefully and opened it from far away.")
    elif noun == "branch":
        w.say(f"In the morning {h.n} tied the branch back with a bit of string.")
    else:
        w.say(f"{h.n} put a cork in the bottle, and the whistle stopped.")
