"""The one schema, and how a config is read and where its run folder is."""

from lilllm.config.layout import Layout, layout
from lilllm.config.load import dump_yaml, load_config
from lilllm.config.schema import Config

__all__ = ["Config", "Layout", "dump_yaml", "layout", "load_config"]
