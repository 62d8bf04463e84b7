#!/usr/bin/env bash
# Get the shared library of Python that the embedded Triton loads: Debian's python3 comes without it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}

missing=$("$python" - <<'PYTHON'
from serve_deploy.triton.embedded import EmbeddedRuntime

reason = EmbeddedRuntime().why_unavailable() or ""
print(reason if "libpython" in reason else "")
PYTHON
)
[ -n "$missing" ] || exit 0

package="libpython$("$python" -c 'import sys; print(f"{sys.version_info.major}.{sys.version_info.minor}")')"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing $package with apt-get"
  # get_tools.sh may be running too.
  flock Makefile apt-get update -qq
  DEBIAN_FRONTEND=noninteractive flock Makefile apt-get install -qq -y --no-install-recommends "$package" >/dev/null
else
  echo "$missing" >&2
fi
