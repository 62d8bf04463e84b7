# Start Ray's head, wait for the whole group, then Triton: GPUS_PER_NODE TRITON_ARGUMENTS...
gpus=$1
shift
export VLLM_HOST_IP=${POD_IP:-$(hostname -i)}
ray start --head --port=6379 --num-gpus="$gpus" --temp-dir=/tmp/ray --disable-usage-stats
until [ "$(ray status 2>/dev/null | grep -c '1 node_')" -ge "$LWS_GROUP_SIZE" ]; do
  echo "waiting for the group's $LWS_GROUP_SIZE nodes"
  sleep 2
done
exec "$@"
