#!/bin/sh
# Prints the newest Python at hand that coingraph is tested on: of PATH, or of pyenv's versions.
for version in 3.14 3.13 3.12; do
    for found in "$(command -v python$version)" \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/$version.*/bin/python$version; do
        # pyenv puts names on PATH that run only where their version is chosen
        if [ -x "$found" ] && "$found" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$found"
            exit 0
        fi
    done
done
echo "no Python newer than 3.11 is at hand" >&2
exit 1
