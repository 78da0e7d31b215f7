"""A plant in a process of its own, with nodes on CAN."""

import pathlib
import subprocess
import tempfile


class Plant:
    def __init__(self, *options):
        self.dir = pathlib.Path(tempfile.mkdtemp())
        command = ["fieldbeat", "plant", "--config", str(self.dir), "--devices", "1", "--tags", "1", "--no-broker"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("CAN:"):
                return
        raise SystemExit("the plant did not start")

    def file(self, name):
        return str(self.dir / "tags" / name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
