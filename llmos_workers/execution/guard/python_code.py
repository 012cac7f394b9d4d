"""What Python code would do, from its syntax tree. The sandbox holds what this cannot see."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import UNKNOWN, shown
from llmos_workers.execution.guard.parameters import SECRET_NAME
from llmos_workers.execution.guard.paths import HIDDEN, Use
from llmos_workers.execution.guard.scope import Scope

MODULES = words(
    "ctypes socket pty marshal posix nt code codeop inspect gc signal multiprocessing asyncio "
    "smtplib ftplib telnetlib poplib imaplib nntplib xmlrpc socketserver paramiko fabric "
    "pexpect celery webbrowser linecache runpy cProfile profile builtins importlib imp mmap "
    "site pickle cPickle shelve dill joblib cloudpickle jsonpickle resource threading _thread "
    "fcntl dbm cffi pkgutil zipimport faulthandler tracemalloc syslog termios tty readline "
    "rlcompleter pdb bdb trace concurrent websockets aiohttp psutil docker kubernetes boto3 "
    "botocore redis pymongo psycopg2 keyring winreg msvcrt commands popen2 spwd pwd grp crypt "
    "nis audioop antigravity idlelib distutils setuptools pip ensurepip venv sched "
    "_posixsubprocess _socket _ctypes sysconfig subinterpreters _xxsubinterpreters pydoc"
)
"""Modules that run, load or reach what no one can see from the code."""

NETWORK = words("requests urllib urllib2 urllib3 httpx http wget pycurl")

ATTRIBUTES = words(
    "system popen execv execve execvp execvpe execl execle execlp spawnl spawnv spawnve "
    "spawnvp posix_spawn fork forkpty kill killpg setuid setgid seteuid setegid setgroups "
    "symlink chown lchown fchown chroot mknod mkfifo ptrace environ environb getenv getenvb "
    "putenv modules settrace setprofile _getframe _current_frames expanduser home gi_frame "
    "f_back f_globals f_locals f_builtins tb_frame cr_frame ag_frame enable_load_extension "
    "load_extension get_field abort getusersitepackages getsitepackages addsitedir startfile "
    "dlopen loader get_data find_spec exec_module load_module subclasses mro getattribute"
)

NAMES = words(
    "eval exec compile __import__ __builtins__ breakpoint globals vars locals input "
    "__loader__ __spec__ memoryview_ help exit_ delattr"
)

_READS = words(
    "open read_csv read_json read_excel read_parquet read_table read_text read_bytes listdir "
    "scandir walk fwalk glob iglob rglob iterdir stat lstat exists FileIO fileinput loadtxt "
    "genfromtxt connect getline getlines Path PurePath PosixPath ZipFile is_zipfile readlink "
    "chdir"
)
_WRITES = words(
    "remove unlink rename renames replace makedirs mkdir rmdir removedirs copy copy2 copyfile "
    "copytree move extractall extract chmod truncate link hardlink_to symlink_to touch "
    "write_text write_bytes utime to_csv to_json to_excel to_parquet savetxt save "
    "make_archive unpack_archive mkstemp_"
)
_STRING_METHODS = frozenset({"replace", "copy", "extract", "save", "connect", "touch"})
"""Methods of other things too: a text as their first argument need not be a path."""
_SQL_WRITES = re.compile(r"\b(drop|truncate|delete\s+from|alter)\b", re.I)
_DUNDER_OK = words(
    "__name__ __main__ __init__ __doc__ __file__ __version__ __len__ __str__ __repr__ __eq__ "
    "__hash__ __iter__ __next__ __enter__ __exit__ __call__ __add__ __lt__ __gt__ __le__ "
    "__ge__ __contains__ __getitem__ __setitem__ __post_init__ __slots__ __all__ __bool__ "
    "__future__ __annotations__ __mul__ __sub__ __truediv__ __del__ __new__"
)


@lru_cache(maxsize=1_024)
def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def judge_python(code: str, scope: Scope) -> None:
    """Note what the code must not do."""
    if HIDDEN.search(code):
        scope.deny("hidden", "the code holds characters that cannot be seen")
        return
    tree = _tree(code)
    if tree is None:
        scope.confirm("parse", "the code is no Python that can be read")
        return
    judge = _Judge(scope)
    for node in ast.walk(tree):
        judge.node(node)


class _Judge:
    """Looks at each node of the tree."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.aliases: dict[str, str] = {}

    def node(self, node: ast.AST) -> None:
        """Judge one node by itself."""
        match node:
            case ast.Import(names=names):
                for name in names:
                    self.aliases[name.asname or name.name.split(".")[0]] = name.name
                    self._module(name.name)
            case ast.ImportFrom(module=module, names=names):
                self._from(module or "", [name.name for name in names])
                for name in names:
                    self.aliases[name.asname or name.name] = f"{module}.{name.name}"
            case ast.Attribute(attr=attr):
                self._attribute(attr, node)
            case ast.Name(id=name):
                if name in NAMES:
                    self._code(f"it uses {name}")
                self._dunder(name)
            case ast.Constant(value=str(text)):
                self._text(text)
            case ast.While():
                self._loop(node)
            case ast.Call():
                self._call(node)
            case ast.BinOp(op=ast.Pow() | ast.LShift() | ast.Mult()):
                self._number(node)
            case _:
                pass

    def _code(self, reason: str) -> None:
        self.scope.deny("python", f"{reason}, which the guard does not follow")

    def _module(self, name: str) -> None:
        top = name.split(".", maxsplit=1)[0]
        if top in MODULES and name not in ("importlib.metadata", "importlib.resources"):
            self._code(f"it imports {name}")
        if top in NETWORK and name not in ("urllib.parse", "http.HTTPStatus", "http.cookies"):
            self.scope.confirm("network", f"it imports {name}, which talks to the network")

    def _from(self, module: str, names: list[str]) -> None:
        top = module.split(".", maxsplit=1)[0]
        self._module(module if module != "concurrent" else "concurrent.futures")
        for name in names:
            if name in ATTRIBUTES or name in ("exec", "eval") or (top, name) == ("os", "remove_"):
                self._code(f"it imports {name} from {module}")
        if module in ("os", "subprocess", "shutil", "sys") and "*" in names:
            self._code(f"it imports everything from {module}")

    def _attribute(self, attr: str, node: ast.AST) -> None:
        base = getattr(getattr(node, "value", None), "id", "")
        if attr in ("compile",) or (attr == "home" and not base):
            return
        if attr in ATTRIBUTES:
            if attr in ("environ", "getenv"):
                self.scope.deny("secret", "the code reads the environment")
            else:
                self._code(f"it uses .{attr}")
        self._dunder(attr)

    def _dunder(self, name: str) -> None:
        if re.fullmatch(r"__\w+__", name) and name not in _DUNDER_OK:
            self._code(f"it uses {name}")

    def _text(self, text: str) -> None:
        if re.search(r"\{[^}]*\._?_?\w*__", text):
            self._code("it formats inner attributes")
        if re.match(r"(https?|ftp|file|gopher|ws|wss)://", text, re.I):
            self.scope.url(text)
        elif text.startswith(
            ("/etc", "/root", "/home", "/proc", "/sys", "/var", "/dev/", "/srv", "~/")
        ):
            self.scope.path(text, Use.READ)
        if SECRET_NAME.search(text) and re.fullmatch(r"[A-Z][A-Z0-9_]{5,}", text):
            self.scope.confirm("secret", f"the code names {text}")

    def _loop(self, node: ast.While) -> None:
        always = isinstance(node.test, ast.Constant) and bool(node.test.value)
        ends = any(
            isinstance(inner, ast.Break | ast.Return | ast.Raise) for inner in ast.walk(node)
        )
        if always and not ends:
            self.scope.deny("endless", "the code repeats without end")

    def _number(self, node: ast.BinOp) -> None:
        left, right = node.left, node.right
        if isinstance(node.op, ast.Mult):
            sizes = [one for one in (left, right) if _literal_size(one) >= 10**9]
            texts = [one for one in (left, right) if isinstance(one, ast.List | ast.Constant)]
            if sizes and len(texts) > 0 and any(_is_sequence(one) for one in (left, right)):
                self.scope.confirm("endless", "the code makes something very large")
        elif _literal_size(right) > 10_000_000:
            self.scope.confirm("endless", "the code computes something very large")

    def _call(self, node: ast.Call) -> None:
        name, base = self._called(node.func)
        texts = [
            a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
        ]
        if name == "getattr" and not (len(node.args) > 1 and texts and texts[0] not in ATTRIBUTES):
            self._code("it uses getattr with a computed name")
        if name in ("setattr", "delattr") and not texts:
            self._code(f"it uses {name} with a computed name")
        self._loaders(name, base, node)
        if (base.split(".")[0] in ("subprocess", "os") and name in _RUNNERS) or name in (
            "run_path",
        ):
            self._subprocess(node)
        if name in ("execute", "executescript", "executemany") and texts:
            self._sql(texts[0])
        if name in _READS or name in _WRITES or name == "rmtree":
            self._files(name, base, node, texts)

    def _called(self, func: ast.expr) -> tuple[str, str]:
        if isinstance(func, ast.Attribute):
            base = func.value.id if isinstance(func.value, ast.Name) else ""
            return func.attr, self.aliases.get(base, base)
        if isinstance(func, ast.Name):
            full = self.aliases.get(func.id, func.id)
            return full.rsplit(".", 1)[-1], full.rpartition(".")[0]
        return "", ""

    def _loaders(self, name: str, base: str, node: ast.Call) -> None:
        keywords = {one.arg for one in node.keywords}
        if (
            name in ("load", "loads", "unsafe_load", "full_load")
            and base.split(".", maxsplit=1)[0] in _LOADERS
        ):
            safe = any("Safe" in ast.dump(one.value) for one in node.keywords)
            if not safe:
                self._code(f"{base}.{name} runs what the file says")
        if keywords & {"shell", "allow_pickle", "preexec_fn"}:
            values = [k.value for k in node.keywords if k.arg in ("shell", "allow_pickle")]
            if (
                not all(isinstance(v, ast.Constant) and v.value is False for v in values)
                or not values
            ):
                self._code("it runs a shell command line")
        if name in ("read_pickle", "extractall") and base.split(".", maxsplit=1)[0] in (
            "pandas",
            "pd",
        ):
            self._code("it loads a pickle")

    def _subprocess(self, node: ast.Call) -> None:
        first = (
            node.args[0]
            if node.args
            else next((k.value for k in node.keywords if k.arg == "args"), None)
        )
        argv = _strings(first)
        if argv is None:
            self.scope.deny("python", "it starts a program that only the run knows")
            return
        self.scope.machine.run(argv, self.scope.deeper(), None)

    def _sql(self, text: str) -> None:
        if _SQL_WRITES.search(text):
            self.scope.shared.destructive = True

    def _files(self, name: str, base: str, node: ast.Call, texts: list[str]) -> None:
        if name in _STRING_METHODS and base not in _FILE_MODULES:
            return
        use = Use.WRITE if name in _WRITES else Use.READ
        if name in ("remove", "unlink", "rmdir", "removedirs"):
            use = Use.DELETE
        if name == "rmtree":
            use = Use.WIPE
        if name in ("open", "FileIO") and _opens_to_write(node):
            use = Use.WRITE
        if use in (Use.DELETE, Use.WIPE):
            self.scope.shared.destructive = True
            if not texts and not (node.args and isinstance(node.args[0], ast.Name)) and node.args:
                self.scope.confirm("python", f"what {name} gets is only known at run time")
        paths = texts[:1] if name in ("open", "connect", "to_csv") else texts
        if name == "Path":
            use = Use.READ
        for text in paths:
            if (name in ("connect",) and text == ":memory:") or "://" in text:
                continue
            self.scope.path(re.split(r"[*?\[]", text)[0] or ".", use)
        self._method(node, use)

    def _method(self, node: ast.Call, use: Use) -> None:
        """``Path("x").write_text(...)``: the path is where the method is called on."""
        if not isinstance(node.func, ast.Attribute) or not isinstance(node.func.value, ast.Call):
            return
        inner_name, _ = self._called(node.func.value.func)
        first = node.func.value.args[0] if node.func.value.args else None
        if inner_name in ("Path", "PosixPath") and isinstance(first, ast.Constant):
            self.scope.path(str(first.value), use)


_RUNNERS = words("run call check_call check_output Popen getoutput getstatusoutput")
_LOADERS = words("yaml torch joblib numpy np pickle dill cloudpickle marshal shelve")
_FILE_MODULES = words("os shutil os.path pathlib sqlite3 duckdb zipfile tarfile")


def _literal_size(node: ast.AST | None) -> float:
    try:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            return float(_literal_size(node.left) ** min(_literal_size(node.right), 300))
        return (
            float(node.value)
            if isinstance(node, ast.Constant) and isinstance(node.value, int)
            else 0
        )
    except (OverflowError, ValueError, ZeroDivisionError):
        return float("inf")


def _is_sequence(node: ast.expr) -> bool:
    return isinstance(node, ast.List) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _strings(node: ast.expr | None) -> list[str] | None:
    """A list of words, those that only the run knows as UNKNOWN; None when it is no list."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if re.fullmatch(r"[\w./-]+", node.value) else None
    if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
        return None
    words = [str(one.value) if isinstance(one, ast.Constant) else UNKNOWN for one in node.elts]
    return words if words[0] != UNKNOWN else None


def _opens_to_write(node: ast.Call) -> bool:
    modes = [a.value for a in node.args[:3] if isinstance(a, ast.Constant)]
    modes += [
        k.value.value
        for k in node.keywords
        if k.arg == "mode" and isinstance(k.value, ast.Constant)
    ]
    is_method = isinstance(node.func, ast.Attribute) and len(modes) == 1
    texts = modes if is_method else modes[1:]
    return any(
        isinstance(m, str) and re.fullmatch(r"[rwaxbt+U]{1,4}", m) and set(m) & set("wax+")
        for m in texts
    )


def describe(code: str) -> str:
    """The code's first line, for people."""
    return shown(code.strip().split("\n")[0])
