"""
``completion``: what a shell needs to complete commands and options, made from the very parser that reads them.
"""

from __future__ import annotations

import argparse
from typing import Any

from ntptwist.cli.client import EX_OK

TOOL = "ntptwist-ctl"

BASH = """\
_ntptwist_ctl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command= i
    case ${{COMP_WORDS[COMP_CWORD-1]}} in
        -c|--config) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            -c|--config) ((i++)) ;;
            -*) ;;
            *) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case $command in
        '') COMPREPLY=($(compgen -W '{top}' -- "$word")) ;;
{cases}
    esac
}}
complete -F _ntptwist_ctl {tool}
"""

ZSH = """\
#compdef {tool}
local -a commands
commands=(
{commands}
)
_arguments -C {top} '1:command:->command' '*::argument:->argument'
case $state in
    command) _describe command commands ;;
    argument)
        case $words[1] in
{cases}
        esac ;;
esac
"""


def register(subparsers: Any) -> None:
    """Add the command to a parser."""
    text = "a script that completes commands and options, for a shell"
    command = subparsers.add_parser("completion", help=text, description=text)
    command.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(options: Any) -> int:
    """Print the script for one shell."""
    from ntptwist.cli.ctl import parser

    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell]
    print(make(parser()), end="")
    return EX_OK


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Give what a parser takes; argparse has no public way to ask."""
    actions: list[argparse.Action] = parser._actions  # noqa: SLF001
    return actions


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(dict(action.choices or {}) for action in _actions(parser) if action.dest == "command")


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in _actions(parser) if action.option_strings]


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Give every word that can follow: options, and arguments of which there are only a few."""
    words = [word for action in _options(parser) for word in action.option_strings]
    return words + [
        str(word) for action in _actions(parser) if action.dest != "command" for word in action.choices or ()
    ]


def _bash(parser: argparse.ArgumentParser) -> str:
    commands = _commands(parser)
    cases = [
        f"        {name}) COMPREPLY=($(compgen -W '{' '.join(_words(command))}' -- \"$word\")) ;;"
        for name, command in commands.items()
    ]
    return BASH.format(tool=TOOL, top=" ".join([*commands, *_words(parser)]), cases="\n".join(cases))


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _zsh(parser: argparse.ArgumentParser) -> str:
    def arguments(of: argparse.ArgumentParser) -> str:
        told = []
        for action in _options(of):
            value = "" if action.nargs == 0 else f":{action.metavar or action.dest}:_files"
            told += [
                f"'{word}[{_quoted((action.help or '') % vars(action))}]{value}'" for word in action.option_strings
            ]
        return " ".join(told)

    commands = _commands(parser)
    listed = [f"    '{name}:{_quoted(command.description or '')}'" for name, command in commands.items()]
    cases = []
    for name, command in commands.items():
        few = next((action.choices for action in _actions(command) if action.choices), None)
        positional = f" '1:{name}:({' '.join(map(str, few))})'" if few else ""
        cases.append(f"            {name}) _arguments {arguments(command)}{positional} ;;")
    return ZSH.format(tool=TOOL, commands="\n".join(listed), top=arguments(parser), cases="\n".join(cases))


def _fish(parser: argparse.ArgumentParser) -> str:
    def option(action: argparse.Action, condition: str) -> str:
        words = "".join(
            f" -l {word[2:]}" if word.startswith("--") else f" -s {word[1:]}" for word in action.option_strings
        )
        text = ((action.help or "") % vars(action)).replace("'", "\\'")
        return f"complete -c {TOOL} -n '{condition}'{words}{'' if action.nargs == 0 else ' -r'} -d '{text}'"

    lines = [f"complete -c {TOOL} -f"]
    lines += [option(action, "__fish_use_subcommand").replace(" -r -d", " -r -F -d") for action in _options(parser)]
    for name, command in _commands(parser).items():
        text = (command.description or "").replace("'", "\\'")
        lines.append(f"complete -c {TOOL} -n __fish_use_subcommand -a {name} -d '{text}'")
        seen = f"__fish_seen_subcommand_from {name}"
        lines += [option(action, seen) for action in _options(command)]
        few = [str(word) for action in _actions(command) for word in action.choices or ()]
        lines += [f"complete -c {TOOL} -n '{seen}' -a '{' '.join(few)}'"] if few else []
    return "\n".join(lines) + "\n"
