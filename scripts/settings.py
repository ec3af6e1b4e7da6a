"""Writes what comes from `fastnnunet_loader.settings.Settings`: `install()` in the package, and the table in docs/settings.md.

python scripts/settings.py            # exit code 1 if a file is not as it would be written
python scripts/settings.py --write
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "python"))

from fastnnunet_loader.settings import Settings, settings_of  # noqa: E402

PACKAGE = ROOT / "python" / "fastnnunet_loader" / "__init__.py"
DOCS = ROOT / "docs" / "settings.md"
WIDTH = 128  # of [tool.ruff]

INSTALL = '''\
def install(
    *,
{parameters}
) -> None:
    """Makes every nnU-Net trainer of this process use this loader, until `uninstall()`. Calling it again changes the settings.

    Args:
{arguments}

    Raises:
        ValueError: an argument is out of range, or a file of statistics holds something else.
        ModuleNotFoundError: nnU-Net, or what `metrics` needs, is not installed.
    """
    # nnU-Net is imported only where it is wanted: the loader and the pipelines do without.
    from .nnunet import install as install_in_nnunet

    install_in_nnunet(
        _Settings(
{values}
        )
    )


'''


def install_function() -> str:
    """Return the source of `install()`."""
    parameters, arguments, values = [], [], []
    for name, (found, setting) in settings_of(Settings).items():
        # The package's own names begin with an underscore, so that what it exports stays a short list.
        kind = re.sub(r"\b(os|Collection|Literal)\b", r"_\1", str(found.type)).replace("'", '"')
        default = repr(found.default).replace("'", '"')
        parameters.append(f"    {name}: {kind} = {default},")
        unset = f" (None: {setting.default_in_words})" if found.default is None else ""
        text = f"{name}: {setting.help}{unset}.{' ' * bool(setting.more)}{setting.more}"
        indents = {"initial_indent": " " * 8, "subsequent_indent": " " * 12}
        arguments.append(textwrap.fill(text, WIDTH, break_on_hyphens=False, **indents))
        values.append(f"            {name}={name},")
    return INSTALL.format(parameters="\n".join(parameters), arguments="\n".join(arguments), values="\n".join(values))


def table() -> str:
    """Return the table of the docs."""
    lines = ["| `install()` | option | default | meaning |", "|---|---|---|---|"]
    for name, (found, setting) in settings_of(Settings).items():
        value = "" if found.default is False or not setting.kind.metavar else f" {setting.kind.metavar}"
        option = f"`--{name.replace('_', '-')}{value or (' ' + '|'.join(setting.choices) if setting.choices else '')}`"
        default = setting.default_in_words or {False: "off"}.get(found.default, str(found.default).removesuffix(".0"))
        meaning = f"{setting.help[0].upper()}{setting.help[1:]}.{' ' * bool(setting.more)}{setting.more}"
        lines.append(f"| `{name}` | {option.replace('|', chr(92) + '|')} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def contents() -> dict[Path, str]:
    """Return what each file has to hold."""
    package, docs = PACKAGE.read_text(encoding="utf-8"), DOCS.read_text(encoding="utf-8")
    begin, end = package.index("def install("), package.index("def uninstall(")
    before, _, rest = docs.partition("| `install()` |")
    after = rest[rest.index("\n\n") + 1 :] if "\n\n" in rest else ""
    return {PACKAGE: package[:begin] + install_function() + package[end:], DOCS: before + table() + after}


if __name__ == "__main__":
    wrong = {file: text for file, text in contents().items() if file.read_text(encoding="utf-8") != text}
    for file, text in wrong.items():
        if "--write" in sys.argv:
            file.write_text(text, encoding="utf-8")
        else:
            print(f"{file.relative_to(ROOT)} is not as python scripts/settings.py --write writes it")
    sys.exit(bool(wrong) and "--write" not in sys.argv)
