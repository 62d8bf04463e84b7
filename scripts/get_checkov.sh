#!/usr/bin/env bash
# Get checkov in a virtual environment of its own: its 290 MB of pins would not agree with ours.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
name=checkov-3.3.30
[ ! -x ".tools/$name/bin/checkov" ] || exit 0

echo "installing $name into .tools"
mkdir -p .tools
"$python" -m venv ".tools/$name"
".tools/$name/bin/pip" install --no-compile --quiet --disable-pip-version-check "${name/-/==}"
ln -sfn "$name/bin/checkov" .tools/checkov
