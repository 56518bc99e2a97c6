# SPDX-License-Identifier: BSD-2-Clause
"""The caches that leeway is compared with, each with the configuration in contrib/bench/peers, and
leeway behind nginx. What is not installed is looked for below BENCH_PEERS, a folder into which
packages were unpacked."""
import glob
import os
import re
import socket
import subprocess
from collections import namedtuple

from harness.network import free_port
from harness.postgres import find_program
from harness.redis_server import Redis
from harness.stack import BUILD, Stack
from harness.wait import wait_until

from . import HERE
from .contest import Contestant

# names of what takes part, as the tables have them
LEEWAY = {"unix": "leeway, Redis by Unix socket", "tcp": "leeway, Redis by TCP",
          "tls": "leeway, Redis by TLS"}
BEFORE = "leeway before"
CACHE = "nginx's cache"
CACHE_1 = "nginx's cache, gzip level 1"
STORED = "nginx's cache, stored compressed"
VARNISH, VARNISH_GZIP = "Varnish", "Varnish, do_gzip"
LUA, LUA_STORED = "nginx + Lua + Redis", "nginx + Lua + Redis, stored compressed"
SRCACHE = "nginx srcache + memcached"

# What is asked for: a body of `size`, by so many clients, which accept `gzip` or do not.
Cell = namedtuple("Cell", "size connections gzip")

# What is stored, in bytes: the value, and that with what Redis adds to it.
Entry = namedtuple("Entry", "value memory")

CONFIGURATIONS = os.path.join(os.path.dirname(HERE), "peers")
UNPACKED = os.environ.get("BENCH_PEERS", "")
ROOTS = ([UNPACKED] if UNPACKED else []) + ["/"]
# in the order in which nginx must load them
LUA_MODULES = ("ndk_http_module", "ngx_http_lua_module")
SRCACHE_MODULES = ("ndk_http_module", "ngx_http_memc_module", "ngx_http_srcache_filter_module")
PACKAGES = ("libnginx-mod-http-lua", "lua-nginx-redis", "libnginx-mod-http-memc",
            "libnginx-mod-http-srcache-filter", "memcached")
LEVEL = 6


class Missing(Exception):
    """What a contestant needs is not on this machine, or does not go with the rest."""


def find(*paths):
    """The first of `paths`, below one of the roots; it may hold wildcards."""
    for path in paths:
        for root in ROOTS:
            found = sorted(glob.glob(os.path.join(root, path.lstrip("/"))))
            if found:
                return found[0]
    raise Missing(f"there is no {os.path.basename(paths[0])}")


def fill_in(name, out, **values):
    """Writes the configuration `name` to `out`, each @word@ replaced."""
    with open(os.path.join(CONFIGURATIONS, name), encoding="utf-8") as text:
        filled = re.sub(r"@(\w+)@", lambda word: str(values[word.group(1)]), text.read())
    with open(out, "w", encoding="utf-8") as file:
        file.write(filled)


def demand_running(process, name):
    if not process.is_running():
        said = process.log_text().strip().splitlines()
        raise Missing(f"{name} does not start: {said[-1] if said else 'it says nothing'}")


def await_port(world, port, process, name):
    world.stack.port = port
    wait_until(lambda: world.stack.port_answers() or not process.is_running(), f"{name} answers")
    demand_running(process, name)


def load_modules(names):
    """Lines of nginx.conf."""
    return "".join(f"load_module {find(f'/usr/lib/nginx/modules/{name}.so')};\n" for name in names)


def unpacked_libraries():
    """Words before a command that may need what was unpacked only, as LuaJIT."""
    folders = glob.glob(os.path.join(UNPACKED, "usr/lib/*-linux-gnu")) if UNPACKED else []
    return ["env", "LD_LIBRARY_PATH=" + ":".join(folders)] if folders else []


class Nginx:
    """One of its own at `port`, with the server in `configuration`. `modules` are lines that load
    them, `files` further configurations beside it."""

    def __init__(self, world, name, configuration, modules="", level=LEVEL, files=(), **values):
        self.port = free_port()
        folder = world.stack.path(name)
        os.mkdir(folder)
        for file in (configuration, *files):
            fill_in(file, os.path.join(folder, file), folder=folder, port=self.port, **values)
        conf = os.path.join(folder, "nginx.conf")
        fill_in("nginx.conf", conf, folder=folder, modules=modules, level=level,
                server=os.path.join(folder, configuration),
                user="user root;" if os.geteuid() == 0 else "")
        self.process = world.stack.start_process(name, [
            *(unpacked_libraries() if modules else ()), "nginx", "-e", "stderr", "-c", conf])
        await_port(world, self.port, self.process, name)


class Peer(Contestant):
    """`compresses`: whether a client that accepts gzip is to get it. `origin`, of those that have
    one, is not to be asked while it is measured. `sent()` is how many bytes its store has sent so
    far, None for those that have no store; `redis` is that store if it is one."""

    def __init__(self, name, port, watched, compresses=True, origin=None, stack=None, redis=None,
                 sent=lambda: None):
        super().__init__(name, port, watched, stack=stack)
        self.compresses = compresses
        self.origin = origin
        self.redis = redis
        self.sent = sent if redis is None else bytes_sent_by(redis)


def bytes_sent_by(redis):
    client = redis.client()
    return lambda: client.info("stats")["total_net_output_bytes"]


def entries_in(redis, above):
    """Those of more than `above` bytes, the smallest first: the bytes of each value, and what Redis
    needs for it in all. Whatever their keys are called."""
    client = redis.client()
    found = sorted((client.strlen(key), key) for key in client.scan_iter(_type="string"))
    return [Entry(length, client.memory_usage(key)) for length, key in found if length > above]


def start_redis(world, name, transport="unix"):
    folder = world.stack.path(name)
    os.mkdir(folder)
    redis = Redis(folder, transport)
    world.stack.processes.append(redis.process)
    os.chmod(redis.socket, 0o777)
    return redis


def start_leeway(world, name, file_name, routes, transport="unix", build=BUILD):
    """With a Redis of its own, one worker per processor, behind nginx; `build` is the folder in
    which it was built."""
    redis = start_redis(world, file_name + "-redis", transport)
    folder = world.stack.path(file_name)
    os.mkdir(folder)
    stack = Stack(folder, world.postgres, redis, world.DATABASE)
    stack.worker_program = os.path.join(os.path.abspath(build), "leeway-worker")
    world.stack.others.append(stack)
    stack.configure(routes, workers=os.cpu_count())
    worker = stack.start_worker()
    os.chmod(stack.socket, 0o666)
    nginx = Nginx(world, file_name + "-nginx", "nginx-leeway.conf", leeway=stack.socket)
    return Peer(name, nginx.port, {"web server": [nginx.process], "application": [worker],
                                   "store": [redis.process]},
                redis=redis, stack=stack)


def start_nginx_cache(world, name, origin, level):
    nginx = Nginx(world, f"nginx-cache-{level}", "nginx-cache.conf", level=level,
                  origin=origin.port)
    return Peer(name, nginx.port, {"web server": [nginx.process]}, origin=origin)


def start_nginx_stored(world, name, origin):
    nginx = Nginx(world, "nginx-cache-stored", "nginx-cache-stored.conf", origin=origin.port)
    return Peer(name, nginx.port, {"web server": [nginx.process]}, origin=origin)


def start_varnish(world, name, origin, do_gzip):
    port, folder = free_port(), world.stack.path(f"varnish-{do_gzip}")
    os.mkdir(folder)
    vcl = os.path.join(folder, "default.vcl")
    fill_in("varnish.vcl", vcl, origin=origin.port, do_gzip=str(do_gzip).lower())
    process = world.stack.start_process(f"varnish-{do_gzip}", [
        find("/usr/sbin/varnishd"), "-F", "-j", "none", "-n", folder, "-s", "malloc,256m",
        "-a", f"127.0.0.1:{port}", "-f", vcl])
    await_port(world, port, process, name)
    return Peer(name, port, {"web server": [process]}, do_gzip, origin)


def start_lua(world, name, origin, stored):
    """`stored` compressed, or compressed for each client."""
    file_name = "lua-stored" if stored else "lua"
    scripts = os.path.dirname(os.path.dirname(find(
        "/usr/share/lua/5.1/resty/redis.lua", "/usr/share/lua/5.1/nginx/redis.lua")))
    loaded = load_modules(LUA_MODULES)
    redis = start_redis(world, file_name + "-redis")
    nginx = Nginx(world, file_name, "nginx-lua.conf", loaded, files=("response.lua",),
                  origin=origin.port, lua=scripts, gzip="off" if stored else "on",
                  stored_coding="$coding" if stored else "", redis=redis.socket)
    return Peer(name, nginx.port, {"web server": [nginx.process], "store": [redis.process]},
                origin=origin, redis=redis)


def bytes_sent_by_memcached(path):
    def sent():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"stats\r\n")
            text = b""
            while not text.endswith(b"END\r\n"):
                text += client.recv(65536)
        return int(re.search(rb"STAT bytes_written (\d+)", text).group(1))
    return sent


def start_srcache(world, name, origin):
    loaded, program = load_modules(SRCACHE_MODULES), find("/usr/bin/memcached")
    path = world.stack.path("memcached.sock")
    user = ["-u", "root"] if os.geteuid() == 0 else []
    memcached = world.stack.start_process("memcached", [
        *unpacked_libraries(), program, "-s", path, "-a", "0777", "-m", "64", *user])
    wait_until(lambda: os.path.exists(path) or not memcached.is_running(), "memcached is there")
    demand_running(memcached, "memcached")
    nginx = Nginx(world, "srcache", "nginx-srcache.conf", loaded, origin=origin.port,
                  memcached=path)
    return Peer(name, nginx.port, {"web server": [nginx.process], "store": [memcached]},
                origin=origin, sent=bytes_sent_by_memcached(path))


def ask_version(argv, pattern=r"\d+\.[\d.]*\d"):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "not there"
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group() if found else "?"


def package_version(name):
    """Of a Debian package that is installed, or was unpacked and is still there."""
    for path in glob.glob(os.path.join(UNPACKED, name + "_*.deb")) if UNPACKED else []:
        return os.path.basename(path).split("_")[1].replace("%3a", ":")
    found = ask_version(["dpkg-query", "-W", "-f", "${Version}", name], r"^\d\S*")
    return "not there" if found == "?" else found


def versions():
    """By the program's name."""
    return {"nginx": ask_version(["nginx", "-v"]),
            "Redis": ask_version(["redis-server", "--version"]),
            "Varnish": ask_version(["varnishd", "-V"]),
            "PostgreSQL": ask_version([find_program("postgres"), "--version"]),
            **{package: package_version(package) for package in PACKAGES},
            "wrk": ask_version(["wrk", "-v"])}
