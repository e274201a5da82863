#!/usr/bin/env bash
# `make image-test`: the image is built, deploy/compose.yaml runs, orders go through it, and it stops. Some minutes.
#
# It takes the Docker that is there. Where none answers, root on a Debian 12 gets a private engine for the time of the
# test, with stand-in images (engine.sh), and nothing of it is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! docker info >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! grep -q bookworm /etc/os-release; then
        echo "no Docker engine answers: start one, or be root on a Debian 12" >&2
        exit 1
    fi
    folder=$(mktemp -d)
    # shellcheck source=tests/containers/engine.sh
    . tests/containers/engine.sh
    trap 'stop_engine "$folder"' EXIT
    start_engine "$folder"
    make_images "$folder"
fi
CELADON_CONTAINERS=yes .venv/bin/python -m pytest -v tests/containers
