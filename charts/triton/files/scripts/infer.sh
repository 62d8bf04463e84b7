# Ask a release for inferences: URL TIMEOUT_SECONDS [MODEL BODY EXPECT]...
# Without a body the model is only asked whether it is ready.
url=$1 timeout=$2
shift 2
deadline=$(($(date +%s) + timeout))
until curl --fail --silent --output /dev/null --max-time 5 "$url/v2/health/ready"; do
  if [ "$(date +%s)" -ge "$deadline" ]; then
    echo "$url was not ready within $timeout s" >&2
    exit 1
  fi
  sleep 1
done
while [ $# -ge 3 ]; do
  model=$1 body=$2 expect=$3
  shift 3
  if [ -z "$body" ]; then
    curl --fail --silent --show-error --max-time 10 "$url/v2/models/$model/ready" || { echo "$model is not ready" >&2; exit 1; }
    echo "$model is ready"
    continue
  fi
  reply=$(curl --silent --show-error --max-time 60 --header 'Content-Type: application/json' --data "$body" \
    "$url/v2/models/$model/infer" | tr -d '[:space:]')
  case $reply in
    *'"outputs"'*"$expect"*) echo "$model answered: $reply" ;;
    *'"outputs"'*) echo "$model answered $reply, expected $expect" >&2; exit 1 ;;
    *) echo "$model refused: $reply" >&2; exit 1 ;;
  esac
done
echo "ready: $url"
