#!/bin/sh
# Asks the model `double` three times over HTTP, and prints what it answers and what the cache says of it.
#
#     sh ask_curl.sh [URL]
set -eu
url=${1:-http://127.0.0.1:8080}
for _ in 1 2 3; do
    curl -sS --fail-with-body -D - "$url/v2/models/double/infer" -H 'content-type: application/json' \
        -d '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}' |
        grep -i -e '^cache-status' -e outputs
done
