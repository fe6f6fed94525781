# ruff: noqa: E501 (one sentence is one line)
"""Plots of feast days: a birthday that seems forgotten, a secret gift, a contest."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import GEAR, KEEPSAKES
from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import EVENING, World, an

_EXCUSES = (
    "I have to count my socks", "I must wash my goldfish", "My shoes are too tired", "I have to watch the paint dry",
    "My grandma needs me to hold her yarn", "I have to look for my other mitten",
)  # fmt: skip


def surprise(w: World) -> None:
    """Everybody is too busy on the hero's birthday; the hero is sure they forgot; they did not."""
    h, f, e = w.hero, w.friend, w.elder
    ex1, ex2 = w.two(_EXCUSES)
    animal = w.pick(("cat", "neighbor", "baker", "goat"))
    w.today = True
    intro(w, ("cheerful", "friendly", "young", "merry", "small", "playful"))
    w.para()
    w.say(
        f"One morning {h.n} woke up and smiled. It was {h.his} birthday!",
        f"{h.n} had counted the days for weeks. At last it was {h.his} birthday.",
        f"It was {h.n}'s birthday. {h.He} ran down the stairs to tell everyone.",
    )
    w.say(
        f"But there was no cake on the table, and {e.n} only asked {h.him} to bring in the wood.",
        f"But {e.n} only said, «Good morning. Can you bring in the wood?»",
        f"There was no cake on the table. «I am very busy today,» said {e.n}.",
        f"Nobody said a word about it. {e.n} just went on washing the plates.",
    )
    w.say(
        f"{h.n} went to see {f.n}, but {f.n} had no time to play. {f.He} had to count {f.his} socks, {f.he} said, and closed the door.",
        f"{h.n} went to see {f.n}. «I can't play,» {f.he} said. «{ex1}.»",
        f"«Do you know what day it is?» {h.n} asked {f.n}. «No,» said {f.n}. «But {ex1[0].lower() + ex1[1:] if not ex1.startswith('I ') else ex1}.»",
    )
    w.say(
        f"Even the {animal} had no time for {h.him}." if animal in ("cat", "goat") else f"«{ex2},» said the {animal}, and shut the door.",
        "All the others had gone somewhere, and nobody wanted to say where.",
        f"Then {h.he} saw some friends behind the barn. When {h.he} came near, they stopped talking.",
    )
    w.para()
    w.say(
        f"They had all forgotten {h.him}. {h.He} sat down under a tree and cried a little.",
        f"{h.n} walked around alone all day. Nobody in the whole world cared, {h.he} thought.",
        f"{h.n} kicked a stone down the lane. What a lonely birthday!",
    )
    w.hour = EVENING
    w.home = True
    w.say(
        f"When it grew dark, {h.he} went home. The house was dark, too. {h.n} opened the door.",
        f"In the evening {h.n} came home. How strange! There was no light in the window.",
    )
    w.together = True
    w.twist = True
    w.say(
        f"«SURPRISE!» shouted {f.n} and {e.n} and all {h.his} friends. There were candles everywhere!",
        f"Suddenly there was light! {f.n} and {e.n} and all {h.his} friends jumped up from behind the chairs and began to sing.",
        "Then a hundred little lights went on. «Happy birthday!» they all shouted.",
    )
    w.say(
        f"«I did not have to do all that,» said {f.n}. «I was baking your cake!»",
        f"«It was so hard not to tell you!» said {f.n}. {f.He} still had flour on {f.his} nose.",
        f"In the middle of the table stood a big cake with {h.his} name on it. Nobody had forgotten {h.him} at all.",
    )
    w.summary = f"{h.n} thinks that everybody forgot {h.his} birthday, but {f.n} and the others have planned a surprise party."
    w.item = None
    close(w, "happy", "friends do not forget you", "things are not always what they seem")


def secret_gift(w: World) -> None:
    """Two friends each give up something for the other; or a secret nearly gets out."""
    h, f = w.hero, w.friend
    item = w.wish(KEEPSAKES + GEAR)
    t = item.noun
    intro(w, ("kind", "gentle", "thoughtful", "quiet", "busy", "clever"))
    w.say(
        f"{h.His} best friend was {f.n}, {an(f.trait)} {f.kind}.",
        f"Next door lived {h.his} friend {f.n}.",
    )
    w.para()
    w.say(
        f"{f.n} was going to have a birthday. {h.n} wanted to give {f.him} {item.a}, but {h.he} had no money.",
        f"In a week it was {f.n}'s birthday. «I will give {f.him} {item.a},» thought {h.n}. But {h.he} had no coins at all.",
    )
    work = w.pick((
        ("picked berries for the baker", "the baker"), ("swept the shop for the miller", "the miller"),
        ("walked the farmer's dog", "the farmer"), ("carried bags at the market", "the market people"),
        ("washed windows for the neighbor", "the neighbor"),
    ))  # fmt: skip
    w.say(
        f"So every day after breakfast {h.he} {work[0]}, and got one small coin each time.",
        f"For a whole week {h.n} {work[0]}. Coin by coin, the little jar filled up.",
    )
    w.say(
        f"«Where do you go all the time?» asked {f.n}. «Nowhere,» said {h.n}, and {h.his} ears grew hot.",
        f"«Come and play!» called {f.n}. «I can't,» said {h.n}. {f.n} looked sad, and that was the hardest part.",
        f"It was hard to keep the secret. {f.n} asked every day, and every day {h.n} had to run away.",
        f"It was hard to keep the secret. Once {h.n} almost told, and had to put both {h.paws} over {h.his} mouth.",
    )
    w.para()
    if w.chance(0.3):
        w.twist = True
        other = w.pick(("red boat", "green kite", "warm scarf", "little drum"))
        w.say(f"On the big day {h.n} ran over with the {t} behind {h.his} back. But {f.n} stood there with a gift as well!")
        w.say(f"«I worked all week to buy it,» said {f.n}. «You looked so busy and tired that I wanted to cheer you up.» It was a {other}.")
        w.summary = f"{h.n} secretly works to buy {f.n} {item.a}, and finds out that {f.n} secretly worked for a gift too."
    else:
        w.say(
            f"On the birthday {h.n} put the gift on {f.n}'s step, knocked and hid. {f.n} opened it. There was the {item.full}!",
            f"Early on the birthday, before anyone was awake, {h.n} put the {item.full} on {f.n}'s step and hid behind a bush. {f.n} opened the door and saw it.",
            f"At last the day came. «Close your eyes,» said {h.n}, and put the {item.full} into {f.n}'s {f.paws}.",
        )
        w.say(
            f"«So that is where you went!» cried {f.n}. «I thought you did not like me anymore.»",
            f"«It is just what I wanted,» said {f.n}. «How did you know?»",
            f"{f.n} did not know what to say. {f.He} hugged {h.n} so hard that {h.he} squeaked.",
        )
        w.summary = f"{h.n} works in secret to buy {item.a} for {f.n}'s birthday, and {f.n} is delighted."
    item.holder = f
    w.together = True
    w.home = True
    close(w, w.pick(("happy", "happy", "proud")), "giving is as sweet as getting", "a gift is best when it comes from the heart")


class _Game(NamedTuple):
    name: str
    fast: str
    """How the rival does it, past tense."""
    steady: str
    """How the hero does it."""
    slip: str
    """What goes wrong for the rival."""
    helped: str
    """How the hero helps, past tense, `{f}` for the rival."""
    gloat: str
    """What goes wrong for the hero who laughs too early."""
    prize: str


_GAMES = (
    _Game("the big race", "ran off like the wind", "ran slowly and kept {his} breath",
          "tripped over a root and sat in the dust", "turned back and pulled {f} up",
          "ran right into a fence", "a red ribbon"),
    _Game("the boat race", "rowed so hard that the water splashed", "rowed in a straight line",
          "turned around to laugh and got stuck in the reeds", "rowed back and pulled {f}'s boat out of the reeds",
          "rowed right into the mud", "a blue flag"),
    _Game("the sandcastle contest", "built a tower as tall as a chair", "built a small castle with a good thick wall",
          "saw one wave come and take the tower away", "ran over and helped {f} to build it again",
          "stepped back and fell on {his} own castle", "a silver shell"),
    _Game("the pumpkin contest", "talked all summer about one huge pumpkin", "watered one small pumpkin every day",
          "dropped the huge pumpkin, and it rolled down the hill", "ran down the hill with {f} to catch it",
          "forgot {his} own pumpkin, and a goat ate it", "a golden spoon"),
    _Game("the cake contest", "made a cake with nine floors", "baked a plain little honey cake",
          "opened the oven too early, and the cake fell flat", "stayed with {f} and helped to bake a new one",
          "forgot {his} own cake, and it burned", "a big wooden spoon"),
    _Game("the kite contest", "let out all the string at once", "let the string out bit by bit",
          "pulled too hard, and the string snapped", "put down {his} own kite and ran with {f} to catch the other one",
          "let go of {his} own string, and the kite was gone", "a purple cup"),
    _Game("the snail race", "picked the biggest snail and shouted at it", "picked a tiny snail and put a leaf at the end",
          "saw the big snail fall asleep in its shell", "took {his} own leaf and put it in front of {f}'s snail",
          "did not see that {his} own snail was crawling home", "a shiny bell"),
    _Game("the egg and spoon race", "raced ahead with big steps", "took tiny steps and looked only at the egg",
          "dropped the egg in the grass", "stopped and helped {f} to find it",
          "dropped {his} own egg and stepped on it", "a chocolate egg"),
)  # fmt: skip


def contest(w: World) -> None:
    """A contest against a sure winner: steady work wins, or kindness matters more, or pride falls."""
    h, f, e = w.hero, w.friend, w.elder
    g = w.pick(_GAMES)
    w.sky = "windy" if "kite" in g.name else "sunny"
    w.key_nouns.append(g.prize.split()[-1])
    intro(w, ("small", "quiet", "careful", "young", "friendly", "dreamy", "shy"))
    w.para()
    w.say(
        f"Once a year there was {g.name}. The prize was {g.prize}.",
        f"The day of {g.name} had come. Everybody wanted to win {g.prize}.",
        f"«Come to {g.name}!» said a sign. «Win {g.prize}!» {h.n} read it three times.",
        f"{h.n} had waited a whole year for {g.name}. How {h.he} wanted to win {g.prize}!",
    )
    w.say(
        f"«I will win,» said {f.n}. «I always win.»",
        f"{f.n} laughed. «You are too little to win against me,» {f.he} said.",
        f"Everyone was sure that {f.n} would win. {f.n} was sure, too.",
    )
    w.say(
        f"{h.n} only said, «I will do my best.»",
        f"{h.n}'s heart was beating fast. But {h.he} wanted to try.",
        f"«Just do it your own way,» {e.n} told {h.him}.",
    )
    w.para()
    steady = g.steady.format(his=h.his)
    w.say(
        f"They began. {f.n} {g.fast}. {h.n} {steady}.",
        f"{f.n} {g.fast}, and everyone cheered. {h.n} {steady}.",
        f"{h.n} {steady}. {f.n} only laughed at that. {f.He} {g.fast}.",
    )
    w.say(
        f"But then {f.n} {g.slip}.",
        f"And what happened? {f.n} {g.slip}!",
        f"All was well for {f.n}, until {f.he} {g.slip}.",
    )
    _contest_end(w, g)


def _contest_end(w: World, g: _Game) -> None:
    h, f = w.hero, w.friend
    end = w.rnd()
    if end < 0.42:
        w.say(
            f"{h.n} just went on. And in the end, {h.he} won {g.prize}!",
            f"{h.n} did not look left or right. Nobody could believe it: the winner was {h.n}!",
            f"Slowly and surely, {h.n} came to the end. {h.He} had won!",
        )
        w.say(
            f"«You won,» said {f.n}, and held out a {f.paw}. «Next year I will be more careful.»",
            f"{f.n} looked down. Then {f.he} clapped, too. «That was good,» {f.he} said.",
            f"Even {f.n} clapped in the end, and {f.he} meant it.",
        )
        w.summary = f"{h.n} wins {g.prize} in {g.name} against {f.n}, who was too sure of winning."
        close(w, "proud", "slow and steady can win", "it is better to do well than to talk big")
    elif end < 0.8:
        helped = g.helped.format(f=f.n, his=h.his)
        w.say(
            f"{h.n} could have won. But {h.he} saw the tears in {f.n}'s eyes. {h.He} {helped}.",
            f"{h.n} looked at the prize. Then {h.he} looked at {f.n}. {h.He} {helped}.",
            f"«Wait, I will help you,» said {h.n}, and {helped}.",
        )
        w.say(
            f"So somebody else won {g.prize}. «Why did you do that?» asked {f.n}. «Because you are my friend,» said {h.n}.",
            "They were the very last. And do you know what? The whole crowd stood up and cheered for them.",
            f"Somebody else got the prize. But {f.n} gave {h.him} half of {f.his} lunch, and they sat together all day.",
        )
        w.together = True
        w.summary = f"{h.n} could win {g.name}, but stops to help {f.n}, and gets a friend instead of {g.prize}."
        close(w, w.pick(("happy", "happy", "proud")), "a friend is better than a prize", "being kind is a way to win")
    else:
        w.bad = True
        w.say(
            f"«Ha! Now I will win!» shouted {h.n}, and pointed and laughed. And because {h.he} was laughing, {h.he} {g.gloat.format(his=h.his)}.",
            f"{h.n} laughed at {f.n} and began to dance before it was over. So {h.he} {g.gloat.format(his=h.his)}.",
        )
        w.say(
            f"{g.prize[0].upper() + g.prize[1:]} went home with somebody else, and nobody clapped for {h.n}.",
            f"There was no prize for {h.n}, and {f.n} would not even look at {h.him}.",
        )
        w.summary = f"{h.n} laughs at {f.n} during {g.name}, and loses both {g.prize} and a friend."
        close(w, "sad", "nobody likes to be laughed at", "pride comes before a fall")
