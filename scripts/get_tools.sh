#!/usr/bin/env bash
# Get the programs that only tests and benchmarks use. What is there already is left alone; what cannot be got is
# named, and the tests that need it are skipped with that reason. In CI a missing one is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
mkdir -p .tools
export PATH="$PWD/.tools:$PATH"

# get_libpython.sh may be running too.
root=$PWD
apt_get() { flock "$root/Makefile" apt-get "$@"; }
is_missing() { ! command -v "$1" >/dev/null; }
update_once() { [ -n "${updated:-}" ] || { apt_get update -qq && updated=yes; }; }
can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

"$python" scripts/get_kubernetes_tools.py
bash scripts/get_azurite.sh "$python" || true

# The packages would start servers as well; only their programs are wanted.
servers=(prometheus promtool prometheus-pushgateway docker-registry)
missing_server=
for server in "${servers[@]}"; do if is_missing "$server"; then missing_server=yes; fi; done
if [ -n "$missing_server" ] && command -v apt-get >/dev/null; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  can_install && update_once
  (cd "$folder" && chmod 755 . && apt_get -o APT::Sandbox::User="$(id -un)" download -qq prometheus prometheus-pushgateway docker-registry &&
    for package in *.deb; do dpkg-deb -x "$package" .; done) &&
    (cd "$folder/usr/bin" && cp --remove-destination "${servers[@]}" "$root/.tools/") || true
fi

wanted=()
is_missing chromium && wanted+=(chromium)
is_missing wrk && wanted+=(wrk)
is_missing h2load && wanted+=(nghttp2-client)
# The chart's own scripts use it, and tests run them.
is_missing curl && wanted+=(curl)
locale -a 2>/dev/null | grep -qi '^en_US.utf-\?8$' || wanted+=(locales)
if [ ${#wanted[@]} -gt 0 ] && can_install; then
  echo "installing ${wanted[*]} with apt-get"
  update_once
  DEBIAN_FRONTEND=noninteractive apt_get install -qq -y --no-install-recommends "${wanted[@]}" >/dev/null
  # ONNX Runtime's StringNormalizer loads only where this locale exists.
  command -v localedef >/dev/null && localedef -i en_US -f UTF-8 en_US.UTF-8
fi

missing=()
for tool in helm4 helm3 kubectl "${servers[@]}" azurite-blob chromium wrk h2load curl; do
  if is_missing $tool; then missing+=("$tool"); fi
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "missing: ${missing[*]}; on Debian: sudo apt-get install chromium wrk nghttp2-client prometheus prometheus-pushgateway docker-registry" >&2
  [ -z "${CI:-}" ] || exit 1
fi
