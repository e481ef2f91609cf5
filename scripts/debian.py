"""Debian's packages for the tests, where we may install them."""

import os
import shutil
import subprocess


def install(*packages: str) -> None:
    """Does nothing where we aren't root or there is no apt; whether it helped is for the caller to see."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", *packages]):
        subprocess.run(command, check=False, env=environment, capture_output=True)
