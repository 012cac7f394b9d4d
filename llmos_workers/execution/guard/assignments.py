"""Variables set on a command line, and those that make other programs run something."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.marks import ELEMENT, UNKNOWN, UNSET, known, shown
from llmos_workers.execution.guard.parameters import SECRET_NAME
from llmos_workers.execution.guard.parse import Node
from llmos_workers.execution.guard.scope import Scope
from llmos_workers.execution.guard.words import fields, text_of

RUNS_CODE = re.compile(
    r"LD_\w+|DYLD_\w+|BASH_ENV|ENV|PERL5OPT|PERL5LIB|PERL5DB|PYTHONSTARTUP|PYTHONHOME"
    r"|PYTHONINSPECT|PYTHONBREAKPOINT|NODE_OPTIONS|NODE_PATH|GIT_(?!AUTHOR|COMMITTER|PAGER$|"
    r"TERMINAL|DIR$|MERGE_AUTOEDIT)\w+|LESSOPEN|LESSCLOSE|LESSEDIT|PS[0-4]|PROMPT_COMMAND"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|RUBYOPT|RUBYLIB|GCONV_PATH|SHELLOPTS"
    r"|BASHOPTS|BASH_ALIASES|BASH_CMDS|BASH_FUNC_\w*|MANPAGER|MANOPT|SYSTEMD_\w+|HOSTALIASES"
    r"|RESOLV_HOST_CONF|TERMINFO|TERMCAP|CDPATH|GLOBIGNORE|FPATH|OPENSSL_CONF|SSLKEYLOGFILE"
    r"|PIP_\w*(URL|HOST|FILE)|npm_config_\w+|RUSTC_WRAPPER"
    r"|RUSTFLAGS|CARGO_BUILD_\w+|GOFLAGS|DOCKER_HOST|KUBECONFIG|\w+_proxy|\w+_PROXY|MAKEFLAGS"
)
"""Variables by which programs are made to load or run something, or to talk to somebody else."""

_EDITORS = re.compile(r"(GIT_)?(PAGER|EDITOR|VISUAL)|BROWSER|(GIT_)?SEQUENCE_EDITOR|GIT_PAGER")
_HARMLESS_EDITORS = frozenset({"cat", "less", "more", "true", ":", "vi", "vim", "nano", "", "echo"})


def assign(node: Node, scope: Scope, *, lasting: bool) -> None:
    """Set one variable. ``lasting``: not only for one command."""
    name = str((node.get("Name") or {}).get("Value", ""))
    if node.get("Index") is not None:
        judge_operand(text_of(node["Index"], scope), scope)
    if node.get("Array") is not None:
        elements = node["Array"].get("Elems") or []
        values = [t for one in elements if one.get("Value") for t in fields(one["Value"], scope)]
        value = ELEMENT.join(values)
    else:
        value = text_of(node.get("Value"), scope)
    if node.get("Append"):
        value = scope.variables.get(name, "").replace(UNSET, "") + value
    judge_variable(name, value, scope)
    if name == "IFS" and lasting and value.strip(" \t\n"):
        scope.confirm("expansion", "it changes where words are cut (IFS)")
    scope.variables[name] = value


def judge_variable(name: str, value: str, scope: Scope) -> None:
    """Refuse variables that make programs run something."""
    if _EDITORS.fullmatch(name):
        if value.replace(UNSET, "") not in _HARMLESS_EDITORS:
            scope.deny("environment", f"{name} makes other programs run {shown(value)}")
        return
    if RUNS_CODE.fullmatch(name):
        if name == "PS1":
            return
        scope.deny("environment", f"{name} makes other programs load or run something")
    if name == "PATH":
        _judge_search_path(value, scope)
    if name == "HOME" and value.startswith("/") and known(value):
        scope.variables["HOME"] = value


def _judge_search_path(value: str, scope: Scope) -> None:
    for folder in value.replace(UNSET, "").split(":"):
        if re.match(r"/(usr|bin|sbin|opt)(/|$)", folder):
            return  # what comes after the system's own folders hides nothing
        if folder.startswith(("/tmp", "~")) or folder in (".", ""):  # noqa: S108
            scope.deny("environment", "it makes programs be looked for where anybody may put them")
            return
        scope.confirm("environment", f"programs would be looked for in {shown(folder)} first")
        return


def declare(node: Node, scope: Scope) -> str:
    """declare, local, export, readonly: options, names, assignments."""
    variant = str((node.get("Variant") or {}).get("Value", ""))
    options, names = "", 0
    for one in node.get("Args") or []:
        if one.get("Naked") and not one.get("Name"):
            word = text_of(one.get("Value"), scope)
            if word.startswith("-"):
                options += word[1:]
            elif "=" in word:
                names += 1
                _late(word, scope)
            else:
                names += 1
            continue
        names += 1
        assign_declared(one, options, scope, variant)
    prints = variant != "local" and (not names or "p" in options) and "f" not in options.lower()
    if prints:
        scope.confirm("secret", f"{variant} shows the environment")
    if "n" in options and variant != "export":
        scope.confirm("expansion", "it makes one variable stand for another")
    return UNKNOWN


def assign_declared(node: Node, options: str, scope: Scope, variant: str) -> None:
    """One ``name=value`` of a declaration."""
    name = str((node.get("Name") or {}).get("Value", ""))
    if node.get("Value") is None and node.get("Array") is None:
        if SECRET_NAME.search(name) and "p" in options:
            scope.deny("secret", f"it shows {name}")
        if variant == "local":
            scope.variables[name] = UNSET
        return
    assign(node, scope, lasting=True)
    if "i" in options:
        judge_operand(scope.variables.get(name, ""), scope)


def _late(word: str, scope: Scope) -> None:
    name, _, value = word.partition("=")
    judge_variable(name, value, scope)
    scope.variables[name] = value


def judge_operand(text: str, scope: Scope) -> None:
    """What test, let and declare -i evaluate a second time may run commands."""
    if re.search(r"\$\(|`|\[\s*\$", text):
        scope.deny("arithmetic", f"{shown(text)} is evaluated a second time, and runs a command")
