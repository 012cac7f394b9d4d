"""Walks a command line in the order in which it would run, and judges what it meets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmos_workers.execution.guard import assignments, dispatch, loops
from llmos_workers.execution.guard.handlers.interpreters import SHELLS
from llmos_workers.execution.guard.marks import ENDLESS, SELF, UNKNOWN, shown
from llmos_workers.execution.guard.parse import Node, parse
from llmos_workers.execution.guard.paths import HIDDEN
from llmos_workers.execution.guard.redirects import Redirected, redirect, remember
from llmos_workers.execution.guard.scope import Scope
from llmos_workers.execution.guard.words import arithmetic, fields, text_of


class Walker:
    """The machine on paper: statements in, what they print out; findings go to the scope."""

    def __init__(self) -> None:
        self._kinds: dict[str, Callable[[Node, Scope, str | None], str]] = {
            "CallExpr": self._simple,
            "BinaryCmd": self._binary,
            "Block": self._block,
            "Subshell": self._subshell,
            "IfClause": self._if,
            "WhileClause": self._while,
            "ForClause": self._for,
            "CaseClause": self._case,
            "FuncDecl": self._function,
            "TimeClause": self._inner,
            "CoprocClause": self._inner,
            "DeclClause": self._declare,
            "LetClause": self._arithmetic,
            "ArithmCmd": self._arithmetic,
            "TestClause": self._test,
        }

    def script(self, text: str, scope: Scope, stdin: str | None) -> str:
        """What a command line prints. Raises UnreadableCommand, TooDeep."""
        if HIDDEN.search(text):
            scope.deny("hidden", "it holds characters that cannot be seen")
            return UNKNOWN
        parsed = parse(text)
        if not parsed.agreed:
            scope.confirm("parse", parsed.difference)
        return self.statements(parsed.statements, scope, stdin)

    def statements(self, nodes: list[Node], scope: Scope, stdin: str | None) -> str:
        """What statements print, one after the other."""
        return "".join(self.statement(node, scope, stdin) for node in nodes)

    def statement(self, node: Node, scope: Scope, stdin: str | None) -> str:
        """What one statement prints to the outside, its redirections done."""
        scope.step()
        if node.get("Background"):
            scope.shared.jobs = True
            scope = scope.fork()
            scope.background = True
        to = Redirected(stdin)
        for one in node.get("Redirs") or []:
            redirect(one, to, scope)
        command = node.get("Cmd")
        if command is None:
            if to.stdin is not None and to.stdin is not stdin and not to.targets:
                return to.stdin  # $(< file)
            if to.targets:
                scope.shared.destructive = True  # "> file" empties it
            remember(to, "", scope)
            return ""
        handler = self._kinds.get(command.get("Type", ""))
        if handler is None:
            scope.confirm("parse", f"a {command.get('Type')} is not known to the analysis")
            return UNKNOWN
        output = handler(command, scope, to.stdin)
        if to.targets:
            if ENDLESS in output:
                scope.deny("endless", "it writes output that never ends to a file")
            remember(to, output, scope)
            return ""
        return output

    def run(self, argv: list[str], scope: Scope, stdin: str | None) -> str:
        """What a program prints that is called with these words."""
        scope.step()
        if not argv:
            return ""
        name = argv[0]
        if name == SELF or (SELF in argv[1:2] and name in SHELLS):
            scope.deny("bomb", "it starts itself again")
            return UNKNOWN
        body = scope.functions.get(name)
        if body is None:
            return dispatch.run(argv, scope, stdin)
        if name in scope.active:
            if scope.background:
                scope.deny("bomb", f"{shown(name)} starts copies of itself without end")
            return UNKNOWN
        inner = scope.deeper()
        inner.arguments, inner.active = argv[1:], (*scope.active, name)
        output = self.statement(body, inner, stdin)
        scope.cwd, scope.variables = inner.cwd, inner.variables
        return output

    def _simple(self, node: Node, scope: Scope, stdin: str | None) -> str:
        words = [text for word in node.get("Args") or [] for text in fields(word, scope)]
        given = node.get("Assigns") or []
        if not words:
            for one in given:
                assignments.assign(one, scope, lasting=True)
            return ""
        inner = scope
        if given:
            kept = scope.variables
            inner.variables = dict(kept)
            for one in given:
                assignments.assign(one, inner, lasting=False)
        output = self.run(words, inner, stdin)
        if given:
            names = [one["Name"]["Value"] for one in given]
            for name in names:
                scope.variables.pop(name, None)
                if name in kept:
                    scope.variables[name] = kept[name]
        return output

    def _binary(self, node: Node, scope: Scope, stdin: str | None) -> str:
        if node["Op"] in ("|", "|&"):
            left, right = scope.fork(), scope.fork()
            left.background = right.background = True
            output = self.statement(node["X"], left, stdin)
            return self.statement(node["Y"], right, output)
        first = self.statement(node["X"], scope, stdin)
        if node["Op"] == "&&":
            return first + self.statement(node["Y"], scope, stdin)
        other = scope.fork()
        second = self.statement(node["Y"], other, stdin)
        loops.merge(scope, [scope.fork(), other])
        return first + second

    def _block(self, node: Node, scope: Scope, stdin: str | None) -> str:
        return self.statements(node.get("Stmts") or [], scope, stdin)

    def _subshell(self, node: Node, scope: Scope, stdin: str | None) -> str:
        return self.statements(node.get("Stmts") or [], scope.deeper(), stdin)

    def _inner(self, node: Node, scope: Scope, stdin: str | None) -> str:
        inner = node.get("Stmt")
        return self.statement(inner, scope, stdin) if inner else ""

    def _if(self, node: Node, scope: Scope, stdin: str | None) -> str:
        output, ends = "", []
        branch: Node | None = node
        while branch is not None:
            output += self.statements(branch.get("Cond") or [], scope, stdin)
            inner = scope.fork()
            output += self.statements(branch.get("Then") or [], inner, stdin)
            ends.append(inner)
            branch = branch.get("Else")
        loops.merge(scope, [*ends, scope.fork()])
        return output

    def _while(self, node: Node, scope: Scope, stdin: str | None) -> str:
        loops.judge_endless(node, scope)
        output = ""
        before = scope.fork()
        for _ in range(2):  # what the first round sets, the second one uses
            output = self.statements(node.get("Cond") or [], scope, stdin)
            output += self.statements(node.get("Do") or [], scope, stdin)
        loops.merge(scope, [before, scope.fork()])
        return output

    def _for(self, node: Node, scope: Scope, stdin: str | None) -> str:
        loop, output = node["Loop"], ""
        if loop["Type"] != "WordIter":
            loops.judge_counted(loop, scope)
            arithmetic(loop, scope)
            for part in ("Init", "Post"):
                loops.forget_counter(loop.get(part), scope)
            return self.statements(node.get("Do") or [], scope, stdin)
        items = [text for word in loop.get("Items") or [] for text in fields(word, scope)]
        if "Items" not in loop:
            items = list(scope.arguments or [])
        name = loop["Name"]["Value"]
        for item in loops.telling(items) or [UNKNOWN]:
            scope.variables[name] = item
            output += self.statements(node.get("Do") or [], scope, stdin)
        return output

    def _case(self, node: Node, scope: Scope, stdin: str | None) -> str:
        text_of(node.get("Word"), scope)
        output, ends = "", [scope.fork()]
        for item in node.get("Items") or []:
            for pattern in item.get("Patterns") or []:
                text_of(pattern, scope)
            inner = scope.fork()
            output += self.statements(item.get("Stmts") or [], inner, stdin)
            ends.append(inner)
        loops.merge(scope, ends)
        return output

    def _function(self, node: Node, scope: Scope, stdin: str | None) -> str:
        name = node["Name"]["Value"]
        scope.functions[name] = node["Body"]
        inner = scope.deeper()
        inner.arguments, inner.active = [UNKNOWN] * 9, (*scope.active, name)
        self.statement(node["Body"], inner, stdin if name in scope.active else None)
        if name in ("command_not_found_handle", "cd", "exit", "builtin", "command", "unset"):
            scope.confirm("function", f"it gives {name} another meaning")
        return ""

    def _declare(self, node: Node, scope: Scope, stdin: str | None) -> str:
        del stdin
        return assignments.declare(node, scope)

    def _arithmetic(self, node: Node, scope: Scope, stdin: str | None) -> str:
        del stdin
        arithmetic(node, scope)
        return ""

    def _test(self, node: Node, scope: Scope, stdin: str | None) -> str:
        del stdin
        todo: list[Any] = [node.get("X")]
        while todo:
            one = todo.pop()
            if isinstance(one, dict) and one.get("Type") == "Word":
                assignments.judge_operand(text_of(one, scope), scope)
            elif isinstance(one, dict):
                todo.extend(v for k, v in one.items() if k in ("X", "Y"))
        return ""
