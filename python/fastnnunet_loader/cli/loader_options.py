"""The options of the loader, which `fastnnunet train`, `fastnnunet run` and the variable FASTNNUNET_RUN share."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CommandError
from ..settings import Settings, settings_of
from ..statistics.places import missing, taken
from .arguments import argument

__all__ = [
    "VARIABLE",
    "add_loader_options",
    "add_setting",
    "as_text",
    "check_loader_options",
    "from_text",
    "install_arguments",
]

VARIABLE = "FASTNNUNET_RUN"
"""The environment variable that `fastnnunet_autoload` reads. That module has side effects on import, so it is not imported."""


_GROUPS = {"loader": "options of the loader", "statistics": "statistics of the loader"}


def add_loader_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `install()`: how batches are made, and where statistics are written."""
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for name, (_, setting) in settings_of(Settings).items():
        add_setting(groups[setting.group], name)


def add_setting(group: Any, name: str, help: str | None = None) -> None:
    """Add the option of one setting, with other words if `help` is given."""
    found, setting = settings_of(Settings)[name]
    option, words, default = f"--{name.replace('_', '-')}", help or setting.help, found.default
    if default is False:
        group.add_argument(option, action="store_true", help=words)
        return
    options: dict[str, Any] = {"choices": setting.choices} if setting.choices else {"type": argument(setting.kind)}
    if setting.kind.metavar:
        options["metavar"] = setting.kind.metavar
    if isinstance(default, tuple):
        options |= {"action": "append", "default": None}
    else:
        options["default"] = default
    if "(default:" not in words and default != ():
        shown = setting.default_in_words or ("%(default)g" if isinstance(default, float) else "%(default)s")
        words += f" (default: {shown})"
    group.add_argument(option, help=words, **options)


def check_loader_options(args: argparse.Namespace) -> None:
    """Raise CommandError if a file of statistics cannot be written."""
    for option, file in {"--stats": args.stats, "--metrics": args.metrics}.items():
        if file is not None and not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
            raise CommandError(f"[{option}] expected a file in a folder that can be written to, got {file}")
    if args.cache_size is not None and args.cache_dir is None:
        raise CommandError("[--cache-size] expected --cache-dir with the folder of the copies, got none")
    if args.cache_dir is not None:
        parent = next(one for one in (args.cache_dir, *args.cache_dir.absolute().parents) if one.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK)):
            raise CommandError(f"[--cache-dir] expected a folder that can be written to, got {args.cache_dir}")
    if args.metrics is not None and (package := missing()):
        raise CommandError(f"[--metrics] {package}")
    if problem := taken(args.stats, args.metrics):
        raise CommandError(problem.replace("[", "[--", 1))


def install_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return parsed options as keyword arguments of `install()`."""
    values = {name: getattr(args, name) for name in _defaults()}
    return {**values, "leave_to_nnunet": values["leave_to_nnunet"] or ()}


def as_text(args: argparse.Namespace) -> str:
    """Return parsed options as text for `from_text`, with absolute paths; "1" if all are the defaults."""
    words = []
    for name, default in _defaults().items():
        value = getattr(args, name)
        if value == default:
            continue
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, list) else [value]:
            words.append(option)
            if one is not True:
                words.append(str(one.absolute() if isinstance(one, Path) else one))
    return shlex.join(words) or "1"


def from_text(text: str) -> dict[str, Any]:
    """Return the keyword arguments of `install()` from a text of options, or from "1", which means the defaults.

    Raises:
        CommandError: an option does not exist, or its value is out of range.
    """
    parser = _TextParser(add_help=False, allow_abbrev=False)
    add_loader_options(parser)
    try:
        args = parser.parse_args([] if text.strip() == "1" else shlex.split(text))
        check_loader_options(args)
    except (CommandError, ValueError) as error:
        raise CommandError(f"expected 1, 0 or options that `fastnnunet run --help` lists, got {text!r}: {error}") from None
    return install_arguments(args)


def _defaults() -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False)
    add_loader_options(parser)
    return vars(parser.parse_args([]))


class _TextParser(argparse.ArgumentParser):
    """Raises an error where argparse would print the usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)
