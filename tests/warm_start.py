"Starts commands as forks of a process that has imported the slow libraries already, which saves each of them seconds. One job of JSON a line on standard input."
import gc
import json
import os
import runpy
import signal
import sys
import traceback

import pandas  # noqa: F401
import torch._dynamo  # noqa: F401

TIMEOUT = 240  # seconds


def stand_in(fd: int, path: str, flags: int) -> None:
    "Let the file at `path` take the place of a standard stream."
    opened = os.open(path, flags)
    os.dup2(opened, fd)
    os.close(opened)


def run(job: dict) -> None:
    "Become `python ARGS`, in the folder, environment and streams of `job`."
    signal.alarm(TIMEOUT)
    for fd, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)): stand_in(fd, job[name], flags)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    module = job["args"][0] == "-m"
    sys.argv = job["args"][module:]
    sys.path[0] = job["cwd"] if module else os.path.dirname(os.path.abspath(sys.argv[0]))
    if module: runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else: runpy.run_path(sys.argv[0], run_name="__main__")


def status(job: dict) -> int:
    "Run `job` and return the status that the interpreter would exit with."
    try:
        run(job)
        return 0
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int): return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    gc.freeze()  # else each fork would copy what the collector touches
    replies = os.fdopen(os.dup(1), "w")
    for line in os.fdopen(os.dup(0)):
        if child := os.fork():
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=replies, flush=True)
        else:
            code = status(json.loads(line))
            sys.stdout.flush()
            os._exit(code)  # without tearing down what the parent goes on using
