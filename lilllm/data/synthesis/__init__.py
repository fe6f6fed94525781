"""Recipes for data that a model writes: what it is asked, and which answers are kept."""

from lilllm.data.synthesis.recipe import Ask, Read, Recipe
from lilllm.data.synthesis.self_instruct import SelfInstruct
from lilllm.data.synthesis.stories import StoryRecipe

__all__ = ["Ask", "Read", "Recipe", "SelfInstruct", "StoryRecipe"]
