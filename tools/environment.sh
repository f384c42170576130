#!/bin/sh
# sh tools/environment.sh book|test: prepare .venv with that part of the pinned set.
# Does nothing when requirements.txt, pyproject.toml and this folder's place are unchanged.
set -eu
part=$1
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'

stop() {
    echo "$1" >&2
    shift
    for line in "$@"; do echo "    $line" >&2; done
    exit 1
}

if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo "; fi

remedy_python() {
    if command -v apt-get >/dev/null; then
        if command -v python3 >/dev/null; then wanted=python3.11; else wanted=python3; fi
        echo "${sudo}apt-get install -y $wanted $wanted-venv"
    elif command -v dnf >/dev/null; then echo "${sudo}dnf install -y python3"
    elif [ "$(uname)" = Darwin ]; then echo "brew install python@3.13"
    else echo "install Python 3.13 from https://www.python.org/downloads/"
    fi
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" -c "$fits" 2>/dev/null ||
            stop "PYTHON=$PYTHON is not a Python 3.11 to 3.14. Leave it out, or name one that is."
        python=$PYTHON
        return
    fi
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c "$fits" 2>/dev/null; then return; fi
    done
    stop "No Python 3.11 to 3.14 was found. This command installs one:" "$(remedy_python)"
}

make_venv() {
    find_python
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        stop "Python $version lacks the venv module. This command adds it:" \
            "${sudo}apt-get install -y python$version-venv"
    fi
    echo "Creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

refuse_intel_mac() {
    if [ "$(uname)" = Darwin ] && [ "$(.venv/bin/python -c 'import platform; print(platform.machine())')" = x86_64 ]; then
        stop "PyTorch no longer supports Intel Macs, so 'make test' cannot run here." \
            "'make book' and the NumPy part of the package work." \
            "On Apple silicon: use a Python built for arm64, remove .venv and try again."
    fi
}

state=$(cat requirements.txt pyproject.toml | cksum; pwd)
for done in "$part" test; do
    if [ "$(cat ".venv/installed-$done" 2>/dev/null)" = "$state" ]; then exit 0; fi
done
.venv/bin/python -c "import pip; $fits" 2>/dev/null || make_venv
if [ "$part" = test ]; then refuse_intel_mac; fi
.venv/bin/python -m pip install --disable-pip-version-check -c requirements.txt -e ".[$part]"
echo "$state" >".venv/installed-$part"
