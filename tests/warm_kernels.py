"""Kernels for nbval as forks of a process that has imported the slow libraries already: each notebook starts three seconds sooner.

Imported, it gives jupyter_client such kernels; run, it is that process: one job of JSON a line on standard input, a process number for each.
"""
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import local_provisioner


class Fork:
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


def lend_kernels() -> None:
    "From now on kernels of this Python are forks; all others start as they did."
    plain = local_provisioner.launch_kernel
    @functools.cache
    def starter() -> subprocess.Popen:
        environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    def launch(cmd: list[str], **options: Any) -> Fork | subprocess.Popen:
        if cmd[:3] != [sys.executable, "-m", "ipykernel_launcher"]: return plain(cmd, **options)
        job = {"args": cmd[3:], "cwd": str(options.get("cwd") or Path.cwd()), "env": {**os.environ, **(options.get("env") or {})}}
        print(json.dumps(job), file=starter().stdin, flush=True)
        return Fork(int(starter().stdout.readline()))
    local_provisioner.launch_kernel = launch


def become_kernel(job: dict) -> None:
    "Be the kernel that `job` asks for, until somebody ends it."
    from ipykernel.kernelapp import IPKernelApp
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a kernel wants to know how its own children ended
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3): os.dup2(nowhere, stream)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv, sys.path[0] = ["ipykernel_launcher", *job["args"], f"--IPKernelApp.parent_handle={os.getppid()}"], ""
    IPKernelApp.launch_instance()


def serve() -> None:
    "Fork a kernel for each job."
    import gc

    import ipykernel.kernelapp  # noqa: F401
    import ipywidgets  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import torch._dynamo  # noqa: F401
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no one to count them
    gc.freeze()
    replies = os.fdopen(os.dup(1), "w")
    for line in os.fdopen(os.dup(0)):
        pid = os.fork()
        if pid == 0: return become_kernel(json.loads(line))
        os.setpgid(pid, pid)  # a manager signals the group of a kernel
        print(pid, file=replies, flush=True)


if __name__ == "__main__": serve()
