"""`lilllm config`: show, check and document configs."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lilllm.cli.arguments import ConfigPath, Json, Overrides, read_config

app = typer.Typer(help="Show, check and document configs.", no_args_is_help=True)


@app.command()
def show(config: ConfigPath = None, overrides: Overrides = None, json: Json = False) -> None:
    """Print a config with every default filled in.

    Example: lilllm config show configs/39m.yaml pretrain.lr=3e-4
    """
    from lilllm.cli.render import run_command
    from lilllm.config import Config, dump_yaml

    def work(report: object) -> dict[str, object]:
        return {"config": read_config(config, overrides).model_dump(mode="json")}

    run_command(
        "config show",
        json,
        work,
        lambda result, out: print(dump_yaml(Config.model_validate(result["config"])), end=""),
    )


@app.command()
def check(config: ConfigPath = None, overrides: Overrides = None, json: Json = False) -> None:
    """Check a config; exit code 2 and every problem if something is wrong.

    Example: lilllm config check configs/39m.yaml
    """
    from lilllm.cli.render import run_command

    def work(report: object) -> dict[str, object]:
        read_config(config, overrides)
        return {"path": str(config or "defaults"), "valid": True}

    run_command("config check", json, work)


@app.command()
def schema(json: Json = False) -> None:
    """Print the JSON Schema of a config: every key, its unit, effect and default.

    With --json it is the key `json_schema` of the result.

    Example: lilllm config schema > lilllm.schema.json
    """
    from json import dumps

    from lilllm.cli.render import run_command
    from lilllm.config import Config

    run_command(
        "config schema",
        json,
        lambda report: {"json_schema": Config.model_json_schema()},
        lambda result, out: print(dumps(result["json_schema"], indent=2)),
    )


@app.command()
def keys(
    prefix: Annotated[
        str, typer.Argument(metavar="[KEY]", help="Only this one and those below it.")
    ] = "",
    json: Json = False,
) -> None:
    """List the keys of a config: what each takes, its default and its effect.

    Example: lilllm config keys pretrain
    """
    from lilllm.cli.render import run_command

    def work(report: object) -> dict[str, list[dict[str, Any]]]:
        from lilllm.config.keys import keys
        from lilllm.errors import ConfigError

        found = keys(prefix)
        if not found:
            raise ConfigError(f"{prefix}: no such key", "`lilllm config keys` lists all")
        return {"keys": [asdict(key) for key in found]}

    run_command("config keys", json, work, lambda result, out: print(as_list(result["keys"])))


def as_list(keys: list[dict[str, Any]]) -> str:
    """One line each, which is Markdown too."""
    return "\n".join(
        f"- `{key['path']}` ({key['kind']}"
        + {None: "; must be given", "": ""}.get(key["default"], f"; default {key['default']}")
        + ")"
        + (f": {key['about']}" if key["about"] else "")
        for key in keys
    )
