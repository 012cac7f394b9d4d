"""curl, wget and http: what they fetch, send, read and write."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import FETCHED, STREAM, UNKNOWN, known
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.redirects import place
from llmos_workers.execution.guard.scope import Call

_CURL_VALUES = words(
    "-A -b -c -C -d -D -e -E -F -h- -H -K -m -o -P -Q -r -t -T -u -U -w -x -X -y -Y -z --url "
    "--user-agent --cookie --cookie-jar --continue-at --data --data-ascii --data-binary "
    "--data-raw --data-urlencode --dump-header --referer --cert --key --cacert --capath "
    "--form --form-string --header --config --max-time --connect-timeout --output "
    "--output-dir --ftp-port --quote --range --telnet-option --upload-file --user --proxy "
    "--proxy-user --write-out --request --speed-limit --speed-time --time-cond --retry "
    "--retry-delay --retry-max-time --limit-rate --max-redirs --resolve --connect-to "
    "--unix-socket --abstract-unix-socket --interface --socks5 --socks4 --socks5-hostname "
    "--preproxy --dns-servers --doh-url --trace --trace-ascii --stderr --max-filesize --json "
    "--url-query --netrc-file --oauth2-bearer --aws-sigv4 --hostpubmd5 --keepalive-time "
    "--ciphers --tls-max --pass --engine --libcurl --rate --parallel-max --variable "
    "--etag-save --etag-compare --hsts --alt-svc --noproxy --proto --proto-default "
    "--proto-redir --krb"
)
_CURL_DENIED = (
    *("-K", "--config", "--unix-socket", "--abstract-unix-socket", "--resolve", "--connect-to"),
    *("-x", "--proxy", "--preproxy", "--socks5", "--socks4", "--socks5-hostname", "--interface"),
    *("--dns-servers", "--doh-url", "-Q", "--quote", "-t", "--engine", "--libcurl", "--netrc-file"),
    *("-P", "--ftp-port", "--variable"),
)
_CURL_DATA = ("-d", "--data", "--data-ascii", "--data-binary", "--data-urlencode", "--json")
_CURL_WRITES = (
    *("-o", "--output", "-D", "--dump-header", "-c", "--cookie-jar", "--trace", "--trace-ascii"),
    *("--stderr", "--etag-save", "--hsts", "--alt-svc"),
)
_CURL_READS = ("-E", "--cert", "--key", "--cacert", "--etag-compare")


def curl(call: Call) -> str:
    """curl: addresses, files that it sends and writes."""
    from llmos_workers.execution.guard.programs import arguments

    parsed = arguments(call.args, _CURL_VALUES)
    saved: list[str] = []
    folder = parsed.value("--output-dir") or ""
    for option, value in parsed.options:
        _curl_option(call, option, value or "", saved, folder)
    urls = [*parsed.operands, *(v or "" for o, v in parsed.options if o == "--url")]
    for url in urls:
        call.scope.url(_without_ranges(url))
    if parsed.has("-O", "--remote-name", "--remote-name-all"):
        for url in urls:
            name = re.split(r"[?#]", url)[0].rstrip("/").rsplit("/", 1)[-1]
            saved.append(f"{folder}/{name}" if folder else name)
    if parsed.has("-L", "--location") and parsed.has("-u", "--user"):
        call.confirm("network", "it follows redirects with a password")
    _keep(call, saved)
    return "" if saved and "-" not in saved else FETCHED


def _curl_option(call: Call, option: str, value: str, saved: list[str], folder: str) -> None:
    scope = call.scope
    if option in _CURL_DENIED:
        call.deny("option", f"curl {option} leads around what is allowed")
    elif option in _CURL_DATA and re.match(r"[^=]*@", value) and not re.match(r"[^@]*=", value):
        _upload(call, value.partition("@")[2])
    elif option in ("-F", "--form"):
        match = re.search(r"=[@<]([^;]*)", value)
        if match:
            _upload(call, match[1])
    elif option in ("-T", "--upload-file"):
        _upload(call, value)
    elif option in ("-X", "--request") and value.upper() in ("DELETE", "PUT", "PATCH"):
        call.confirm("network", f"it sends {value.upper()}")
    elif option in _CURL_WRITES and value not in ("-", "/dev/null", "%"):
        path = f"{folder}/{value}" if folder and option in ("-o", "--output") else value
        scope.path(path, Use.WRITE)
        if option in ("-o", "--output"):
            saved.append(path)
    elif option in _CURL_READS or (option in ("-b", "--cookie") and "=" not in value):
        scope.path(value, Use.READ)
    elif option in ("-H", "--header", "-w", "--write-out") and value.startswith("@"):
        _upload(call, value[1:])
    if not known(value) and option in (*_CURL_DATA, "-F", "-H", "--header", "-A", "-e", "-u"):
        call.confirm("network", "what it sends is only known at run time")


def _upload(call: Call, path: str) -> None:
    if path and path != "-" and STREAM not in path:
        call.scope.path(path, Use.READ)
    call.confirm("network", f"it sends the file {path or 'it reads'} away")


def _without_ranges(url: str) -> str:
    return re.sub(r"\{([^,}]*)[^}]*\}|\[(\d+)-[^\]]*\]", lambda m: m[1] or m[2] or "", url)


def _keep(call: Call, saved: list[str]) -> None:
    for path in saved:
        if path in ("-", "/dev/null"):
            continue
        call.scope.path(path or UNKNOWN, Use.WRITE)
        if path:
            call.scope.shared.made[place(path, call.scope)] = FETCHED


_WGET_VALUES = words(
    "-O -o -a -P -i -e -t -T -w -Q -A -R -D -I -X -l -B -U --output-document --output-file "
    "--append-output --directory-prefix --input-file --execute --tries --timeout --wait "
    "--quota --accept --reject --domains --include-directories --exclude-directories --level "
    "--base --user-agent --header --post-file --post-data --body-file --body-data --method "
    "--user --password --http-user --http-password --referer --load-cookies --save-cookies "
    "--ca-certificate --certificate --private-key --limit-rate --cut-dirs --default-page "
    "--bind-address --use-askpass --config --warc-file --rejected-log --dns-servers"
)


def wget(call: Call) -> str:
    """wget: addresses, files that it sends and writes."""
    from llmos_workers.execution.guard.programs import arguments

    parsed = arguments(call.args, _WGET_VALUES)
    for option, value in parsed.options:
        if option in (
            "-e",
            "--execute",
            "--config",
            "--use-askpass",
            "--bind-address",
            "--dns-servers",
        ):
            return call.deny("option", f"wget {option} leads around what is allowed")
        if option in ("--post-file", "--body-file"):
            _upload(call, value or "")
        elif option in ("-i", "--input-file"):
            call.confirm("network", "the addresses are in a file")
        elif value and option in ("-o", "-a", "--output-file", "--append-output", "--save-cookies"):
            call.scope.path(value, Use.WRITE)
        elif value and not known(value) and option in ("--post-data", "--header", "--body-data"):
            call.confirm("network", "what it sends is only known at run time")
    for url in parsed.operands:
        call.scope.url(url)
    target = parsed.value("-O", "--output-document")
    if target == "-":
        return FETCHED
    folder = parsed.value("-P", "--directory-prefix") or ""
    names = [re.split(r"[?#]", url)[0].rstrip("/").rsplit("/", 1)[-1] for url in parsed.operands]
    saved = [target] if target else [f"{folder}/{name}" if folder else name for name in names]
    _keep(call, saved)
    return ""


def http(call: Call) -> str:
    """HTTPie: the first operand that is no method is the address."""
    operands = [arg for arg in call.args if not arg.startswith("-")]
    methods = [arg for arg in operands[:1] if arg.isupper()]
    for url in operands[len(methods) :][:1]:
        call.scope.url(url)
    if any("@" in arg for arg in operands[1:]):
        call.confirm("network", "it sends a file away")
    if methods and methods[0] in ("DELETE", "PUT", "PATCH"):
        call.confirm("network", f"it sends {methods[0]}")
    return FETCHED


def openssl(call: Call) -> str:
    """openssl: digests and random numbers are fine, connections are not."""
    if call.args[:1] and call.args[0] in (
        "s_client",
        "s_server",
        "s_time",
        "ocsp",
        "cmp",
        "engine",
    ):
        return call.deny("network", "it opens a connection")
    if any(arg in ("-engine", "-provider", "-provider-path") for arg in call.args):
        return call.deny("option", "it loads code")
    for option, value in zip(call.args, call.args[1:], strict=False):
        if option in ("-in", "-inkey", "-CAfile", "-kfile", "-config", "-rand", "-cert", "-key"):
            call.scope.path(value, Use.READ)
        elif option in ("-out", "-keyout", "-writerand", "-CAserial"):
            call.scope.path(value, Use.WRITE)
        elif option.startswith("-pass") and value.startswith(("env:", "file:")):
            call.confirm("secret", "it takes a password from the environment or a file")
    for arg in call.args[1:]:
        if arg.startswith(("/", "~", "..")):
            call.scope.path(arg, Use.READ)
    from llmos_workers.execution.guard.marks import DECODED

    decodes = "-d" in call.args and call.args[:1] in (["enc"], ["base64"])
    return DECODED if decodes or call.args[:2] == ["base64", "-d"] else UNKNOWN


HANDLERS = {
    **{"curl": curl, "wget": wget, "http": http, "https": http, "xh": http, "openssl": openssl},
}
