"""Starts Python programs as forks of a process that has imported the slow libraries already, which saves each of them seconds.

Imported, it lends such starts to the tests' commands (`Starter`) and to the kernels of jupyter_client (`lend_kernels`). Run, it is
that process: it reads one job of JSON a line, and answers each with the status of the command at its end, or with the number of the kernel's process.
"""
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


class Starter:
    "A process that starts `commands` or `kernels`, as `kind` says."

    def __init__(self, kind: str, env: dict[str, str]):
        self.process = subprocess.Popen([sys.executable, __file__, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def start(self, args: list[str], cwd: str, env: dict[str, str], streams: list[str], seconds: int = 0) -> int:
        "Start `python ARGS` with files as its standard streams, ended by an alarm after `seconds` if there are any. Return the answer."
        print(json.dumps(dict(args=args, cwd=cwd, env=env, streams=streams, seconds=seconds)), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def end(self) -> None:
        "Let the process end."
        self.process.stdin.close()
        self.process.wait()


class Kernel:
    "A kernel's process, with as much of `subprocess.Popen` as a kernel manager asks for. It is nobody's child here, so its status is unknown."
    stdin = stdout = stderr = returncode = None

    def __init__(self, pid: int):
        self.pid = pid

    def poll(self) -> int | None:
        "Return None while the process runs."
        try: os.kill(self.pid, 0)
        except ProcessLookupError: self.returncode = 0
        return self.returncode

    def wait(self) -> int:
        "The manager asks again and again, and calls this at the end only."
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        "Send the signal, if there is still somebody to get it."
        if self.poll() is None: os.kill(self.pid, number)

    def terminate(self) -> None: self.send_signal(signal.SIGTERM)
    def kill(self) -> None: self.send_signal(signal.SIGKILL)


def lend_kernels(*, at_once: bool = False) -> None:
    "From now on kernels of this Python are forks; all others start as they did. What they are forked from starts with the first of them, or `at_once`."
    from jupyter_client.provisioning import local_provisioner
    plain = local_provisioner.launch_kernel
    @functools.cache
    def starter() -> Starter: return Starter("kernels", {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    def launch(cmd: list[str], **options: Any) -> Kernel | subprocess.Popen:
        if cmd[:3] != [sys.executable, "-m", "ipykernel_launcher"]: return plain(cmd, **options)
        args = [*cmd[1:], f"--IPKernelApp.parent_handle={starter().process.pid}"]  # whose end is the kernel's end, too
        return Kernel(starter().start(args, str(options.get("cwd") or Path.cwd()), {**os.environ, **(options.get("env") or {})}, [os.devnull] * 3))
    local_provisioner.launch_kernel = launch
    if at_once: starter()


def become(job: dict) -> None:
    "Be `python ARGS`, in the folder, environment and streams of `job`."
    signal.alarm(job["seconds"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a program wants to know how its own children ended
    for fd, path in enumerate(job["streams"]):
        opened = os.open(path, os.O_WRONLY if fd else os.O_RDONLY)
        os.dup2(opened, fd)
        os.close(opened)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    module = job["args"][0] == "-m"
    sys.argv = job["args"][module:]
    sys.path[0] = job["cwd"] if module else os.path.dirname(os.path.abspath(sys.argv[0]))
    if module: runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else: runpy.run_path(sys.argv[0], run_name="__main__")


def run(job: dict) -> int:
    "Be the program of `job`, and return the status that the interpreter would exit with."
    try: become(job)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int): return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve(kind: str) -> None:
    "Fork for each job."
    import pandas  # noqa: F401
    import torch._dynamo  # noqa: F401
    if kind == "kernels":
        import ipykernel.kernelapp  # noqa: F401
        import ipywidgets  # noqa: F401
        import matplotlib.pyplot  # noqa: F401
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody counts the dead
    gc.freeze()  # else each fork would copy what the collector touches
    answers = os.fdopen(os.dup(1), "w")
    for line in os.fdopen(os.dup(0)):
        pid = os.fork()
        if pid == 0: sys.exit(run(json.loads(line)))
        if kind == "kernels": os.setpgid(pid, pid)  # a manager signals the group of a kernel
        print(pid if kind == "kernels" else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)


if __name__ == "__main__": serve(sys.argv[1])
