# Join Ray's head; when Ray ends the container ends, and the group is made anew: GPUS_PER_NODE
export VLLM_HOST_IP=${POD_IP:-$(hostname -i)}
until ray health-check --address="$LWS_LEADER_ADDRESS:6379" 2>/dev/null; do
  echo "waiting for the leader at $LWS_LEADER_ADDRESS"
  sleep 2
done
exec ray start --address="$LWS_LEADER_ADDRESS:6379" --num-gpus="$1" --disable-usage-stats --block
