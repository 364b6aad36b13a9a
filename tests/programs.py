r"""Programs that run in a new process, without the imports that take most of its time.

PyTorch, scikit-learn and skorch take seven CPU seconds to import. On Linux, one process
imports them and computes nothing, and every program runs in a fork of it. Elsewhere,
every program has an interpreter of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = """
import json, os, sys
import sklearn.datasets, sklearn.ensemble, sklearn.linear_model
import sklearn.model_selection, sklearn.pipeline
import skorch

def wait_for_a_program():
    for line in sys.stdin:
        if os.fork() == 0:
            return json.loads(line)
        _, status = os.wait()
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()

program = wait_for_a_program()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, path in ((1, program["stdout"]), (2, program["stderr"])):
    os.dup2(os.open(path, os.O_WRONLY | os.O_NOCTTY), number)
sys.argv[1:] = program["arguments"]
# Programs do not see the names of this one.
exec(compile(program["code"], "program", "exec"), {"__name__": "__main__"})
"""


class Programs:
    r"""Runs programs, each in a new process with a single thread."""

    def __init__(self):
        self._server = None

    def _start(self):
        # glibc keeps to what variables of Dask say about memory. Threads that wait do
        # not keep a busy machine from those that work.
        environment = {
            name: value for name, value in os.environ.items() if "MALLOC_" not in name
        }
        environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def run(self, code, *arguments, terminal=None):
        r"""
        Run a program; return what it has written, unless it is to a terminal.

        A program that ends with an error raises one with what it has written.
        """
        with tempfile.TemporaryDirectory() as folder:
            paths = [terminal or Path(folder, name) for name in ("stdout", "stderr")]
            if terminal is None:
                for path in paths:
                    path.touch()
            status = self._status(
                code, [str(argument) for argument in arguments], paths
            )
            written = ["" if terminal else path.read_text() for path in paths]
        assert status == 0, "".join(written)
        return written[0]

    def _status(self, code, arguments, paths):
        if sys.platform != "linux":
            with open(paths[0], "w") as stdout, open(paths[1], "w") as stderr:
                return subprocess.run(
                    [sys.executable, "-c", code, *arguments],
                    stdout=stdout,
                    stderr=stderr,
                ).returncode
        if self._server is None:
            self._start()
        stdout, stderr = map(str, paths)
        program = {
            "code": code,
            "arguments": arguments,
            "stdout": stdout,
            "stderr": stderr,
        }
        self._server.stdin.write(json.dumps(program) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self):
        r"""End the process that waits for programs."""
        if self._server is not None:
            self._server.communicate()
