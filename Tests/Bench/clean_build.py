"""A clean debug build of a clone: all of it, and the share of the project's own targets."""

import os
import subprocess
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# What the manifest takes from other packages, each target that brings all it needs along.
FOREIGN = ["ArgumentParser", "DequeModule", "HeapModule", "Crypto", "Logging", "Metrics"]


def build(clone, *options):
    began = time.monotonic()
    done = subprocess.run(
        ["swift", "build", "--package-path", clone, *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1200,
    )
    if done.returncode != 0:
        raise SystemExit(f"the clone does not build:\n{done.stdout[-2000:]}")
    return time.monotonic() - began


def measure(table, folder):
    clone = f"{folder}/clone"
    subprocess.run(["git", "clone", "-q", "--local", ROOT, clone], check=True, timeout=60)
    subprocess.run(
        ["swift", "package", "--package-path", clone, "resolve"],
        check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    foreign = sum(build(clone, "--target", target) for target in FOREIGN)
    own = build(clone)
    table.at_most("clean debug build", 240, foreign + own, "packages fetched before", "", " s")
    table.at_most("of it the project's own targets", 60, own, "", f"others {foreign:.0f} s", " s")
