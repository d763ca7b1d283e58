#!/bin/sh
# Asks coingraph to fetch new prices; for cron, for systemd timers and for docker-compose.yml.
#
#   7 * * * *  COINGRAPH_URL=https://prices.example.com/graphql \
#              REFRESH_TOKEN_FILE=/etc/coingraph/token /opt/coingraph/deploy/refresh.sh
#   refresh.sh loop       asks again and again, every REFRESH_INTERVAL_SECONDS
#
# It needs curl 7.55 or newer, and reads
#   COINGRAPH_URL              the GraphQL endpoint; http://127.0.0.1:8000/graphql
#   REFRESH_TOKEN              one of the server's REFRESH_TOKENS; of several by commas, the first
#   REFRESH_TOKEN_FILE         a file with the token instead
#   REFRESH_INTERVAL_SECONDS   how often it is called; 3600. Within one interval, all calls are
#                              one refresh: repeating one does no harm.
#   REFRESH_RETRIES            how often it tries again while the server is away; 3
#
# Exit status: 0 when a refresh has started or was under way already (not: has ended), 1 when the
# server refused, failed or was away, 2 when something above is wrong.
set -eu

url=${COINGRAPH_URL:-http://127.0.0.1:8000/graphql}
interval=${REFRESH_INTERVAL_SECONDS:-3600}
retries=${REFRESH_RETRIES:-3}

# shellcheck disable=SC2016 # $key is GraphQL's
mutation='mutation Refresh($key: String!) { refreshPrices(input: { idempotencyKey: $key, onlyDue: true }) { started run { id status plannedCalls estimatedSecondsLeft } } }'

complain() {
    printf 'refresh: %s\n' "$1" >&2
}

misuse() {
    complain "$1"
    exit 2
}

refresh() {
    key="every-$interval-$(($(date +%s) / interval))"
    # The token goes through a pipe from a command of the shell's own: no `ps` shows it.
    status=$(
        printf 'Authorization: Bearer %s\n' "$token" |
            curl --silent --show-error --output "$answer" --write-out '%{http_code}' \
                --max-time 30 --retry "$retries" --retry-connrefused --retry-max-time 120 \
                --header @- --header 'Content-Type: application/json' \
                --data "{\"query\":\"$mutation\",\"variables\":{\"key\":\"$key\"}}" \
                "$url"
    ) || {
        complain "no answer from $url"
        return 1
    }
    if [ "$status" != 200 ] || grep -q '"errors" *:' "$answer" ||
        ! grep -q '"refreshPrices" *: *{' "$answer"; then
        complain "HTTP $status from $url: $(head -c 2000 "$answer")"
        return 1
    fi
    cat "$answer"
    echo
}

case ${1-} in
'' | loop) ;;
*) misuse "unknown argument '$1': give none, or loop" ;;
esac
for number in "$interval" "$retries"; do
    case $number in
    0) ;; # retries; the interval is looked at below
    '' | 0* | *[!0-9]*) misuse "'$number' is not a whole number: see REFRESH_INTERVAL_SECONDS, REFRESH_RETRIES" ;;
    esac
done
[ "$interval" -gt 0 ] || misuse 'REFRESH_INTERVAL_SECONDS must be more than 0'
command -v curl >/dev/null || misuse 'curl is not installed'

token=${REFRESH_TOKEN-}
if [ -n "${REFRESH_TOKEN_FILE-}" ]; then
    token=$(cat "$REFRESH_TOKEN_FILE") || misuse "REFRESH_TOKEN_FILE cannot be read: $REFRESH_TOKEN_FILE"
fi
token=$(printf '%s' "${token%%,*}" | tr -d '[:space:]')
[ -n "$token" ] || misuse 'set REFRESH_TOKEN or REFRESH_TOKEN_FILE'

answer=$(mktemp)
sleeping=
trap 'rm -f "$answer"; [ -z "$sleeping" ] || kill "$sleeping" 2>/dev/null || :' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

if [ "${1-}" != loop ]; then
    refresh
    exit
fi
while true; do
    pause=$interval
    # What failed is tried again sooner.
    refresh || pause=$((interval < 60 ? interval : 60))
    sleep "$pause" &
    sleeping=$!
    wait "$sleeping" # unlike a sleep in the foreground, it ends at once on a signal
    sleeping=
done
