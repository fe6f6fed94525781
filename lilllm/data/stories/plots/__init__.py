"""The plots: each tells one kind of story in a fresh world and sets its facts."""

from collections.abc import Callable

from lilllm.data.stories.plots import feasts, finding, growing, honesty, kindness, mending, together
from lilllm.data.stories.world import World

PLOTS: tuple[Callable[[World], None], ...] = (
    finding.lost_thing,
    finding.strange_noise,
    finding.lost_way,
    mending.broken_thing,
    mending.better_plan,
    mending.helping_hand,
    honesty.a_lie,
    honesty.a_promise,
    honesty.a_warning,
    together.sharing,
    feasts.surprise,
    feasts.contest,
    together.newcomer,
    together.goodbye,
    kindness.hurt_animal,
    kindness.stranger,
    kindness.trade_chain,
    kindness.greedy,
    growing.a_skill,
    growing.a_seed,
    growing.a_fear,
    growing.sleepless,
    growing.bad_weather,
)
