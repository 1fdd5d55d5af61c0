#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Digests, ciphers, signatures by openssl.
set -eu
bytes=${SMALL:+300000}
head -c "${bytes:-30000000}" /dev/zero | openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff \
    -iv 00000000000000000000000000000000 >file
for digest in md5 sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-512 blake2b512 blake2s256 sm3 ripemd160; do
    openssl dgst "-$digest" file
done
openssl dgst -sha256 -hmac key file
for cipher in aes-128-cbc aes-256-ctr aria-128-cbc camellia-256-cbc chacha20 des-ede3-cbc sm4-ctr; do
    openssl enc "-$cipher" -pbkdf2 -S 0011223344556677 -pass pass:word -in file -out secret
    openssl dgst -sha256 secret
    openssl enc -d "-$cipher" -pbkdf2 -S 0011223344556677 -pass pass:word -in secret | cmp - file
done
for key in rsa:2048 ec:P-256 ec:P-384 ed25519: x; do
    case $key in
    rsa:*) openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:${key#*:}" -out key 2>/dev/null ||
        openssl genrsa -out key "${key#*:}" 2>/dev/null ;;
    ec:*) openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:${key#*:}" -out key ;;
    ed*) openssl genpkey -algorithm ED25519 -out key ;;
    *) continue ;;
    esac
    openssl pkey -in key -pubout -out public
    head -c 1000 file >message
    openssl pkeyutl -sign -rawin -in message -inkey key -out signature
    openssl pkeyutl -verify -rawin -in message -pubin -inkey public -sigfile signature
done
openssl prime -hex 170141183460469231731687303715884105727
openssl asn1parse -i -in public | tail -n 2 | wc -l
! openssl dgst -sha256 nothing
