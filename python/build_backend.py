"""Makes the wheel and the source archive of this package with the standard library alone (PEP 517).

A wheel is a zip file with three files of metadata; nothing is compiled, so nothing else is needed and `pip install`
works without a network.
"""

import base64
import hashlib
import io
import os
import tarfile
import zipfile

NAME = "levee"
VERSION = "0.1.0"
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = ("levee/__init__.py", "levee/watch.py", "levee/py.typed")
OTHERS = ("pyproject.toml", "build_backend.py")
INFO = f"{NAME}-{VERSION}.dist-info"
METADATA = f"""Metadata-Version: 2.1
Name: {NAME}
Version: {VERSION}
Summary: Take part when levee watch guards this program's memory
License: Apache-2.0
Requires-Python: >=3.8
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: levee build_backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _read(name):
    with open(os.path.join(HERE, *name.split("/")), "rb") as file:
        return file.read()


def _record(files):
    lines = []
    for name, content in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join(lines + [f"{INFO}/RECORD,,", ""]).encode()


def _write_wheel(directory, files):
    files = files + [(f"{INFO}/METADATA", METADATA.encode()), (f"{INFO}/WHEEL", WHEEL.encode())]
    name = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files + [(f"{INFO}/RECORD", _record(files))]:
            wheel.writestr(path, content)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, [(name, _read(name)) for name in PACKAGE])


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, [("__editable__.levee.pth", (HERE + "\n").encode())])


def build_sdist(sdist_directory, config_settings=None):
    base = f"{NAME}-{VERSION}"
    with tarfile.open(os.path.join(sdist_directory, f"{base}.tar.gz"), "w:gz") as archive:
        for path, content in [("PKG-INFO", METADATA.encode())] + [(name, _read(name)) for name in PACKAGE + OTHERS]:
            entry = tarfile.TarInfo(f"{base}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return f"{base}.tar.gz"
