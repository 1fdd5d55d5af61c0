#!/bin/sh
# SPDX-License-Identifier: MIT
#
# TLS over loopback: a server that reverses lines, and clients with different protocols and ciphers.
set -eu
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 3650 -subj /CN=localhost 2>/dev/null

# talk SERVER-OPTION… -- CLIENT-OPTION…
talk()
{
    split=0
    for word in "$@"; do
        [ "$word" != -- ] || break
        split=$((split + 1))
    done
    # shellcheck disable=SC2046
    openssl s_server -accept 127.0.0.1:0 -key key -cert certificate -rev -naccept 1 \
        $(echo "$@" | sed 's/ *--.*//') >server 2>&1 &
    server=$!
    port=
    tries=0
    while [ -z "$port" ] && [ $tries -lt 200 ]; do
        sleep 0.05
        port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server)
        tries=$((tries + 1))
    done
    shift $((split + 1))
    { printf 'one line\nanother, longer line\n'; seq 1 "${SMALL:+200}${SMALL:-3000}"; echo CLOSE; } >lines
    timeout 60 openssl s_client -connect "127.0.0.1:$port" -servername localhost -CAfile certificate \
        -verify_return_error -brief -ign_eof "$@" <lines >answer 2>client || echo "the client failed: $?"
    wait $server || echo "the server ended with $?"
    grep -E '^(Protocol|Ciphersuite|Verification|Server Temp)' client || cat client
    head -n 3 answer
    sha256sum <answer
}
talk -tls1_3 -- -tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384
talk -tls1_3 -- -tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256 -groups X25519
talk -tls1_2 -- -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256
talk -tls1_2 -- -tls1_2 -cipher DHE-RSA-AES256-SHA256
