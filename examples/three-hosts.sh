#!/usr/bin/env bash
# Three voters on three hosts (network namespaces, joined by a bridge), and a Prometheus that scrapes them and raises
# the shipped alerts. As root: examples/three-hosts.sh [PROGRAM]. Ctrl-C ends it and leaves nothing behind.
#
# Needs ip (iproute2); prometheus, without which there is the cluster alone.
set -euo pipefail
config=$(cd "$(dirname "$0")/../config" 2>/dev/null && pwd || echo /usr/share/doc/ringrift-p2p/examples)
program=${1:-$(command -v ringrift-p2p || echo "$(dirname "$0")/../target/release/ringrift-p2p")}
if [[ ! -x $program || $(id -u) != 0 ]]; then
  echo "needs root, and the program: as first argument, installed, or built by cargo build --release" >&2
  exit 64
fi
program=$(realpath "$program")
net=10.77.0
folder=$(mktemp -d -t ringrift-XXXXXX)
started=()

end() {
  trap - EXIT INT TERM
  kill "${started[@]}" 2>/dev/null || true
  wait
  for host in a b c; do ip netns del "ringrift-$host" 2>/dev/null || true; done
  ip link del ringrift-br 2>/dev/null || true
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 0' INT TERM

{
  echo 'cluster: three-hosts'
  echo 'voters: [a, b, c]'
  echo 'election: {heartbeat_interval: 1, lease: 4}'
  echo "data_dir: $folder/data"
  echo "hosts: {a: {address: $net.1}, b: {address: $net.2}, c: {address: $net.3}}"
} >"$folder/hosts.yaml"
"$program" check --config "$folder/hosts.yaml" >/dev/null

ip link add ringrift-br type bridge
ip addr add "$net.254/24" dev ringrift-br
ip link set ringrift-br up
number=0
for host in a b c; do
  number=$((number + 1))
  ip netns add "ringrift-$host"
  ip link add "ringrift-$host" type veth peer name eth0 netns "ringrift-$host"
  ip link set "ringrift-$host" master ringrift-br up
  ip -n "ringrift-$host" addr add "$net.$number/24" dev eth0
  ip -n "ringrift-$host" link set lo up
  ip -n "ringrift-$host" link set eth0 up
  # As the service does: called p2p_orchestrator, and under a guardian. It finds its name by its address.
  ip netns exec "ringrift-$host" bash -c 'exec -a p2p_orchestrator "$0" run --guardian --config "$1"' \
    "$program" "$folder/hosts.yaml" 2>"$folder/$host.log" &
  started+=($!)
done

if command -v prometheus >/dev/null; then
  cat >"$folder/prometheus.yml" <<END
global: {scrape_interval: 5s, evaluation_interval: 5s}
rule_files: ['$config/prometheus/alerts.yaml']
scrape_configs:
  - job_name: ringrift
    static_configs: [{targets: ['$net.1:8770', '$net.2:8770', '$net.3:8770']}]
END
  prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/tsdb" \
    --web.listen-address="$net.254:9090" --log.level=warn 2>"$folder/prometheus.log" &
  started+=($!)
fi

cat <<END
Three hosts: $net.1, $net.2 and $net.3, logs in $folder. In another terminal, as root:

  curl -s http://$net.1:8770/status | jq .leader_id     who leads
  ip netns exec ringrift-a $program status              the same for a person
  ip netns exec ringrift-a ip link set eth0 down        cuts host a off; up joins it again
  curl -s http://$net.254:9090/api/v1/alerts | jq '.data.alerts[] | .labels.alertname + " " + .state'
                                                        what Prometheus has to say
  http://$net.1:8770/metrics, http://$net.254:9090      to look at

Ctrl-C ends it.
END
wait
