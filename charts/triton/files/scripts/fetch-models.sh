# Fetch an archive of a model repository and unpack it: URL FOLDER [SHA256] [HEADER_FILE]
url=$1 folder=$2 sha256=${3:-} header_file=${4:-}
archive=$folder/.archive
set -- --fail --silent --show-error --location --retry 5 --retry-delay 2 --connect-timeout 20 --output "$archive"
if [ -n "$header_file" ]; then set -- "$@" --header "@$header_file"; fi
curl "$@" "$url" || { echo "cannot fetch $url" >&2; exit 1; }
if [ -n "$sha256" ]; then
  found=$(sha256sum "$archive" | cut -d ' ' -f 1)
  if [ "$found" != "$sha256" ]; then
    echo "$url has sha256 $found, not modelRepository.http.sha256 $sha256" >&2
    exit 1
  fi
fi
tar --extract --no-same-owner --file "$archive" --directory "$folder" || { echo "$url is not a tar archive" >&2; exit 1; }
rm -f "$archive"
ls "$folder"
