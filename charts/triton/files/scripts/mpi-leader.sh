# Start Triton on every GPU of the group by MPI; rank 0 answers the requests: GPUS_PER_NODE TRITON_ARGUMENTS...
gpus=$1
shift
pod=${LWS_LEADER_ADDRESS%%.*} domain=${LWS_LEADER_ADDRESS#*.}
install -m 600 /var/run/ssh/id_ed25519 /tmp/ssh-key
ssh="ssh -i /tmp/ssh-key -p 2222 -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/tmp/known-hosts"
hosts="localhost:$gpus"
for worker in $(seq 1 $((LWS_GROUP_SIZE - 1))); do
  host=$pod-$worker.$domain
  until $ssh "$host" true 2>/dev/null; do
    echo "waiting for $host"
    sleep 2
  done
  hosts=$hosts,$host:$gpus
done
same=()
for argument in "$@"; do
  case $argument in --model-repository=* | --load-model=*) same+=("$argument") ;; esac
done
[[ ${same[*]} == *--load-model=* ]] || same+=('--load-model=*')
ranks=()
for rank in $(seq 1 $((LWS_GROUP_SIZE * gpus - 1))); do
  ranks+=(: -n 1 tritonserver "${same[@]}" --model-control-mode=explicit
    --disable-auto-complete-config "--id=rank$rank" --allow-http=false --allow-grpc=false --allow-metrics=false
    "--backend-config=python,shm-region-prefix-name=rank${rank}_")
done
# A login by ssh has none of the container's environment.
exec mpirun --prefix "$(dirname "$(dirname "$(command -v mpirun)")")" --mca plm_rsh_agent "$ssh" \
  --mca mca_base_env_list 'PATH;LD_LIBRARY_PATH' --host "$hosts" -n 1 "$@" \
  --disable-auto-complete-config --backend-config=python,shm-region-prefix-name=rank0_ "${ranks[@]}"
