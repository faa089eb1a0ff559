# backend and gate: what the pool wants, and who may speak for whom. Nothing is listed, written, or read of another environment.
path "secret/data/forebay/ENVIRONMENT/pool" { capabilities = ["read"] }
path "secret/data/forebay/ENVIRONMENT/redis" { capabilities = ["read"] }
path "secret/data/forebay/ENVIRONMENT/credentials" { capabilities = ["read"] }

# Its token's own life, in place of the policy `default`.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
