#!/bin/sh
# Makes .venv with Celadon in it: finds a Python that fits, installs the pinned packages, then the project itself.
# `make setup` calls it; PYTHON=/path/to/python chooses another interpreter.
set -eu
cd "$(dirname "$0")/.."

fits() { "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }
version() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none; }
fail() { printf '%s\n' "$@" >&2; exit 1; }

if [ -x .venv/bin/python ]; then
    fits .venv/bin/python ||
        fail ".venv holds Python $(version .venv/bin/python); Celadon needs 3.11, 3.12 or 3.13." \
             "Remove it (rm -r .venv) and run 'make setup' again."
else
    found=""
    tried=""
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if fits "$candidate"; then found=$candidate; break; fi
        tried="$tried $candidate=$(version "$candidate")"
    done
    [ -n "$found" ] ||
        fail "Celadon needs Python 3.11, 3.12 or 3.13. Found:$tried." \
             "Install one (Debian 12: apt-get install python3 python3-venv; macOS: brew install python@3.13;" \
             "anywhere: uv python install 3.13), or name one: make setup PYTHON=/path/to/python3.13"
    echo "setup: .venv with Python $(version "$found")"
    "$found" -m venv .venv ||
        { rm -rf .venv
          fail "$found cannot make a virtual environment. Debian and Ubuntu: apt-get install python3-venv"; }
fi

install() { .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@"; }
echo "setup: installing pinned packages"
for file in "$@"; do
    install --require-hashes --requirement "$file"
done
# Editable, with the build tool pinned above: what is in this tree is what runs.
# setuptools warns that folders in a working directory can shadow the package; here they are the package.
PYTHONWARNINGS=ignore install --no-deps --no-build-isolation --editable .
echo "setup: ready, .venv/bin/celadon"
