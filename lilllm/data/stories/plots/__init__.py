"""The plots: each tells one kind of story in a fresh world and sets its facts."""

from collections.abc import Callable

from lilllm.data.stories.plots import (
    courage,
    feasts,
    finding,
    growing,
    helping,
    honesty,
    household,
    journeys,
    kindness,
    mending,
    together,
)
from lilllm.data.stories.world import World

PLOTS: tuple[Callable[[World], None], ...] = (
    finding.lost_thing,
    finding.strange_noise,
    journeys.lost_way,
    journeys.bad_weather,
    mending.broken_thing,
    mending.better_plan,
    helping.helping_hand,
    honesty.a_lie,
    honesty.a_promise,
    honesty.a_warning,
    together.sharing,
    together.newcomer,
    together.goodbye,
    feasts.surprise,
    feasts.secret_gift,
    feasts.contest,
    kindness.hurt_animal,
    kindness.stranger,
    kindness.trade_chain,
    kindness.greedy,
    growing.a_skill,
    growing.a_seed,
    household.missing_things,
    household.new_baby,
    household.stone_soup,
    courage.a_fear,
    courage.sleepless,
)
"""All equally likely. A new plot is a function here: see the package docstring."""
