# ruff: noqa: E501 (one sentence is one line)
"""Plots on the way: a lost way, a trip that the weather spoils."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import ACTIVITIES, FLOWERS, FOODS
from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import AFTERNOON, EVENING, World, an, plural

_WAY_MARKS = (
    ("the stream", "follow the stream, and it will bring you to the village"),
    ("the church bell", "listen for the church bell and walk toward it"),
    ("the evening star", "the evening star stands over our house"),
    ("the smell of bread", "follow your nose, because nothing smells like our bread"),
    ("the smoke in the sky", "look for smoke, for where there is smoke, there is a kitchen"),
)


def lost_way(w: World) -> None:
    """The hero follows something too far, and finds home by something a grown-up once said."""
    h, e = w.hero, w.elder
    lure = w.pick(("a blue butterfly", "a fat rabbit" if h.kind != "rabbit" else "a fat bee",
                   "a red balloon", "a white goose", "a little yellow bird", "a shiny beetle"))  # fmt: skip
    noun = lure.split()[-1]
    mark, saying = w.pick(_WAY_MARKS)
    w.sky = w.pick(("sunny", "cloudy", "windy"))
    w.key_nouns += [noun]
    intro(w, ("curious", "dreamy", "lively", "young", "playful", "small"))
    w.say(
        f"«Do not go past the old bridge,» {e.n} always said.",
        "Every child in the village knew the rule: nobody went past the old bridge alone.",
        f"{h.He} was allowed to go as far as the old bridge, and no farther.",
        f"«Stay on this side of the old bridge,» {e.n} once told {h.him}. «And if you ever get lost, remember: {saying}.»",
    )
    told = w.out[-1].endswith(f"{saying}.»")
    w.para()
    w.hour = AFTERNOON
    today = day(w)
    w.say(
        f"{today}, {h.n} saw {lure}. {h.He} followed it over the bridge and into the woods.",
        f"But one day {lure} caught {h.his} eye. {h.n} ran after it, on and on, and never looked back.",
        f"Then {h.he} saw {lure}. «Wait for me!» called {h.n}, and forgot all about the bridge.",
    )
    w.say(
        f"When the {noun} was gone, {h.n} stopped. Every tree looked the same.",
        f"At last {h.he} lost sight of it. {h.n} turned around, but which way was home?",
        f"Suddenly it was very still. {h.n} did not know this place at all.",
    )
    tries = w.pick(("left", "right"))
    w.say(
        f"{h.He} tried the path on the {tries}. It ended at a thorny bush.",
        f"«Hello?» {h.he} called. Only a crow answered.",
        f"{h.He} called for help, but only a crow answered.",
        f"{h.He} walked and walked, and came back to the very same tree.",
    )
    w.para()
    w.say(
        f"{h.n} wanted to cry. Then {h.he} remembered what {e.n} had said" + ("." if told else f" long ago: «{h.n}, {saying}.»"),
        f"{h.He} sat down on a log to think." + (f" What had {e.n} said?" if told else f" «{saying.capitalize()},» {e.n} had told {h.him} once."),
    )
    _way_home(w, lure, mark)


def _way_home(w: World, lure: str, mark: str) -> None:
    h, e = w.hero, w.elder
    w.hour = EVENING
    w.say(
        f"{h.He} waited and listened and looked. Yes! There was {mark}.",
        f"And there, not far away, was {mark}!",
    )
    if w.chance(0.75):
        w.say(
            f"{h.n} followed it, step by step, until {h.he} saw a light. It was home!",
            f"{h.He} went that way, over roots and stones, and soon {h.he} stood on the old bridge.",
        )
        w.say(
            f"{e.n} came running. «Where have you been?» {e.he} cried, and hugged {h.him} hard.",
            f"At the gate stood {e.n} with a lamp. «There you are,» said {e.n}. «I was so worried.»",
            f"{e.n} was standing at the gate with a lamp, white with worry, and held {h.him} tight.",
        )
        w.maybe(0.6, f"«I went past the bridge,» said {h.n}. «I am sorry. I won't do it again.»",
                f"{h.n} said that {h.he} was sorry, and {h.he} meant it.")  # fmt: skip
        proud = w.chance(0.35)
        if proud:
            w.say(f"«But you found the way home all by yourself,» said {e.n}. «That was clever.»",
                  f"But {e.n} was glad, too, that {h.n} had found the way all alone.")  # fmt: skip
        w.summary = f"{h.n} follows {lure} too far, gets lost, and finds the way home by {mark}."
        close(w, "proud" if proud else "calm", "it is good to listen to those who love you",
              "when you are lost, it helps to stop and think")  # fmt: skip
    else:
        w.say(
            f"{h.n} followed it, but the night came faster. {h.He} had to sit under a tree all alone, cold and scared.",
        )
        w.say(
            f"Very late, {e.n} found {h.him} there. {e.He} was too tired and too worried to smile.",
            f"It was almost morning when {e.n} found {h.him}. {e.n} had been crying.",
        )
        w.bad = True
        w.summary = f"{h.n} follows {lure} past the bridge and spends a cold night lost in the woods."
        close(w, "sad", "it is good to listen to those who love you")


class _Storm(NamedTuple):
    sky: str
    before: str
    turn: str
    trouble: str
    shelter: str
    after: str


_STORMS = (
    _Storm("rainy", "The morning was bright", "a black cloud came over the hill, and big drops began to fall",
           "In a minute they were as wet as fish", "an old hollow tree", "a rainbow stood over the whole valley"),
    _Storm("windy", "There was a light breeze", "the wind began to roar and took {f}'s hat away",
           "Dust and leaves flew into their eyes, and they could hardly stand", "a boat that lay upside down in the grass", "the air was as clear as glass"),
    _Storm("snowy", "It was cold and still", "it began to snow, thicker and thicker",
           "The path was gone, and everything looked the same", "a small hut with a stove", "the world was white and silent, and their feet were the first"),
    _Storm("cloudy", "The sun was warm", "a thick fog crept out of the river",
           "They could not see their own feet", "the porch of the old mill", "the fog rose like a curtain, and there was the path"),
    _Storm("rainy", "It was hot, and not a leaf moved", "thunder rolled, and a flash lit up the sky",
           "The rain was so loud that they had to shout", "the empty sheep barn", "every leaf dripped and shone in the sun"),
)  # fmt: skip


def bad_weather(w: World) -> None:
    """A trip is spoiled by the weather; shelter, company and what they have with them make it good."""
    h, f, e = w.hero, w.friend, w.elder
    s = w.pick(_STORMS)
    place = w.go()
    food = w.pick(FOODS)
    w.key_nouns += [food]
    w.together = True
    goal = w.pick((f"have a picnic {place.at}", f"pick {w.pick(FLOWERS)} {place.at}", f"look for a fox den {place.at}" if h.kind != "fox" else f"look for berries {place.at}", f"fly a paper plane {place.at}"))
    if s.sky == "snowy":
        goal = w.pick(("bring a pot of soup to Grandma" if e.n != "Grandma" else "bring a pot of soup to old Aunt Bell", "cut a little fir tree", "try the new sled"))
    w.today = True  # the weather is the plot's to tell
    w.sky = "snowy" if s.sky == "snowy" else "sunny"
    w.love = w.pick(ACTIVITIES)
    w.say(
        f"{h.n} was {an(h.trait)} {h.kind} who loved to {w.love}, most of all together with {f.n}.",
        f"{h.n} and {f.n} did everything together. They liked to {w.love}, and they were never bored.",
        f"Once upon a time, there were two friends, {h.n} and {f.n}. They loved to {w.love}.",
        f"If you saw {h.n}, you saw {f.n}, too. The two friends loved to {w.love}.",
        f"This is a story about {h.n}, {an(h.trait)} {h.kind}, and {h.his} friend {f.n}. They both liked to {w.love}.",
    )
    w.para()
    w.say(
        f"One day {h.n} and {f.n} wanted to {goal}. {s.before}, and {h.n} packed {plural(food)} for both.",
        f"{h.n} had planned it all week. {h.He} and {f.n} would {goal}. {s.before}.",
        f"«Let's {goal}!» said {f.n}. {s.before}, so off they went.",
    )
    packed = plural(food) if "packed" in w.out[-1] else ""
    w.sky = s.sky
    turn = s.turn.format(f=f.n)
    w.say(f"But on the way {turn}.", f"They were not even halfway when {turn}.", f"Then, without any warning, {turn}.")
    w.say(f"{s.trouble}.", f"{s.trouble}. «What now?» cried {f.n}.", f"«Hold my {h.paw}!» called {h.n}. {s.trouble}.")
    _shelter(w, s, goal, packed)


def _shelter(w: World, s: _Storm, goal: str, food: str) -> None:
    h, f = w.hero, w.friend
    w.para()
    w.say(
        f"{h.n} looked around and saw {s.shelter}. «In there!» {h.he} shouted.",
        f"Then {h.n} saw {s.shelter} and pulled {f.him} inside.",
        f"Through it all, {f.n} saw something dark. It was {s.shelter}. They ran and crept inside.",
    )
    w.say(
        f"«Everything is spoiled,» said {f.n}, whose teeth were chattering.",
        "There they sat, cold and out of breath, and the whole plan was spoiled.",
        f"{f.n} was close to tears. «It was such a good plan,» {f.he} said.",
    )
    ended = w.rnd()
    if ended < 0.13:
        w.bad = True
        w.say("They waited and waited. It grew dark, and it did not stop. They had to go home, cold and wet, and nobody spoke.")
        w.say(f"The next day {f.n} had a bad cold, and there was no more time to {goal}.")
        w.together = False
        w.summary = f"{h.n} and {f.n} want to {goal}, but the weather turns, and they come home cold and sad."
        close(w, "sad")
        return
    w.say(
        f"«We have a roof, we have {food} and we have each other,» said {h.n}. They ate and told each other stories."
        if food
        else f"«We have a roof, and we have each other,» said {h.n}. They sat close and told each other stories.",
        f"{h.n} took {f.his} cold {f.paws} and rubbed them warm. Then they sang every song they knew.",
        f"«Let's pretend this is our ship,» said {h.n}. «You are the captain.» And they sailed to three islands.",
    )
    w.say(
        f"They did not even see that it had stopped. When they came out, {s.after}.",
        f"At last it was over. When they looked out, {s.after}.",
    )
    w.sky = "sunny" if s.sky != "snowy" else "snowy"
    w.hour = AFTERNOON
    w.summary = f"{h.n} and {f.n} want to {goal}, but the weather turns; they hide in {s.shelter} and have a good time."
    close(w, w.pick(("happy", "happy", "calm")), "bad weather is not so bad with a friend", "a spoiled plan can become a good day")
